//! What surrounds Gateways in a cluster: Services, target ports, addresses, announcements.

use crate::fixture::{Seen, World, pool};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use penstock_config::{Frontend, Key, Kind, Listener, ResourceKind};
use penstock_gateway::{Mode, Name, service_is_in_place};
use penstock_resources::{Kind as ObjectKind, Object};
use std::collections::BTreeSet;

/// Label of what is made for a Gateway.
pub(crate) const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// A Gateway `default/{name}` with one listener on each port.
pub(crate) fn gateway(name: &str, ports: &[u16], metadata: &str, spec: &str) -> String {
    let listeners = ports.iter().map(|p| format!("{{name: l{p}, port: {p}, protocol: HTTP}}"));
    let listeners: Vec<_> = listeners.collect();
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, \
         metadata: {{name: {name}{metadata}}}, \
         spec: {{gatewayClassName: penstock, listeners: [{}]{spec}}}}}",
        listeners.join(", ")
    )
}

/// Without a pool, in a cluster.
pub(crate) fn bare(yaml: &[&str]) -> World {
    let mut world = World::new(yaml);
    world.index.settings_mut().mode = Mode::Cluster;
    world
}

impl World {
    /// Writes what is to be written, as an operator does and an API server keeps it, and says how
    /// much that was.
    fn settle(&mut self) -> usize {
        let wanted = self.translate().translation.services;
        let mut writes = 0;
        for service in wanted.values() {
            let there = self.index.services().find(|(name, _)| **name == name_of(service));
            let there = there.map(|(_, there)| there.clone());
            if !there.as_ref().is_some_and(|there| service_is_in_place(there, service)) {
                let status = service.status.clone().or_else(|| there.and_then(|old| old.status));
                self.keep(Service { status, ..allocated(service) });
                writes += 1;
            }
        }
        let there = self.index.services().map(|(name, service)| (name.clone(), service.clone()));
        let ours = there.filter(|(_, service)| {
            let labels = service.metadata.labels.as_ref();
            labels.is_some_and(|labels| labels.contains_key(GATEWAY_NAME))
        });
        for (name, _) in ours.filter(|(name, _)| !wanted.contains_key(name)).collect::<Vec<_>>() {
            self.remove(ObjectKind::Service, &name.namespace, &name.name);
            writes += 1;
        }
        writes
    }

    /// Until nothing is left to write.
    pub(crate) fn settled(mut self) -> Self {
        let writes: Vec<usize> = (0..3).map(|_| self.settle()).collect();
        assert_eq!(writes[1..], [0, 0], "{writes:?}: once, then nothing");
        self
    }

    fn keep(&mut self, service: Service) {
        self.index.apply(Object::Service(Box::new(service)));
    }

    /// The Service that there is for a Gateway.
    fn service(&self, gateway: &str) -> Service {
        let name = name_of(self.translate().service(gateway));
        let there = self.index.services().find(|(there, _)| **there == name);
        there.expect("a Service").1.clone()
    }
}

fn name_of(service: &Service) -> Name {
    let part = |part: &Option<String>| part.clone().expect("a name in a namespace");
    Name::new(part(&service.metadata.namespace), part(&service.metadata.name))
}

/// What an API server adds to a Service.
fn allocated(service: &Service) -> Service {
    let mut service = service.clone();
    let spec = service.spec.as_mut().expect("a spec");
    spec.cluster_ip = Some("10.96.0.7".to_owned());
    spec.health_check_node_port = Some(32_000);
    for (at, port) in spec.ports.iter_mut().flatten().enumerate() {
        port.node_port = Some(30_000 + i32::try_from(at).expect("few ports"));
    }
    service
}

impl Seen {
    fn service(&self, gateway: &str) -> &Service {
        let mut services = self.translation.services.values();
        let named = |s: &&Service| {
            s.metadata
                .labels
                .as_ref()
                .and_then(|l| l.get(GATEWAY_NAME))
                .is_some_and(|n| n == gateway)
        };
        services.find(named).expect("a Service of the Gateway")
    }

    fn frontend(&self, gateway: &str, port: u16) -> Frontend {
        let key = Key::new(Kind::Frontend, format!("default/{gateway}|{port}"));
        match self.state.get(&key).map(|resource| &*resource.content) {
            Some(ResourceKind::Frontend(frontend)) => frontend.clone(),
            other => panic!("{key}: {other:?}"),
        }
    }

