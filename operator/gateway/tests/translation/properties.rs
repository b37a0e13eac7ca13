//! What holds for every set of objects.

use crate::fixture::{BASE, World, filter, objects, route};
use penstock_config::{Kind, PolicyKind, State, Version};
use penstock_gateway::{Index, Settings, translate};
use penstock_resources::Object;
use proptest::prelude::*;
use std::collections::BTreeMap;

const PATHS: [&str; 4] = ["/", "/a", "/a/b", "/c"];
const HOSTS: [&str; 4] = ["a.example", "b.example", "'*.example'", "'*.b.example'"];
const EXTENSIONS: [&str; 4] = ["tls", "other-tls", "headers", "absent"];
const BACKENDS: [&str; 4] = [
    "{name: a, port: 80}",
    "{name: b, port: 80}",
    "{name: absent, port: 80}",
    "{name: c, namespace: other, port: 80}",
];

fn rule() -> impl Strategy<Value = String> {
    let filter = proptest::option::of(0..EXTENSIONS.len());
    let backends = proptest::collection::vec(0..BACKENDS.len(), 0..3);
    (0..PATHS.len(), proptest::bool::ANY, filter, backends).prop_map(
        |(path, exact, filter, backends)| {
            let type_ = if exact { "Exact" } else { "PathPrefix" };
            let filters = filter.map_or(String::new(), |f| {
                format!(
                    "filters: [{{type: ExtensionRef, extensionRef: \
                 {{group: penstock.dev, kind: WasmFilter, name: {}}}}}], ",
                    EXTENSIONS[f]
                )
            });
            let backends: Vec<_> = backends.into_iter().map(|b| BACKENDS[b]).collect();
            format!(
                "{{matches: [{{path: {{type: {type_}, value: {}}}}}], {filters}backendRefs: [{}]}}",
                PATHS[path],
                backends.join(", ")
            )
        },
    )
}

fn one_route() -> impl Strategy<Value = (Vec<String>, String, u32)> {
    let hosts = proptest::collection::btree_set(0..HOSTS.len(), 0..3);
    let rules = proptest::collection::vec(rule(), 1..4);
    (rules, hosts, 2020..2023u32).prop_map(|(rules, hosts, year)| {
        let hosts: Vec<_> = hosts.into_iter().map(|h| HOSTS[h]).collect();
        (rules, hosts.join(", "), year)
    })
}

fn yaml(name: &str, rules: &[String], hosts: &str, year: u32) -> String {
    route(name, &format!("hostnames: [{hosts}], rules: [{}]", rules.join(", ")))
        .replace("generation: 3", &format!("creationTimestamp: '{year}-01-01T00:00:00Z'"))
}

fn gateway() -> String {
    let secret = crate::fixture::secret("cert", &["a.example"]);
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: gw}}, \
         spec: {{gatewayClassName: penstock, listeners: [\
         {{name: http, port: 80, protocol: HTTP}}, \
         {{name: wild, port: 443, protocol: HTTPS, hostname: '*.example', \
           tls: {{certificateRefs: [{{name: cert}}]}}}}, \
         {{name: any, port: 443, protocol: HTTPS, tls: {{certificateRefs: [{{name: cert}}]}}}}, \
         {{name: broken, port: 444, protocol: HTTPS}}]}}}}\n---\n{secret}"
    )
}

fn all_objects(routes: &[(Vec<String>, String, u32)], gateway: &str) -> Vec<Object> {
    let filters = ["tls", "other-tls", "headers"].map(|name| filter(name, ""));
    let mut yaml_all = vec![BASE.to_owned(), gateway.to_owned()];
    yaml_all.extend(filters);
    for (at, (rules, hosts, year)) in routes.iter().enumerate() {
        yaml_all.push(yaml(&format!("r{at}"), rules, hosts, *year));
    }
    // One object for each name, the last one.
    let by_id: BTreeMap<_, _> =
        yaml_all.iter().flat_map(|y| objects(y)).map(|o| (o.id(), o)).collect();
    by_id.into_values().collect()
}

fn index(objects: impl IntoIterator<Item = Object>) -> World {
    let mut world = World { index: Index::new(Settings::default()) };
    for object in objects {
        world.index.apply(object);
    }
    world.set_ready("tls", PolicyKind::Tls);
    world.set_ready("other-tls", PolicyKind::Tls);
    world.set_ready("headers", PolicyKind::Headers);
    world
}

fn versions(state: &State) -> BTreeMap<String, Version> {
    state.iter().map(|r| (r.key.to_string(), r.version)).collect()
}

