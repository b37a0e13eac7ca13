//! What Gateways ask for in `spec.addresses`, and what they get.

use crate::condition::Problem;
use penstock_resources::conditions::reasons;
use penstock_resources::gateway_api::Gateway;
use std::net::IpAddr;

/// The one type of address that can be asked for.
pub(crate) const IP_ADDRESS: &str = "IPAddress";

/// One of `spec.addresses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Any address: what a Gateway without `spec.addresses` asks for too.
    Any,
    /// This one.
    Ip(IpAddr),
    /// No address.
    Unreadable(String),
}

/// What a Gateway asks for.
///
/// # Errors
/// `UnsupportedAddress` when one is of a type that is not served; the others are given all the same.
pub(crate) fn asks(gateway: &Gateway) -> (Vec<Ask>, Option<Problem>) {
    let spec = gateway.spec.addresses.as_deref().unwrap_or_default();
    let mut unsupported = None;
    let mut asks = Vec::new();
    for address in spec {
        let type_ = address.r#type.as_deref().unwrap_or(IP_ADDRESS);
        if type_ != IP_ADDRESS {
            unsupported.get_or_insert(Problem::new(
                reasons::UNSUPPORTED_ADDRESS,
                format!("addresses of type {type_} are not served: use {IP_ADDRESS}"),
            ));
            continue;
        }
        asks.push(match address.value.as_deref().unwrap_or_default() {
            "" => Ask::Any,
            text => text.parse().map_or_else(|_| Ask::Unreadable(text.to_owned()), Ask::Ip),
        });
    }
    if spec.is_empty() {
        asks.push(Ask::Any);
    }
    (asks, unsupported)
}

/// An address that a Gateway has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Ip(IpAddr),
    /// The name of a cloud's load balancer.
    Hostname(String),
}

/// The addresses that a Gateway has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) addresses: Vec<Address>,
    /// Why it cannot be programmed.
    pub(crate) missing: Option<Problem>,
}

impl Granted {
    pub(crate) fn push(&mut self, address: Address) {
        if !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }

    /// "AddressNotUsable": an address that was asked for cannot be had.
    pub(crate) fn unusable(&mut self, message: String) {
        self.miss(reasons::ADDRESS_NOT_USABLE, message);
    }

    /// "AddressNotAssigned": there is no address (yet).
    pub(crate) fn not_assigned(&mut self, message: &str) {
        self.miss(reasons::ADDRESS_NOT_ASSIGNED, message.to_owned());
    }

    fn miss(&mut self, reason: &'static str, message: String) {
        self.missing.get_or_insert(Problem::new(reason, message));
    }

    /// The IP addresses, sorted, as text.
    pub(crate) fn ips(&self) -> Vec<IpAddr> {
        let ips = self.addresses.iter().filter_map(|address| match address {
            Address::Ip(ip) => Some(*ip),
            Address::Hostname(_) => None,
        });
        let mut ips: Vec<_> = ips.collect();
        ips.sort_unstable();
        ips
    }
}