    /// `type value` of each address in the status.
    fn addresses(&self, gateway: &str) -> Vec<String> {
        let status = &self.statuses.gateways[&Name::new("default", gateway)];
        let addresses = status.addresses.iter().flatten();
        addresses.map(|a| format!("{} {}", a.r#type.as_deref().unwrap_or(""), a.value)).collect()
    }

    fn programmed(&self, gateway: &str) -> String {
        self.confirm(&[]).gateway(gateway, "Programmed")
    }

    fn programmed_message(&self, gateway: &str) -> String {
        let status = &self.statuses.gateways[&Name::new("default", gateway)];
        let mut conditions = status.conditions.iter().flatten();
        conditions.find(|c| c.type_ == "Programmed").expect("Programmed").message.clone()
    }
}

fn ingress(service: &mut Service, ingress: &str) {
    let value = format!("{{loadBalancer: {{ingress: [{ingress}]}}}}");
    service.status = Some(serde_saphyr::from_str(&value).expect("a status"));
}

#[test]
fn a_gateway_has_a_service_with_a_real_selector_beside_the_proxies() {
    let mut world = bare(&[&gateway("gw", &[80, 8080], "", "")]);
    world.index.settings_mut().namespace = "edge".to_owned();
    let seen = world.translate();
    let service = seen.service("gw");
    assert_eq!(service.metadata.namespace.as_deref(), Some("edge"));
    assert!(
        service.metadata.name.as_deref().is_some_and(|n| n.starts_with("penstock-default-gw-"))
    );
    let spec = service.spec.as_ref().expect("a spec");
    assert_eq!(spec.type_.as_deref(), Some("LoadBalancer"));
    let selector = spec.selector.clone().expect("a selector");
    assert_eq!(selector, [("app.kubernetes.io/name".into(), "penstock-proxy".into())].into());
    assert_eq!(spec.external_traffic_policy.as_deref(), Some("Local"), "client addresses are kept");
    assert_eq!(spec.load_balancer_class, None, "left to the cloud");
    let ports: Vec<_> = spec.ports.iter().flatten().map(|p| (p.name.clone(), p.port)).collect();
    assert_eq!(ports, [(Some("http-80".into()), 80), (Some("http-8080".into()), 8080)]);
    assert!(spec.ports.iter().flatten().all(|p| p.protocol.as_deref() == Some("TCP")));
    assert_eq!(spec.ip_family_policy.as_deref(), Some("PreferDualStack"));
    for port in spec.ports.iter().flatten() {
        let frontend = seen.frontend("gw", u16::try_from(port.port).expect("a port"));
        let target = i32::try_from(frontend.target_port).expect("a port");
        assert_eq!(port.target_port, Some(IntOrString::Int(target)));
        let listener: &Listener = seen.listener_resource(&format!("default/gw/l{}", port.port));
        assert_eq!(listener.target_port, frontend.target_port);
    }
}

#[test]
fn a_port_is_named_by_the_protocol_of_its_listener_and_one_that_cannot_be_is_left_out() {
    let listeners = "listeners: [{name: s, port: 443, protocol: HTTPS}, \
                     {name: none, port: 0, protocol: HTTP}, {name: t, port: 9, protocol: TCP}]";
    let spec = gateway("gw", &[], "", "").replace("listeners: []", listeners);
    let seen = bare(&[&spec]).translate();
    let service = seen.service("gw").spec.as_ref().expect("a spec");
    let ports: Vec<_> =
        service.ports.iter().flatten().map(|p| (p.name.as_deref(), p.port)).collect();
    assert_eq!(ports, [(Some("https-443"), 443)]);
}

#[test]
fn s7_32_infrastructure_and_controller_annotations_are_passed_on() {
    let metadata = ", annotations: {service.beta.kubernetes.io/aws-load-balancer-scheme: internal, \
                    service.beta.kubernetes.io/b: gateway, kubectl.kubernetes.io/last: x}";
    let spec = ", infrastructure: {labels: {team: web, app.kubernetes.io/managed-by: me}, \
                annotations: {service.beta.kubernetes.io/b: infrastructure, note: hello}}";
    let world = bare(&[&gateway("gw", &[80], metadata, spec)]);
    let seen = world.translate();
    let metadata = &seen.service("gw").metadata;
    let labels = metadata.labels.as_ref().expect("labels");
    assert_eq!(labels.get("team").map(String::as_str), Some("web"));
    assert_eq!(labels["app.kubernetes.io/managed-by"], "penstock", "ours are not replaced");
    assert_eq!(labels["gateway.networking.k8s.io/gateway-class-name"], "penstock");
    let annotations = metadata.annotations.as_ref().expect("annotations");
    assert_eq!(annotations["service.beta.kubernetes.io/aws-load-balancer-scheme"], "internal");
    assert_eq!(annotations["service.beta.kubernetes.io/b"], "infrastructure");
    assert_eq!(annotations["note"], "hello");
    assert!(!annotations.contains_key("kubectl.kubernetes.io/last"), "nobody asked for it");
}

#[test]
fn two_gateways_on_one_port_have_target_ports_of_their_own_and_keep_them() {
    let (old, new) = (
        ", creationTimestamp: '2020-01-01T00:00:00Z'",
        ", creationTimestamp: '2021-01-01T00:00:00Z'",
    );
    let world =
        bare(&[&gateway("gw", &[443], old, ""), &gateway("two", &[443], new, "")]).settled();
    let seen = world.translate();
    let ports = |seen: &Seen| ["gw", "two"].map(|name| seen.frontend(name, 443).target_port);
    let before = ports(&seen);
    assert_eq!(before, [23_444, 22_279], "as another release chooses");
    assert_ne!(before[0], before[1]);
    assert!(before.iter().all(|port| (20_000..30_000).contains(port)));
    // A Service that claims the other's port: the older Gateway has it.
    let mut world = world;
    let mut forged = world.service("two");
    let taken = IntOrString::Int(i32::try_from(before[0]).expect("a port"));
    forged.spec.iter_mut().for_each(|spec| {
        spec.ports.iter_mut().flatten().for_each(|p| p.target_port = Some(taken.clone()));
    });
    world.keep(forged);
    let after = ports(&world.translate());
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1], before[0]);
    assert!(world.settle() > 0, "the forged Service is put right");
}

