//! Which serving port a steered connection belongs to.

use hashbrown::HashMap;
use penstock_config::{Frontend, Kind, ResourceKind, State};
use std::net::{IpAddr, SocketAddr};

/// The ways in of all Gateways. Empty where each port has a socket of its own (standalone).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frontends {
    addressed: HashMap<(IpAddr, u16), u32>,
    anywhere: HashMap<u16, u32>,
}

impl Frontends {
    /// The ways in that a configuration has. What is no address or port is nobody's way.
    pub fn of(state: &State) -> Self {
        let mut frontends = Self::default();
        for resource in state.of_kind(Kind::Frontend) {
            if let ResourceKind::Frontend(frontend) = &*resource.content {
                frontends.add(frontend);
            }
        }
        frontends
    }

    fn add(&mut self, frontend: &Frontend) {
        let serving = frontend.target_port;
        let port = |number: u32| u16::try_from(number).ok().filter(|port| *port > 0);
        for number in [serving, frontend.node_port].into_iter().filter_map(port) {
            self.anywhere.entry(number).or_insert(serving);
        }
        let Some(dialled) = port(frontend.port) else { return };
        for address in frontend.addresses.iter().filter_map(|text| text.parse::<IpAddr>().ok()) {
            self.addressed.entry((address.to_canonical(), dialled)).or_insert(serving);
        }
    }

    /// The serving port of a connection by the address that its client dialled.
    #[inline]
    pub fn serving_port(&self, dialled: SocketAddr) -> Option<u32> {
        let named = self.addressed.get(&(dialled.ip().to_canonical(), dialled.port()));
        named.or_else(|| self.anywhere.get(&dialled.port())).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frontend(gateway: &str, port: u32, target_port: u32, addresses: &[&str]) -> ResourceKind {
        ResourceKind::Frontend(Frontend {
            gateway: gateway.into(),
            port,
            target_port,
            addresses: addresses.iter().map(|text| (*text).to_owned()).collect(),
            node_port: target_port + 10_000,
            announced_by: String::new(),
        })
    }

    #[test]
    fn two_gateways_on_one_port_are_told_apart_by_address_target_port_and_node_port() {
        let state: State = [
            frontend("a/one", 443, 20_001, &["192.0.2.1", "2001:db8::1"]),
            frontend("a/two", 443, 20_002, &["192.0.2.2"]),
        ]
        .into_iter()
        .collect();
        let frontends = Frontends::of(&state);
        for (dialled, serving) in [
            ("192.0.2.1:443", Some(20_001)),
            ("[::ffff:192.0.2.1]:443", Some(20_001)),
            ("[2001:db8::1]:443", Some(20_001)),
            ("192.0.2.2:443", Some(20_002)),
            ("192.0.2.3:443", None),
            ("192.0.2.1:80", None),
            ("10.0.0.9:20002", Some(20_002)),
            ("10.0.0.9:30001", Some(20_001)),
            ("[::1]:9", None),
        ] {
            let address = dialled.parse().expect("an address");
            assert_eq!(frontends.serving_port(address), serving, "{dialled}");
        }
    }
}
