//! A translator that remembers comes to the same as one that begins anew.

use crate::fixture::{BASE, filter, objects, pool, route, secret};
use penstock_config::PolicyKind;
use penstock_gateway::{
    FilterFacts, FilterReason, Index, Mode, PlanSummary, Settings, Translator, translate,
};
use penstock_resources::Object;
use proptest::prelude::*;
use std::sync::LazyLock;

const GATEWAY: &str = "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, \
     metadata: {name: NAME, namespace: default}, \
     spec: {gatewayClassName: CLASS, listeners: [\
       {name: http, port: PORT, protocol: HTTP, allowedRoutes: {namespaces: {FROM}}}, \
       {name: wild, port: 443, protocol: HTTPS, hostname: '*.example', \
        allowedRoutes: {namespaces: {from: All}}, tls: {certificateRefs: [{name: cert}]}}, \
       {name: any, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}]}}";

fn gateways() -> Vec<String> {
    let selector = "from: Selector, selector: {matchLabels: {team: red}}";
    let mut all = Vec::new();
    for name in ["gw", "gw2"] {
        for (class, port, from) in [
            ("penstock", "80", "from: All"),
            ("penstock", "8080", "from: Same"),
            ("penstock", "80", selector),
            ("foreign", "80", "from: All"),
            ("absent", "80", "from: All"),
        ] {
            let gateway = GATEWAY.replace("NAME", name).replace("CLASS", class);
            all.push(gateway.replace("PORT", port).replace("FROM", from));
        }
    }
    all
}

fn routes() -> Vec<String> {
    let extension = |name: &str| {
        format!(
            "{{type: ExtensionRef, extensionRef: \
             {{group: penstock.dev, kind: WasmFilter, name: {name}}}}}"
        )
    };
    let rule = |path: &str, filters: &[&str], backends: &str| {
        let filters: Vec<String> = filters.iter().map(|name| extension(name)).collect();
        format!(
            "{{matches: [{{path: {{type: PathPrefix, value: {path}}}}}], filters: [{}], \
             backendRefs: [{backends}]}}",
            filters.join(", ")
        )
    };
    let filtered = format!("{{name: b, port: 80, filters: [{}]}}", extension("headers"));
    let mut all = Vec::new();
    for (name, year) in [("r0", 2021), ("r1", 2020), ("r2", 2022), ("r3", 2020)] {
        for (hosts, rules) in [
            ("", vec![rule("/", &[], "{name: a, port: 80}")]),
            ("a.example", vec![rule("/", &["tls"], "{name: a, port: 80}")]),
            ("'*.example'", vec![rule("/", &["other-tls"], "{name: a, port: 80}")]),
            (
                "a.example, b.example",
                vec![
                    rule("/x", &["headers"], "{name: b, port: 80}, {name: a, port: 80}"),
                    rule("/y", &["tls", "headers"], "{name: c, namespace: other, port: 80}"),
                ],
            ),
            ("", vec![rule("/z", &["absent"], &filtered), rule("/z", &[], "{name: c, port: 81}")]),
        ] {
            let spec = format!("hostnames: [{hosts}], rules: [{}]", rules.join(", "));
            let created = format!("creationTimestamp: '{year}-01-01T00:00:00Z'");
            let one = route(name, &spec).replace("generation: 3", &created);
            all.push(one.replace("{name: gw}", "{name: gw}, {name: gw2, sectionName: wild}"));
            all.push(
                one.replace(
                    &format!("name: {name},"),
                    &format!("namespace: elsewhere, name: {name},"),
                )
                .replace("{name: gw}", "{name: gw, namespace: default}"),
            );
        }
    }
    all
}

const OTHERS: [&str; 17] = [
    "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}",
    "{apiVersion: v1, kind: Service, metadata: {name: a}, \
     spec: {ports: [{port: 80, appProtocol: kubernetes.io/h2c}]}}",
    "{apiVersion: v1, kind: Service, metadata: {name: b}, spec: {ports: [{port: 81}]}}",
    "{apiVersion: v1, kind: Service, metadata: {name: b}, \
     spec: {type: ExternalName, externalName: b.example}}",
    "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, \
     metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}, \
     ports: [{port: 8080}], endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.7]}]}",
    "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, \
     metadata: {name: a-1, labels: {kubernetes.io/service-name: b}}, \
     ports: [{port: 8080}], endpoints: [{addresses: [10.0.0.9]}]}",
    "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, \
     metadata: {name: b-1, labels: {kubernetes.io/service-name: b}}, \
     ports: [{port: 8080}], endpoints: [{addresses: [10.0.0.2], conditions: {ready: false}}]}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, \
     metadata: {name: g, namespace: other}, \
     spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}], \
     to: [{group: '', kind: Service}]}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, \
     metadata: {name: h, namespace: other}, \
     spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: elsewhere}], \
     to: [{group: '', kind: Service, name: c}]}}",
    "{apiVersion: v1, kind: Namespace, metadata: {name: elsewhere, labels: {team: red}}}",
    "{apiVersion: v1, kind: Namespace, metadata: {name: elsewhere, labels: {team: blue}}}",
    "{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {team: red}}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, \
     metadata: {name: foreign}, spec: {controllerName: example.com/other}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, \
     metadata: {name: penstock, generation: 2}, \
     spec: {controllerName: penstock.dev/gateway-controller}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, \
     metadata: {name: penstock, generation: 3}, spec: {controllerName: example.com/other}}",
    "{apiVersion: v1, kind: Secret, metadata: {name: cert}, stringData: {tls.crt: x}}",
    "{apiVersion: v1, kind: Service, metadata: {name: c, namespace: other}, \
     spec: {ports: [{port: 80}, {port: 81}]}}",
];