#[test]
fn a_target_port_that_a_service_says_is_kept_though_it_would_be_chosen_otherwise() {
    let mut world = bare(&[&gateway("gw", &[443], "", "")]).settled();
    let chosen = world.translate().frontend("gw", 443).target_port;
    let held = if chosen == 20_007 { 20_008 } else { 20_007 };
    let mut service = world.service("gw");
    let port = |port| IntOrString::Int(i32::try_from(port).expect("a port"));
    service.spec.iter_mut().for_each(|spec| {
        spec.ports.iter_mut().flatten().for_each(|p| p.target_port = Some(port(held)));
    });
    world.keep(service);
    let seen = world.translate();
    assert_eq!(seen.frontend("gw", 443).target_port, held);
    let ports = &seen.service("gw").spec.as_ref().expect("a spec").ports;
    assert_eq!(ports.as_ref().expect("ports")[0].target_port, Some(port(held)));
}

#[test]
fn of_what_a_service_says_a_gateway_keeps_what_it_asks_for() {
    let ranges = "ranges: [{cidr: 192.0.2.0/24}]";
    let with = |spec: &str, held: &[&str]| {
        let mut world = bare(&[&pool("p", ranges), &gateway("gw", &[80], "", "")]).settled();
        let mut service = world.service("gw");
        let held: Vec<_> = held.iter().map(|ip| format!("{{ip: {ip}}}")).collect();
        ingress(&mut service, &held.join(", "));
        world.keep(service);
        world.add(&gateway("gw", &[80], "", spec));
        world.translate().addresses("gw")
    };
    let two = ["192.0.2.70", "192.0.2.60"];
    assert_eq!(with("", &two), ["IPAddress 192.0.2.70"], "one of a family, where it asks for any");
    let named = ", addresses: [{type: IPAddress, value: 192.0.2.60}]";
    assert_eq!(with(named, &two), ["IPAddress 192.0.2.60"], "no other than what it names");
}

