//! What surrounds the Gateways of a cluster: the Services that bring clients, target ports,
//! addresses, and which node announces these.

mod address;
mod announcement;
mod assignment;
mod pool;
mod service;
mod target_port;

pub(crate) use address::{Address, Ask, Granted, IP_ADDRESS, asks};
pub use service::is_in_place as service_is_in_place;

use crate::name::created;
use crate::{Index, Name};
use assignment::{Assignments, Claimant};
use k8s_openapi::api::core::v1::Service;
use penstock_config::Frontend;
use penstock_resources::gateway_api::Gateway;
use penstock_resources::load_balancer_pool::LoadBalancerPoolStatus;
use pool::Pool;
use service::{Port, Source};
use std::collections::BTreeMap;
use std::net::IpAddr;
use target_port::Wish;

/// What surrounds the Gateways of ours.
#[derive(Debug, Default)]
pub(crate) struct Infrastructure<'a> {
    of: BTreeMap<Name, Surroundings<'a>>,
    /// Statuses of the pools, by name.
    pub(crate) pools: BTreeMap<String, LoadBalancerPoolStatus>,
}

/// What surrounds one Gateway.
#[derive(Debug)]
struct Surroundings<'a> {
    gateway: &'a Gateway,
    service: Name,
    existing: Option<&'a Service>,
    ports: Vec<Port>,
    source: Source,
    granted: Granted,
    announced_by: Option<&'a str>,
}

impl<'a> Infrastructure<'a> {
    /// For Gateways of ours, in whatever order.
    pub(crate) fn new(index: &'a Index, gateways: Vec<(&'a Name, &'a Gateway)>) -> Self {
        let mut gateways = gateways;
        gateways.sort_by_key(|(name, gateway)| (created(&gateway.metadata), *name));
        let namespace = &index.settings().namespace;
        let all = gateways.into_iter().map(|(name, gateway)| {
            let service = service::name_of(name, namespace);
            let existing = index.services.get(&service).map(AsRef::as_ref);
            let assumed = index.assumed(&service);
            Known { name, gateway, existing, assumed, service }
        });
        let known: Vec<Known<'a>> = all.collect();
        let pools: BTreeMap<&str, Pool<'_>> =
            index.pools.iter().map(|(name, pool)| (name.as_str(), Pool::new(pool))).collect();
        let claimants: Vec<_> = known.iter().filter_map(|k| k.claimant(index, &pools)).collect();
        let assignments = Assignments::new(&claimants);
        let target_ports =
            target_port::assign(&known.iter().flat_map(Known::wishes).collect::<Vec<_>>());
        let selected: BTreeMap<&Name, bool> =
            claimants.iter().map(|claimant| (&claimant.name, !claimant.pools.is_empty())).collect();
        let of = known.iter().map(|known| {
            let by_pool = selected.get(known.name).copied().unwrap_or(false);
            let (source, granted) = known.addresses(by_pool, &assignments);
            let pooled = matches!(&source, Source::Pools(ips) if !ips.is_empty());
            let before = known.existing.and_then(service::announced_by);
            let announcer = || announcement::announcer(known.name, before, index.announcers());
            let surroundings = Surroundings {
                gateway: known.gateway,
                service: known.service.clone(),
                existing: known.existing,
                ports: known.ports(&target_ports),
                announced_by: pooled.then(announcer).flatten(),
                source,
                granted,
            };
            (known.name.clone(), surroundings)
        });
        let of = of.collect();
        let taken = assignments.taken();
        let pools = pools.into_iter().map(|(name, pool)| (name.to_owned(), pool.status(&taken)));
        Self { of, pools: pools.collect() }
    }

    /// The addresses of a Gateway.
    pub(crate) fn granted(&self, gateway: &Name) -> Granted {
        self.of.get(gateway).map(|s| s.granted.clone()).unwrap_or_default()
    }

    /// The target port of a port; `None` where all are taken.
    pub(crate) fn target_port(&self, gateway: &Name, port: i32) -> Option<u16> {
        let ports = &self.of.get(gateway)?.ports;
        ports.iter().find(|p| i32::from(p.port) == port).map(|p| p.target_port)
    }

    /// What nodes are told of a port.
    pub(crate) fn frontend(&self, gateway: &Name, port: u32) -> Option<Frontend> {
        let surroundings = self.of.get(gateway)?;
        let port = surroundings.ports.iter().find(|p| u32::from(p.port) == port)?;
        let existing = surroundings.existing.and_then(|s| service::port_of(s, port.port));
        let node_port = existing.and_then(|port| port.node_port);
        Some(Frontend {
            gateway: gateway.to_string(),
            port: port.port.into(),
            target_port: port.target_port.into(),
            addresses: surroundings.granted.ips().iter().map(IpAddr::to_string).collect(),
            node_port: node_port.and_then(|port| u32::try_from(port).ok()).unwrap_or(0),
            announced_by: surroundings.announced_by.unwrap_or_default().to_owned(),
        })
    }

    /// The Service of a Gateway that there should be. One that is there stays while its Gateway is
    /// refused: with it would go its load balancer and its address.
    pub(crate) fn service(&self, gateway: &Name, refused: bool) -> Option<(Name, Service)> {
        let s = self.of.get(gateway)?;
        if s.ports.is_empty() || (refused && s.existing.is_none()) {
            return None;
        }
        let service = service::desired(
            &s.service,
            (gateway, s.gateway),
            s.existing,
            &s.ports,
            &s.source,
            s.announced_by,
        );
        Some((s.service.clone(), service))
    }
}

