//! `spec.addresses` and `status.addresses`.

use crate::condition::Problem;
use crate::infrastructure::{Address, Ask, Granted, IP_ADDRESS, asks};
use crate::{Index, Mode};
use penstock_resources::gateway_api::Gateway;
use penstock_resources::gateway_api::gateways::GatewayStatusAddresses;
use std::net::IpAddr;

/// Type of an address that is the name of a load balancer.
const HOSTNAME: &str = "Hostname";

/// The addresses of a Gateway.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    pub(crate) status: Vec<GatewayStatusAddresses>,
    /// Why the Gateway cannot be accepted.
    pub(crate) refused: Option<Problem>,
    /// Why it cannot be programmed.
    pub(crate) unusable: Option<Problem>,
}

/// What a Gateway asks for, and what it gets: in a cluster what it was granted.
pub(crate) fn translate(index: &Index, gateway: &Gateway, granted: Granted) -> Addresses {
    let (asks, refused) = asks(gateway);
    let granted = match index.settings().mode {
        Mode::Cluster => granted,
        Mode::Standalone => of_machine(&index.settings().addresses, gateway, &asks),
    };
    let status = granted.addresses.into_iter().map(|address| match address {
        Address::Ip(ip) => (IP_ADDRESS, ip.to_string()),
        Address::Hostname(name) => (HOSTNAME, name),
    });
    let status = status
        .map(|(type_, value)| GatewayStatusAddresses { r#type: Some(type_.to_owned()), value });
    Addresses { status: status.collect(), refused, unusable: granted.missing }
}

/// Of the addresses of this machine.
fn of_machine(available: &[IpAddr], gateway: &Gateway, asks: &[Ask]) -> Granted {
    let mut granted = Granted::default();
    let stated = gateway.spec.addresses.as_ref().is_some_and(|spec| !spec.is_empty());
    for ask in asks {
        match ask {
            // Who asks for nothing is content with a machine whose addresses nobody knows.
            Ask::Any if available.is_empty() && stated => {
                granted.not_assigned("no address is available yet");
            }
            Ask::Any => available.iter().for_each(|ip| granted.push(Address::Ip(*ip))),
            Ask::Ip(ip) if is_available(available, *ip) => granted.push(Address::Ip(*ip)),
            Ask::Ip(ip) => granted.unusable(format!("{ip} is no address of this gateway")),
            Ask::Unreadable(text) => granted.unusable(format!("`{text}` is no IP address")),
        }
    }
    granted
}

/// Where the unspecified address is bound, each address of the machine can be asked for.
fn is_available(available: &[IpAddr], ip: IpAddr) -> bool {
    available.iter().any(|a| *a == ip || (a.is_unspecified() && a.is_ipv4() == ip.is_ipv4()))
}