/// Everything that may come and go.
static OBJECTS: LazyLock<Vec<Object>> = LazyLock::new(|| {
    let names = ["tls", "other-tls", "headers"];
    let target = ", targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw}]";
    let mut all = vec![BASE.to_owned(), secret("cert", &["a.example"])];
    all.extend(names.map(|name| filter(name, "")));
    all.push(filter("tls", target));
    all.push(filter("headers", ", config: {x: 1}"));
    all.push(pool("pool", "ranges: [{cidr: 192.0.2.0/24}]"));
    all.extend(gateways());
    all.extend(routes());
    all.extend(OTHERS.map(str::to_owned));
    all.iter().flat_map(|yaml| objects(yaml)).collect()
});

#[derive(Clone, Debug)]
enum Step {
    Apply(usize),
    Remove(usize),
    Facts(usize, Option<PolicyKind>),
    Nodes(bool),
    Confirm,
    Mode(Mode),
}

fn step() -> impl Strategy<Value = Step> {
    let kind =
        prop_oneof![Just(Some(PolicyKind::Tls)), Just(Some(PolicyKind::Headers)), Just(None)];
    prop_oneof![
        30 => (0..OBJECTS.len()).prop_map(Step::Apply),
        10 => (0..OBJECTS.len()).prop_map(Step::Remove),
        6 => (0_usize..3, kind).prop_map(|(filter, kind)| Step::Facts(filter, kind)),
        1 => any::<bool>().prop_map(Step::Nodes),
        1 => Just(Step::Confirm),
        1 => prop_oneof![Just(Mode::Standalone), Just(Mode::Cluster)].prop_map(Step::Mode),
    ]
}

fn take(index: &mut Index, step: Step) {
    match step {
        Step::Apply(at) => {
            index.apply(OBJECTS[at].clone());
        }
        Step::Remove(at) => {
            index.remove(&OBJECTS[at].id());
        }
        Step::Facts(at, kind) => {
            let name = ["tls", "other-tls", "headers"][at];
            let facts = match kind {
                Some(kind) => FilterFacts::Ready {
                    digest: format!("sha256:{name}"),
                    kind,
                    summary: PlanSummary::default(),
                },
                None => FilterFacts::Failed {
                    reason: FilterReason::ModuleInvalid,
                    message: "it is none".into(),
                },
            };
            index.set_filter_facts(&format!("default/{name}"), facts);
        }
        Step::Nodes(there) => {
            index.set_nodes(there.then(|| "node".to_owned()).into_iter().collect(), true);
        }
        Step::Confirm => {
            let confirmation =
                penstock_gateway::Confirmation { acknowledged: true, ..Default::default() };
            index.confirm(&translate(index).state, &confirmation);
        }
        Step::Mode(mode) => index.settings_mut().mode = mode,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever changes, one by one or several at a time.
    #[test]
    fn what_is_remembered_is_what_would_be_found_anew(
        begin in proptest::sample::subsequence((0..OBJECTS.len()).collect::<Vec<_>>(), 0..30),
        series in proptest::collection::vec(proptest::collection::vec(step(), 0..4), 1..16),
    ) {
        let mut index = Index::new(Settings::default());
        // Most of what is asked about is there.
        for at in (0..13).chain(begin) {
            index.apply(OBJECTS[at].clone());
        }
        for filter in 0..2 {
            take(&mut index, Step::Facts(filter, Some(PolicyKind::Tls)));
        }
        let mut translator = Translator::default();
        prop_assert!(translator.translate(&index) == translate(&index), "at first");
        for steps in series {
            let shown = format!("{steps:?}");
            steps.into_iter().for_each(|step| take(&mut index, step));
            let (remembered, anew) = (translator.translate(&index), translate(&index));
            prop_assert_eq!(&remembered.state, &anew.state, "{}", &shown);
            prop_assert_eq!(remembered.state.version(), anew.state.version());
            prop_assert!(remembered == anew, "statuses or services after {shown}");
        }
    }
}