#[test]
fn s7_31_in_a_cluster_without_an_address_a_gateway_is_not_programmed() {
    for spec in ["", ", addresses: [{type: IPAddress}]"] {
        let seen = bare(&[&gateway("gw", &[80], "", spec)]).translate();
        assert_eq!(seen.gateway("gw", "Accepted"), "True Accepted", "{spec}");
        assert_eq!(seen.programmed("gw"), "False AddressNotAssigned", "{spec}");
        assert_eq!(seen.addresses("gw"), [""; 0]);
    }
    let exhausted = "ranges: [{start: 192.0.2.1}]";
    let older = gateway("gw", &[80], ", creationTimestamp: '2020-01-01T00:00:00Z'", "");
    let newer = gateway("new", &[80], ", creationTimestamp: '2021-01-01T00:00:00Z'", "");
    let seen = bare(&[&pool("p", exhausted), &older, &newer]).translate();
    assert_eq!(seen.programmed("gw"), "True Programmed");
    assert_eq!(seen.programmed("new"), "False AddressNotAssigned");
    assert!(seen.programmed_message("new").contains("add a range"));
}

#[test]
fn s7_31_in_a_cluster_spec_addresses_are_honoured_or_refused() {
    let seen = |addresses: &str| {
        let spec = format!(", addresses: [{addresses}]");
        let other = gateway("other", &[80], "", ", addresses: [{value: 192.0.2.77}]");
        World::new(&[&gateway("gw", &[80], "", &spec), &other]).cluster().translate()
    };
    for (addresses, accepted, programmed, message) in [
        ("{value: 192.0.2.9}", "True Accepted", "True Programmed", ""),
        ("{type: IPAddress}", "True Accepted", "True Programmed", ""),
        (
            "{value: 192.0.3.9}",
            "True Accepted",
            "False AddressNotUsable",
            "192.0.3.9 is in no LoadBalancerPool that selects the Gateway",
        ),
        (
            "{value: 192.0.2.9}, {value: 192.0.3.9}",
            "True Accepted",
            "False AddressNotUsable",
            "192.0.3.9 is in no LoadBalancerPool that selects the Gateway",
        ),
        ("{value: x}", "True Accepted", "False AddressNotUsable", "`x` is no IP address"),
        ("{type: Hostname, value: a.example}", "False UnsupportedAddress", "False Invalid", ""),
    ] {
        let seen = seen(addresses);
        assert_eq!(seen.gateway("gw", "Accepted"), accepted, "{addresses}");
        assert_eq!(seen.programmed("gw"), programmed, "{addresses}");
        if !message.is_empty() {
            assert_eq!(seen.programmed_message("gw"), message, "{addresses}");
        }
    }
    assert_eq!(seen("{value: 192.0.2.9}").addresses("gw"), ["IPAddress 192.0.2.9"]);
    let twice = seen("{value: 192.0.2.77}");
    let gateways = [twice.programmed_message("gw"), twice.programmed_message("other")];
    assert_eq!(
        gateways.iter().filter(|m| m.contains("has the address 192.0.2.77")).count(),
        1,
        "{gateways:?}"
    );
}