/// Objects that are wrong, and have nothing to do with the others.
const UNRELATED: [&str; 7] = [
    "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: zz-bad, namespace: zz}, \
     spec: {parentRefs: [{name: absent}], rules: [{filters: [{type: CORS}]}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: zz-bad, namespace: zz}, \
     spec: {gatewayClassName: penstock, listeners: [{name: x, port: 0, protocol: NONE, hostname: '?'}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: zz-late, namespace: zz, \
     creationTimestamp: '2030-01-01T00:00:00Z'}, \
     spec: {gatewayClassName: penstock, listeners: [{name: x, port: 80, protocol: HTTPS}]}}",
    "{apiVersion: penstock.dev/v1alpha1, kind: WasmFilter, metadata: {name: zz-bad}, spec: {module: \
     {file: {path: x}}, limits: {memory: lots}, targetRefs: [{group: g, kind: k, name: gw}]}}",
    "{apiVersion: v1, kind: Service, metadata: {name: zz-bad}, spec: {type: ExternalName, externalName: '?'}}",
    "{apiVersion: v1, kind: Secret, metadata: {name: zz-bad}, stringData: {tls.crt: x, tls.key: z}}",
    "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {name: zz-bad, \
     labels: {kubernetes.io/service-name: absent}}, endpoints: [{addresses: [x]}], ports: [{port: -1}]}",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The order in which objects arrive, and what was there before, leave no trace.
    #[test]
    fn the_order_of_objects_does_not_matter(
        routes in proptest::collection::vec(one_route(), 0..4),
        seed in proptest::collection::vec(any::<u32>(), 40),
    ) {
        let gateway = gateway();
        let objects = all_objects(&routes, &gateway);
        let expected = index(objects.clone()).translate();
        let mut shuffled: Vec<_> = objects.into_iter().enumerate().collect();
        shuffled.sort_by_key(|(at, _)| seed[at % seed.len()].wrapping_add(*at as u32));
        let mut world = index(shuffled.into_iter().map(|(_, object)| object));
        prop_assert!(world.translate().translation == expected.translation);
        for bad in UNRELATED {
            world.add(bad);
            let ids: Vec<_> = objects_ids(bad);
            ids.iter().for_each(|id| { world.index.remove(id); });
        }
        prop_assert!(world.translate().translation == expected.translation);
    }

    /// One object that is wrong leaves every other resource as it is.
    #[test]
    fn an_unrelated_bad_object_changes_no_version(
        routes in proptest::collection::vec(one_route(), 0..4),
        bad in 0..UNRELATED.len(),
    ) {
        let mut world = index(all_objects(&routes, &gateway()));
        let before = world.translate();
        world.add(UNRELATED[bad]);
        let after = world.translate();
        prop_assert_eq!(versions(&after.state), versions(&before.state));
        for (name, status) in &before.statuses.http_routes {
            prop_assert_eq!(after.statuses.http_routes.get(name), Some(status));
        }
        for (name, status) in &before.statuses.gateways {
            prop_assert_eq!(after.statuses.gateways.get(name), Some(status));
        }
    }

    /// Identity never comes from a position.
    #[test]
    fn reordering_rules_keeps_keys(
        (mut rules, hosts, year) in one_route(),
        by in 0..4usize,
    ) {
        let gateway = gateway();
        let keys = |rules: &[String]| {
            let world = index(all_objects(&[(rules.to_vec(), hosts.clone(), year)], &gateway));
            let mut keys = world.translate().keys(Kind::Rule);
            // Which rule loses a name to another of its route depends on their order.
            keys.iter_mut().for_each(|key| *key = key.replace("~conflict", ""));
            keys.sort();
            keys.dedup();
            keys
        };
        let before = keys(&rules);
        let middle = by % rules.len();
        rules.rotate_left(middle);
        prop_assert_eq!(keys(&rules), before);
    }

    /// Whatever users write, nodes can take it, step by step.
    #[test]
    fn every_change_applies_without_orphans(
        before in proptest::collection::vec(one_route(), 0..4),
        after in proptest::collection::vec(one_route(), 0..4),
    ) {
        let gateway = gateway();
        let old = translate(&index(all_objects(&before, &gateway)).index).state;
        let new = translate(&index(all_objects(&after, &gateway)).index).state;
        let mut node = State::default();
        node.apply(&node.diff(&old)).expect("from nothing");
        node.apply(&node.diff(&new)).expect("from the old state");
        prop_assert_eq!(node.version(), new.version());
    }
}

fn objects_ids(yaml: &str) -> Vec<penstock_resources::ObjectId> {
    objects(yaml).iter().map(Object::id).collect()
}
