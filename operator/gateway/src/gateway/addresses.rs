//! `spec.addresses` and `status.addresses`.

use crate::condition::Problem;
use crate::{Index, Mode};
use penstock_resources::conditions::reasons;
use penstock_resources::gateway_api::Gateway;
use penstock_resources::gateway_api::gateways::GatewayStatusAddresses;
use std::net::IpAddr;

/// The one type of address that is served.
const IP_ADDRESS: &str = "IPAddress";

/// The addresses of a Gateway.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    pub(crate) status: Vec<GatewayStatusAddresses>,
    /// Why the Gateway cannot be accepted.
    pub(crate) refused: Option<Problem>,
    /// Why it cannot be programmed.
    pub(crate) unusable: Option<Problem>,
}

/// What a Gateway asks for, and what it gets.
pub(crate) fn translate(index: &Index, gateway: &Gateway) -> Addresses {
    let available = &index.settings().addresses;
    let asked = gateway.spec.addresses.as_deref().unwrap_or_default();
    let mut result = Addresses::default();
    let mut assigned: Vec<IpAddr> = Vec::new();
    for address in asked {
        let type_ = address.r#type.as_deref().unwrap_or(IP_ADDRESS);
        if type_ != IP_ADDRESS {
            result.refused.get_or_insert(Problem::new(
                reasons::UNSUPPORTED_ADDRESS,
                format!("addresses of type {type_} are not served: use {IP_ADDRESS}"),
            ));
            continue;
        }
        match address.value.as_deref().unwrap_or_default() {
            "" if available.is_empty() => {
                result.unusable.get_or_insert(not_assigned());
            }
            "" => assigned.extend(available),
            value => match value.parse::<IpAddr>() {
                Ok(ip) if is_available(available, ip) => assigned.push(ip),
                _ => {
                    result.unusable.get_or_insert(Problem::new(
                        reasons::ADDRESS_NOT_USABLE,
                        format!("{value} is no address of this gateway"),
                    ));
                }
            },
        }
    }
    if asked.is_empty() {
        assigned.extend(available);
        if available.is_empty() && index.settings().mode == Mode::Cluster {
            result.unusable = Some(not_assigned());
        }
    }
    assigned.dedup();
    result.status = assigned
        .into_iter()
        .map(|ip| GatewayStatusAddresses {
            r#type: Some(IP_ADDRESS.to_owned()),
            value: ip.to_string(),
        })
        .collect();
    result
}

/// Where the unspecified address is bound, each address of the machine can be asked for.
fn is_available(available: &[IpAddr], ip: IpAddr) -> bool {
    available.iter().any(|a| *a == ip || (a.is_unspecified() && a.is_ipv4() == ip.is_ipv4()))
}

fn not_assigned() -> Problem {
    Problem::new(reasons::ADDRESS_NOT_ASSIGNED, "no address is available yet")
}