#[test]
fn a_pool_gives_the_lowest_free_address_of_each_family_and_says_what_is_left() {
    let ranges = "ranges: [{start: 192.0.2.8, stop: 192.0.2.11}, {cidr: '2001:db8::/120'}, \
                  {cidr: 192.0.2.10/31}]";
    let dated = |name: &str, year: u32| {
        gateway(name, &[80], &format!(", creationTimestamp: '{year}-01-01T00:00:00Z'"), "")
    };
    let mut world = bare(&[&pool("p", ranges), &dated("gw", 2022), &dated("b", 2023)]).settled();
    let seen = world.translate();
    assert_eq!(seen.addresses("gw"), ["IPAddress 192.0.2.8", "IPAddress 2001:db8::"]);
    assert_eq!(seen.addresses("b"), ["IPAddress 192.0.2.9", "IPAddress 2001:db8::1"]);
    assert_eq!(seen.frontend("b", 80).addresses, ["192.0.2.9", "2001:db8::1"]);
    let status = &seen.statuses.load_balancer_pools["p"];
    assert_eq!((status.used, status.free.as_str()), (4, "256"), "an overlap counts once");
    assert_eq!(status.conditions[0].status, "True");
    assert_eq!(status.conditions[0].observed_generation, Some(6));
    let balancer = seen.service("b").status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let ingress = balancer.and_then(|b| b.ingress.as_ref()).expect("addresses");
    assert!(ingress.iter().all(|i| i.ip_mode.as_deref() == Some("VIP")), "{ingress:?}");
    let class = seen.service("b").spec.as_ref().and_then(|s| s.load_balancer_class.clone());
    assert_eq!(class.as_deref(), Some("penstock.dev/load-balancer-pool"));

    // One that is older comes late and takes nothing away.
    world.add(&dated("a", 2020));
    let seen = world.translate();
    assert_eq!(seen.addresses("a"), ["IPAddress 192.0.2.10", "IPAddress 2001:db8::2"]);
    assert_eq!(seen.addresses("gw"), ["IPAddress 192.0.2.8", "IPAddress 2001:db8::"]);
    // The pool without the address that one has: it gets another; the others stay.
    world.add(&pool("p", "ranges: [{start: 192.0.2.9, stop: 192.0.2.20}]"));
    let seen = world.translate();
    assert_eq!(seen.addresses("b"), ["IPAddress 192.0.2.9"]);
    assert_eq!(seen.addresses("a"), ["IPAddress 192.0.2.10"]);
    assert_eq!(seen.addresses("gw"), ["IPAddress 192.0.2.11"]);
    // No pool: nobody keeps an address, and none is taken for one that a cloud gave.
    world.remove(ObjectKind::LoadBalancerPool, "", "p");
    let world = world.settled();
    assert_eq!(world.translate().addresses("b"), [""; 0]);
    assert_eq!(world.translate().programmed("b"), "False AddressNotAssigned");
}

#[test]
fn a_gateway_keeps_its_address_when_somebody_deletes_its_service() {
    let dated = |name: &str, year: u32| {
        gateway(name, &[80], &format!(", creationTimestamp: '{year}-01-01T00:00:00Z'"), "")
    };
    let status = "status: {addresses: [{type: IPAddress, value: 192.0.2.40}]}}";
    let late = dated("late", 2024);
    let late = format!("{}, {status}", late.strip_suffix('}').expect("an object"));
    let world = World::new(&[&dated("gw", 2020), &late]).cluster();
    assert_eq!(world.translate().addresses("late"), ["IPAddress 192.0.2.40"]);
}

#[test]
fn a_pool_is_for_the_gateways_and_namespaces_that_it_selects() {
    let selectors = |gateway: &str, namespace: &str| {
        format!(
            "ranges: [{{start: 192.0.2.1}}], gatewaySelector: {{{gateway}}}, \
             namespaceSelector: {{{namespace}}}"
        )
    };
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {a: b}}}";
    for (gateways, namespaces, given) in [
        ("matchLabels: {tier: edge}", "matchLabels: {a: b}", true),
        ("", "", true),
        ("matchLabels: {tier: other}", "", false),
        ("matchExpressions: [{key: tier, operator: In, values: [edge, x]}]", "", true),
        ("matchExpressions: [{key: tier, operator: DoesNotExist}]", "", false),
        ("", "matchLabels: {kubernetes.io/metadata.name: default}", true),
        ("", "matchExpressions: [{key: a, operator: NotIn, values: [b]}]", false),
        ("matchExpressions: [{key: tier, operator: In}]", "", false),
    ] {
        let pool = pool("p", &selectors(gateways, namespaces));
        let gateway = gateway("gw", &[80], ", labels: {tier: edge}", "");
        let seen = bare(&[&pool, namespace, &gateway]).translate();
        assert_eq!(!seen.addresses("gw").is_empty(), given, "{gateways} {namespaces}");
    }
}

