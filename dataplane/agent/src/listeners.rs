//! What is steered: from the configuration, and from where the proxies of this node are. Pure.

use penstock_config::{Frontend, ResourceKind, State};
use penstock_net::ListenAddress;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// What the kernel is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What packets must be addressed to.
    pub listeners: Vec<(ListenAddress, u16)>,
    /// Addresses that processes of the node dial too.
    pub addresses: BTreeSet<IpAddr>,
}

/// What a configuration asks to steer, with proxies at these addresses.
///
/// - the addresses of a Gateway, at the port of its listener;
/// - the addresses of the node, at the node port (targets of type `instance`);
/// - the addresses of the proxies' pods, at the target port (targets of type `ip`).
pub fn wanted(state: &State, proxies: &[IpAddr]) -> Wanted {
    let mut listeners = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for frontend in frontends(state) {
        let port = |number: u32| u16::try_from(number).ok().filter(|port| *port > 0);
        if let Some(dialled) = port(frontend.port) {
            for address in frontend.addresses.iter().filter_map(|text| text.parse().ok()) {
                let address = IpAddr::to_canonical(&address);
                listeners.insert((ListenAddress::Ip(address), dialled));
                addresses.insert(address);
            }
        }
        if let Some(port) = port(frontend.node_port) {
            listeners.insert((ListenAddress::Node, port));
        }
        if let Some(port) = port(frontend.target_port) {
            listeners.extend(proxies.iter().map(|at| (ListenAddress::Ip(at.to_canonical()), port)));
        }
    }
    Wanted { listeners: listeners.into_iter().collect(), addresses }
}

/// The addresses that this node answers for on its uplink.
pub fn announced(state: &State, node: &str) -> BTreeSet<IpAddr> {
    let mine = frontends(state).filter(|frontend| frontend.announced_by == node);
    mine.flat_map(|frontend| &frontend.addresses).filter_map(|text| text.parse().ok()).collect()
}

/// Which of the node's own addresses node ports are steered at: not those of Gateways, not loopback.
pub fn local(node: &[IpAddr], gateways: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
    let own = |address: &&IpAddr| !address.is_loopback() && !gateways.contains(*address);
    node.iter().filter(own).copied().collect()
}

/// The addresses that processes of the node dial, each with the source they get: the first address of
/// the node of that family.
pub fn host_routes(
    wanted: &BTreeSet<IpAddr>,
    local: &[IpAddr],
) -> BTreeMap<IpAddr, Option<IpAddr>> {
    let global = |address: &&IpAddr| match address {
        IpAddr::V4(address) => !address.is_link_local(),
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    };
    let source = |address: &IpAddr| {
        local.iter().filter(global).find(|own| own.is_ipv4() == address.is_ipv4()).copied()
    };
    wanted.iter().map(|address| (*address, source(address))).collect()
}

fn frontends(state: &State) -> impl Iterator<Item = &Frontend> {
    state.iter().filter_map(|resource| match &*resource.content {
        ResourceKind::Frontend(frontend) => Some(frontend),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let frontend =
            |gateway: &str, port, target_port, addresses: &[&str], announced_by: &str| {
                ResourceKind::Frontend(Frontend {
                    gateway: gateway.into(),
                    port,
                    target_port,
                    addresses: addresses.iter().map(|text| (*text).to_owned()).collect(),
                    node_port: 0,
                    announced_by: announced_by.into(),
                })
            };
        let mut state: State = [
            frontend("a/one", 443, 20_001, &["192.0.2.1", "2001:db8::1"], "n1"),
            frontend("a/two", 443, 20_002, &["192.0.2.2"], "n2"),
        ]
        .into_iter()
        .collect();
        state.insert(ResourceKind::Frontend(Frontend {
            gateway: "a/three".into(),
            port: 80,
            target_port: 20_003,
            node_port: 30_080,
            addresses: vec!["not an address".into()],
            ..Frontend::default()
        }));
        state
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_gateway_is_steered_at_its_addresses_its_node_port_and_its_target_port_at_the_proxies() {
        let wanted = wanted(&state(), &[ip("10.0.0.9")]);
        let at = |text: &str| ListenAddress::Ip(ip(text));
        let mut listeners = wanted.listeners;
        listeners.sort();
        let mut expected = vec![
            (ListenAddress::Node, 30_080),
            (at("10.0.0.9"), 20_001),
            (at("10.0.0.9"), 20_002),
            (at("10.0.0.9"), 20_003),
            (at("192.0.2.1"), 443),
            (at("192.0.2.2"), 443),
            (at("2001:db8::1"), 443),
        ];
        expected.sort();
        assert_eq!(listeners, expected);
        assert_eq!(wanted.addresses.len(), 3);
    }

    #[test]
    fn without_a_proxy_no_target_port_is_steered() {
        let wanted = wanted(&state(), &[]);
        assert!(!wanted.listeners.iter().any(|(_, port)| (20_000..30_000).contains(port)));
    }

    #[test]
    fn a_node_announces_what_the_operator_gave_it_and_nothing_else() {
        let mine = announced(&state(), "n1");
        assert_eq!(mine, [ip("192.0.2.1"), ip("2001:db8::1")].into());
        assert!(announced(&state(), "n3").is_empty());
    }

    #[test]
    fn processes_of_the_node_dial_with_an_address_of_the_node_and_of_the_family() {
        let gateways = wanted(&state(), &[]).addresses;
        let node = ["127.0.0.1", "192.0.2.1", "fe80::1", "10.0.0.1", "2001:db8::9"].map(ip);
        let local = local(&node, &gateways);
        assert_eq!(local, ["fe80::1", "10.0.0.1", "2001:db8::9"].map(ip));
        let routes = host_routes(&gateways, &local);
        assert_eq!(routes[&ip("192.0.2.1")], Some(ip("10.0.0.1")));
        assert_eq!(routes[&ip("2001:db8::1")], Some(ip("2001:db8::9")));
        assert_eq!(host_routes(&gateways, &[])[&ip("192.0.2.2")], None);
    }
}