/// What objects say of one Gateway.
struct Known<'a> {
    name: &'a Name,
    gateway: &'a Gateway,
    service: Name,
    existing: Option<&'a Service>,
    /// As it was decided before, see [`Index::assume`].
    assumed: Option<&'a Service>,
}

impl<'a> Known<'a> {
    /// Ports of listeners that could be served, each once, in order. A listener that is not served
    /// at the moment keeps its port: load balancers and target ports do not come and go with it.
    fn schemes(&self) -> BTreeMap<u16, &'static str> {
        let mut schemes = BTreeMap::new();
        for listener in &self.gateway.spec.listeners {
            let scheme = match listener.protocol.as_str() {
                "HTTP" => "http",
                "HTTPS" => "https",
                _ => continue,
            };
            if let Some(port) = u16::try_from(listener.port).ok().filter(|port| *port > 0) {
                schemes.entry(port).or_insert(scheme);
            }
        }
        schemes
    }

    fn wishes(&self) -> Vec<Wish> {
        let held = |service: Option<&Service>, port| service::held_target_port(service?, port);
        let wish = |port: u16| Wish {
            gateway: self.name.clone(),
            port,
            held: held(self.existing, port).or_else(|| held(self.assumed, port)),
        };
        self.schemes().into_keys().map(wish).collect()
    }

    fn ports(&self, target_ports: &BTreeMap<(Name, u16), u16>) -> Vec<Port> {
        let ports = self.schemes().into_iter().filter_map(|(port, scheme)| {
            let target_port = *target_ports.get(&(self.name.clone(), port))?;
            Some(Port { port, target_port, scheme })
        });
        ports.collect()
    }

    /// What a cloud's load balancer has for it.
    fn of_cloud(&self) -> Vec<Address> {
        let service = self.existing.filter(|service| !service::is_pooled(service));
        service.map(service::ingress).unwrap_or_default()
    }

    /// What it wants of the pools; nothing where a cloud gave it addresses.
    fn claimant<'p>(
        &self,
        index: &Index,
        pools: &'p BTreeMap<&str, Pool<'a>>,
    ) -> Option<Claimant<'p, 'a>> {
        if !self.of_cloud().is_empty() {
            return None;
        }
        let ips = |service: Option<&Service>| {
            let addresses = service.map(service::ingress).unwrap_or_default();
            addresses.into_iter().filter_map(|address| match address {
                Address::Ip(ip) => Some(ip),
                Address::Hostname(_) => None,
            })
        };
        let status = self.gateway.status.as_ref().and_then(|status| status.addresses.as_deref());
        let in_status = status.unwrap_or_default().iter().filter_map(|a| a.value.parse().ok());
        Some(Claimant {
            name: self.name.clone(),
            asks: asks(self.gateway).0,
            held: ips(self.existing).chain(in_status).collect(),
            assumed: ips(self.assumed).collect(),
            pools: pools.values().filter(|p| p.selects(index, self.name, self.gateway)).collect(),
        })
    }

    fn addresses(&self, by_pool: bool, assignments: &Assignments) -> (Source, Granted) {
        let pooled = by_pool || self.existing.is_some_and(service::is_pooled);
        if pooled && self.of_cloud().is_empty() {
            self.addresses_of_pools(assignments)
        } else {
            self.addresses_of_cloud()
        }
    }

    fn addresses_of_pools(&self, assignments: &Assignments) -> (Source, Granted) {
        let mut granted = Granted::default();
        let none = assignment::Assigned::default();
        let assigned = assignments.of(self.name).unwrap_or(&none);
        for ask in asks(self.gateway).0 {
            match ask {
                Ask::Any if assigned.any.is_empty() => granted.not_assigned(
                    "no LoadBalancerPool that selects the Gateway has a free address: add a range",
                ),
                Ask::Any => assigned.any.iter().for_each(|ip| granted.push(Address::Ip(*ip))),
                Ask::Ip(ip) if assigned.named.contains(&ip) => granted.push(Address::Ip(ip)),
                Ask::Ip(ip) => granted.unusable(match assignments.owner(ip) {
                    Some(owner) => format!("Gateway {owner} has the address {ip}"),
                    None => format!("{ip} is in no LoadBalancerPool that selects the Gateway"),
                }),
                Ask::Unreadable(text) => granted.unusable(format!("`{text}` is no IP address")),
            }
        }
        (Source::Pools(granted.ips()), granted)
    }

    fn addresses_of_cloud(&self) -> (Source, Granted) {
        let mut granted = Granted::default();
        let mut asked = None;
        let there = self.of_cloud();
        for ask in asks(self.gateway).0 {
            match ask {
                Ask::Any if there.is_empty() => granted.not_assigned(
                    "no address yet: a cloud's load balancer or a LoadBalancerPool that selects \
                     the Gateway gives one",
                ),
                Ask::Any => there.iter().for_each(|address| granted.push(address.clone())),
                Ask::Ip(ip) => {
                    asked.get_or_insert(ip);
                    if there.contains(&Address::Ip(ip)) {
                        granted.push(Address::Ip(ip));
                    } else {
                        granted.unusable(format!(
                            "{ip} is in no LoadBalancerPool that selects the Gateway, and its load \
                             balancer does not have it"
                        ));
                    }
                }
                Ask::Unreadable(text) => granted.unusable(format!("`{text}` is no IP address")),
            }
        }
        (Source::Cloud(asked), granted)
    }
}