#[test]
fn a_bad_pool_says_so_and_changes_nothing_else() {
    let world = World::new(&[]).cluster().settled();
    let before = world.translate();
    let bad = [
        ("ranges: [{start: 192.0.2.9, stop: 192.0.2.1}, {start: 192.0.2.200}]", "ranges[0]"),
        ("ranges: [{cidr: 0.0.0.0/0}]", "ranges[0]"),
        ("ranges: [{cidr: 239.0.0.0/24}]", "ranges[0]"),
        (
            "ranges: [{start: 192.0.2.1}], gatewaySelector: {matchExpressions: [{key: k, operator: Like}]}",
            "`k`",
        ),
    ];
    for (spec, named) in bad {
        let mut world = world.clone();
        world.add(&pool("a-bad-one", spec));
        let seen = world.translate();
        assert!(
            seen.state == before.state && seen.translation.services == before.translation.services
        );
        let condition = &seen.statuses.load_balancer_pools["a-bad-one"].conditions[0];
        assert_eq!(
            (condition.status.as_str(), condition.reason.as_str()),
            ("False", "UnsupportedValue")
        );
        assert!(condition.message.contains(named), "{}", condition.message);
        assert_eq!(
            seen.statuses.load_balancer_pools["pool"],
            before.statuses.load_balancer_pools["pool"]
        );
    }
}

#[test]
fn what_a_cloud_gave_stands_in_the_status_and_pools_stay_out_of_it() {
    let mut world = bare(&[]).settled();
    let mut service = world.service("gw");
    ingress(&mut service, "{hostname: lb.example.com}, {ip: 198.51.100.7}");
    world.keep(service);
    world.add(&pool("p", "ranges: [{cidr: 192.0.2.0/24}]"));
    let seen = world.translate();
    assert_eq!(seen.addresses("gw"), ["Hostname lb.example.com", "IPAddress 198.51.100.7"]);
    assert_eq!(seen.programmed("gw"), "True Programmed");
    assert_eq!(seen.frontend("gw", 80).addresses, ["198.51.100.7"]);
    assert_eq!(seen.frontend("gw", 80).announced_by, "");
    assert_eq!(seen.service("gw").status, None, "the status is the cloud's");
    assert_eq!(world.settle(), 0);
}

#[test]
fn a_cloud_is_asked_for_the_address_that_no_pool_has() {
    let spec = ", addresses: [{value: 198.51.100.7}]";
    let mut world = bare(&[&gateway("gw", &[80], "", spec)]).settled();
    let seen = world.translate();
    let asked = seen.service("gw").spec.as_ref().and_then(|spec| spec.load_balancer_ip.clone());
    assert_eq!(asked.as_deref(), Some("198.51.100.7"));
    assert_eq!(seen.programmed("gw"), "False AddressNotUsable");
    let mut service = world.service("gw");
    ingress(&mut service, "{ip: 198.51.100.7}, {ip: 198.51.100.8}");
    world.keep(service);
    assert_eq!(world.translate().programmed("gw"), "True Programmed");
    assert_eq!(world.translate().addresses("gw"), ["IPAddress 198.51.100.7"]);
}

#[test]
fn a_pool_that_comes_after_the_service_marks_it_instead_of_giving_it_a_class() {
    let mut world = bare(&[]).settled();
    world.add(&pool("p", "ranges: [{cidr: 192.0.2.0/24}]"));
    let world = world.settled();
    let seen = world.translate();
    let service = seen.service("gw");
    let class = service.spec.as_ref().and_then(|spec| spec.load_balancer_class.clone());
    assert_eq!(class, None, "the API server refuses a class that comes late");
    let annotations = service.metadata.annotations.as_ref().expect("annotations");
    assert_eq!(annotations["penstock.dev/addresses"], "pool");
    assert_eq!(seen.addresses("gw"), ["IPAddress 192.0.2.0"]);
}

#[test]
fn one_ready_node_announces_the_addresses_of_a_pool_and_another_when_it_is_gone() {
    let mut world = World::new(&[&gateway("gw", &[80, 81], "", "")]).cluster().settled();
    assert_eq!(world.translate().frontend("gw", 80).announced_by, "", "no node is ready");
    let nodes = ["a", "b", "c"].map(str::to_owned);
    assert!(world.index.set_nodes(nodes.clone().into(), true));
    assert!(!world.index.set_nodes(nodes.clone().into(), true), "nothing changed");
    let seen = world.translate();
    let first = seen.frontend("gw", 80).announced_by;
    assert!(nodes.contains(&first));
    assert_eq!(seen.frontend("gw", 81).announced_by, first, "an address has one announcer");
    assert_eq!(seen.frontend("gw", 80).node_port, 30_000);
    let left: BTreeSet<String> = nodes.iter().filter(|node| **node != first).cloned().collect();
    world.index.set_nodes(left.clone(), true);
    let second = world.translate().frontend("gw", 80).announced_by;
    assert!(left.contains(&second));

    // Its Service says so, and another replica reads it there.
    let mut world = world.settled();
    let of = |world: &World| world.translate().frontend("gw", 80).announced_by;
    assert_eq!(
        world.service("gw").metadata.annotations.expect("annotations")["penstock.dev/announced-by"],
        second
    );
    world.index.set_nodes(BTreeSet::new(), false);
    assert_eq!(of(&world), second, "a replica that does not lead hears of no node");
    world.index.set_nodes(BTreeSet::from([first.clone()]), false);
    assert_eq!(of(&world), second, "a new leader waits for the others");
    world.index.set_nodes(nodes.clone().into(), true);
    assert_eq!(of(&world), second, "a node that came back takes no address away");
    world.index.set_nodes(BTreeSet::from([first.clone()]), true);
    assert_eq!(of(&world), first);
}

#[test]
fn services_are_written_on_a_change_alone_and_put_right_when_somebody_changes_them() {
    let spec = ", infrastructure: {annotations: {note: hello}}";
    let mut world = World::new(&[&gateway("gw", &[80], "", spec)]).cluster().settled();
    let there = world.service("gw");
    for change in [
        |s: &mut Service| s.spec.as_mut().expect("a spec").selector = None,
        |s: &mut Service| {
            let selector = s.spec.as_mut().expect("a spec").selector.as_mut().expect("a selector");
            selector.insert("x".into(), "y".into());
        },
        |s: &mut Service| s.spec.as_mut().expect("a spec").ports = None,
        |s: &mut Service| s.metadata.labels = None,
        |s: &mut Service| s.status = None,
    ] {
        let mut changed = there.clone();
        change(&mut changed);
        world.keep(changed);
        assert_eq!(world.settle(), 1);
        assert_eq!(world.settle(), 0);
    }
    world.add(&gateway("gw", &[80], "", ""));
    assert_eq!(world.settle(), 1, "an annotation is no longer wanted");
    assert_eq!(world.settle(), 0);
}

#[test]
fn a_service_goes_with_its_gateway_and_nobody_elses_does() {
    let other = "{apiVersion: v1, kind: Service, metadata: {name: mine, namespace: penstock-system, \
                 labels: {app.kubernetes.io/managed-by: Helm}}, spec: {ports: [{port: 80}]}}";
    let mut world = World::new(&[other]).cluster().settled();
    // What cannot be served for the moment keeps its load balancer.
    let broken = ", infrastructure: {parametersRef: {group: penstock.dev, kind: GatewayConfig, \
                  name: absent}}";
    let new = gateway("new", &[80], "", broken);
    world.add(&format!("{}\n---\n{new}", gateway("gw", &[80], "", broken)));
    assert_eq!(world.translate().translation.services.len(), 1, "one never accepted gets none");
    assert!(world.translate().state.is_empty());
    world.remove(ObjectKind::Gateway, "default", "gw");
    assert!(world.translate().translation.services.is_empty());
    assert_eq!(world.settle(), 1);
    let left: Vec<_> = world.index.services().map(|(name, _)| name.name.as_str()).collect();
    assert!(left.contains(&"mine") && !left.iter().any(|name| name.starts_with("penstock")));
}

#[test]
fn a_refused_frontend_is_the_listeners_matter() {
    let seen = World::new(&[&gateway("gw", &[80, 81], "", "")]).cluster().translate();
    let key = Key::new(Kind::Frontend, "default/gw|81");
    let seen = seen.confirm(&[(key, "NoMap", "no")]);
    assert_eq!(seen.listener("gw", "l81", "Programmed"), "False Invalid");
    assert_eq!(seen.listener("gw", "l80", "Programmed"), "True Programmed");
}

#[test]
fn standalone_there_are_neither_services_nor_frontends() {
    let seen = World::new(&[&pool("p", "ranges: [{cidr: 192.0.2.0/24}]")]).translate();
    assert!(seen.translation.services.is_empty());
    assert_eq!(seen.keys(Kind::Frontend), [""; 0]);
    assert_eq!(seen.listener_resource("default/gw/http").target_port, 0);
}
