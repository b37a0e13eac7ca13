//! Objects as YAML, and short ways to look at a translation.

use penstock_config::{
    Certificate, Endpoints, Filter, Key, Kind, Listener, PolicyKind, ResourceKind, Rule, State,
    StepAction, TlsBinding,
};
use penstock_gateway::{
    Confirmation, FilterFacts, FilterReason, Index, Mode, Name, PlanSummary, Settings, Statuses,
    Translation, Translator, translate,
};
use penstock_resources::wasm_filter::WasmFilterStatus;
use penstock_resources::{Object, ObjectId};
use serde_json::Value;
use std::cell::RefCell;

type Condition = k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// A GatewayClass, a Gateway with one HTTP listener that admits every namespace, and three Services
/// with one endpoint each.
pub(crate) const BASE: &str = r#"
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: penstock, generation: 1},
 spec: {controllerName: penstock.dev/gateway-controller}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: gw, generation: 2},
 spec: {gatewayClassName: penstock, listeners: [
   {name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: b}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: c, namespace: other}, spec: {ports: [{port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4,
 metadata: {name: a-1, labels: {kubernetes.io/service-name: a}},
 ports: [{port: 8080}], endpoints: [{addresses: [10.0.0.1]}]}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4,
 metadata: {name: b-1, labels: {kubernetes.io/service-name: b}},
 ports: [{port: 8080}], endpoints: [{addresses: [10.0.0.2]}]}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4,
 metadata: {name: c-1, namespace: other, labels: {kubernetes.io/service-name: c}},
 ports: [{port: 8080}], endpoints: [{addresses: [10.0.0.3]}]}
"#;

/// The objects of a YAML stream.
pub(crate) fn objects(yaml: &str) -> Vec<Object> {
    let values: Vec<Value> = serde_saphyr::from_multiple(yaml).expect("valid YAML");
    values.into_iter().map(|v| Object::from_json(v).expect("a known kind")).collect()
}

/// An HTTPRoute `default/{name}` on Gateway `gw` with the given `spec` fields.
pub(crate) fn route(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, \
         metadata: {{name: {name}, generation: 3}}, \
         spec: {{parentRefs: [{{name: gw}}], {spec}}}}}"
    )
}

/// A WasmFilter in `default`.
pub(crate) fn filter(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: penstock.dev/v1alpha1, kind: WasmFilter, \
         metadata: {{name: {name}, generation: 4}}, \
         spec: {{module: {{file: {{path: {name}.wasm}}}}{spec}}}}}"
    )
}

/// A LoadBalancerPool.
pub(crate) fn pool(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: penstock.dev/v1alpha1, kind: LoadBalancerPool, \
         metadata: {{name: {name}, generation: 6}}, spec: {{{spec}}}}}"
    )
}

/// A Secret of type `kubernetes.io/tls` for some names.
pub(crate) fn secret(name: &str, dns: &[&str]) -> String {
    let names: Vec<String> = dns.iter().map(|n| (*n).to_owned()).collect();
    let issued = rcgen::generate_simple_self_signed(names).expect("a certificate");
    secret_of(name, &issued.cert.pem(), &issued.signing_key.serialize_pem())
}

/// A Secret from its parts.
pub(crate) fn secret_of(name: &str, chain: &str, key: &str) -> String {
    let data = serde_json::json!({"tls.crt": chain, "tls.key": key});
    format!(
        "{{apiVersion: v1, kind: Secret, type: kubernetes.io/tls, metadata: {{name: {name}}}, \
         stringData: {data}}}"
    )
}

/// A ConfigMap with a trust anchor.
pub(crate) fn anchor(name: &str) -> String {
    let issued = rcgen::generate_simple_self_signed(vec!["ca".to_owned()]).expect("a certificate");
    let data = serde_json::json!({"ca.crt": issued.cert.pem()});
    format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}, data: {data}}}")
}

thread_local! {
    /// Remembers what the test has translated so far.
    static TRANSLATOR: RefCell<Translator> = RefCell::default();
}

/// An index to fill.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) index: Index,
}

impl World {
    /// [`BASE`] and more.
    pub(crate) fn new(yaml: &[&str]) -> Self {
        let mut world = Self { index: Index::new(Settings::default()) };
        world.add(BASE);
        yaml.iter().for_each(|y| world.add(y));
        world
    }

    /// In a cluster with a LoadBalancerPool for everybody.
    pub(crate) fn cluster(mut self) -> Self {
        self.index.settings_mut().mode = Mode::Cluster;
        self.add(&pool("pool", "ranges: [{cidr: 192.0.2.0/24}]"));
        self
    }

    pub(crate) fn add(&mut self, yaml: &str) {
        objects(yaml).into_iter().for_each(|o| {
            self.index.apply(o);
        });
    }

    pub(crate) fn remove(&mut self, kind: penstock_resources::Kind, namespace: &str, name: &str) {
        let id = ObjectId { kind, namespace: namespace.into(), name: name.into() };
        assert!(self.index.remove(&id), "{id} is there");
    }

    /// Says that a filter of `default` can be served.
    pub(crate) fn ready(mut self, filter: &str, kind: PolicyKind) -> Self {
        self.set_ready(filter, kind);
        self
    }

    pub(crate) fn set_ready(&mut self, filter: &str, kind: PolicyKind) {
        let summary = PlanSummary {
            reads: vec!["path".into()],
            writes: vec!["x-*".into()],
            tier: "memo".into(),
        };
        let facts = FilterFacts::Ready { digest: format!("sha256:{filter}"), kind, summary };
        assert!(self.index.set_filter_facts(&format!("default/{filter}"), facts));
    }

    /// Says that the nodes serve all filters as they are told now.
    pub(crate) fn confirmed(mut self) -> Self {
        for resource in translate(&self.index).state.iter() {
            if let ResourceKind::Filter(filter) = &*resource.content {
                self.index.set_last_good(filter);
            }
        }
        self
    }

    /// Says that a filter of `default` cannot be served.
    pub(crate) fn failed(mut self, filter: &str, reason: FilterReason) -> Self {
        let facts = FilterFacts::Failed { reason, message: format!("{reason:?} it is") };
        assert!(self.index.set_filter_facts(&format!("default/{filter}"), facts));
        self
    }

    /// Translates, and checks what every translation must be.
    pub(crate) fn translate(&self) -> Seen {
        let translation = translate(&self.index);
        let mut node = State::default();
        let delta = node.diff(&translation.state);
        node.apply(&delta).expect("every resource has its parents");
        assert_eq!(node, translation.state);
        let again = TRANSLATOR.with_borrow_mut(|translator| translator.translate(&self.index));
        assert_eq!(again, translation, "equal input, equal output, whatever came before");
        Seen {
            state: translation.state.clone(),
            statuses: translation.statuses.clone(),
            translation,
        }
    }
}

/// A translation to look at.
pub(crate) struct Seen {
    pub(crate) state: State,
    pub(crate) statuses: Statuses,
    pub(crate) translation: Translation,
}

impl Seen {
    /// The same after the nodes have answered.
    pub(crate) fn confirm(&self, refused: &[(Key, &str, &str)]) -> Seen {
        self.confirm_keeping(refused, &[])
    }

    /// The same where nodes serve what they had before of some that they refused.
    pub(crate) fn confirm_keeping(&self, refused: &[(Key, &str, &str)], kept: &[Key]) -> Seen {
        let refused = refused.iter();
        let refused = refused.map(|(k, r, m)| (k.clone(), (*r).to_owned(), (*m).to_owned()));
        let confirmation = Confirmation {
            refused: refused.collect(),
            kept: kept.iter().cloned().collect(),
            acknowledged: true,
        };
        Seen {
            state: self.state.clone(),
            statuses: self.statuses.confirm(&confirmation),
            translation: self.translation.clone(),
        }
    }

    pub(crate) fn keys(&self, kind: Kind) -> Vec<String> {
        let resources = self.state.iter().filter(|r| r.key.kind() == kind);
        resources.map(|r| r.key.name.clone()).collect()
    }

    pub(crate) fn rules(&self) -> Vec<Rule> {
        let rules = self.state.iter().filter_map(|r| match &*r.content {
            ResourceKind::Rule(rule) => Some(rule.clone()),
            _ => None,
        });
        rules.collect()
    }

    /// The rules of a route in the order of the route.
    pub(crate) fn rules_of(&self, route: &str) -> Vec<Rule> {
        let mut rules = self.rules();
        rules.retain(|rule| rule.route == route);
        rules.sort_by_key(|rule| (rule.position, rule.id.clone()));
        rules
    }

    pub(crate) fn only_rule(&self) -> Rule {
        let rules = self.rules();
        assert_eq!(rules.len(), 1, "{rules:#?}");
        rules[0].clone()
    }

    pub(crate) fn endpoints(&self, backend: &str) -> Vec<String> {
        let found: &Endpoints = match self.content(Kind::Endpoints, backend) {
            ResourceKind::Endpoints(endpoints) => endpoints,
            other => panic!("{other:?}"),
        };
        found.endpoints.iter().map(|e| format!("{}:{}", e.host, e.port)).collect()
    }

    pub(crate) fn filter(&self, name: &str) -> &Filter {
        match self.content(Kind::Filter, name) {
            ResourceKind::Filter(filter) => filter,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn listener_resource(&self, key: &str) -> &Listener {
        match self.content(Kind::Listener, key) {
            ResourceKind::Listener(listener) => listener,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn certificate(&self, name: &str) -> &Certificate {
        match self.content(Kind::Certificate, name) {
            ResourceKind::Certificate(certificate) => certificate,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn binding(&self, key: &str) -> &TlsBinding {
        match self.content(Kind::TlsBinding, key) {
            ResourceKind::TlsBinding(binding) => binding,
            other => panic!("{other:?}"),
        }
    }

    fn content(&self, kind: Kind, name: &str) -> &ResourceKind {
        let found = self.state.get(&Key::new(kind, name));
        &found.unwrap_or_else(|| panic!("no {} {name}: {:?}", kind.name(), self.keys(kind))).content
    }

    /// A condition of `default/{gateway}`, as `status reason`; empty where it is missing.
    pub(crate) fn gateway(&self, gateway: &str, type_: &str) -> String {
        let status = &self.statuses.gateways[&Name::new("default", gateway)];
        short(status.conditions.as_deref().unwrap_or_default(), type_)
    }

    pub(crate) fn listener(&self, gateway: &str, section: &str, type_: &str) -> String {
        short(&self.listener_status(gateway, section).conditions, type_)
    }

    pub(crate) fn listener_message(&self, gateway: &str, section: &str, type_: &str) -> String {
        message(&self.listener_status(gateway, section).conditions, type_)
    }

    pub(crate) fn attached(&self, gateway: &str, section: &str) -> i32 {
        self.listener_status(gateway, section).attached_routes
    }

    pub(crate) fn supported_kinds(&self, gateway: &str, section: &str) -> Vec<String> {
        let status = self.listener_status(gateway, section);
        status.supported_kinds.iter().flatten().map(|k| k.kind.clone()).collect()
    }

    fn listener_status(
        &self,
        gateway: &str,
        section: &str,
    ) -> &penstock_resources::gateway_api::gateways::GatewayStatusListeners {
        let status = &self.statuses.gateways[&Name::new("default", gateway)];
        let mut listeners = status.listeners.iter().flatten();
        listeners.find(|l| l.name == section).expect("a listener of that name")
    }

    /// A condition of a route for its first parent.
    pub(crate) fn route(&self, route: &str, type_: &str) -> String {
        self.route_parent(route, 0, type_)
    }

    pub(crate) fn route_parent(&self, route: &str, parent: usize, type_: &str) -> String {
        short(&self.route_conditions(route, parent), type_)
    }

    pub(crate) fn route_message(&self, route: &str, type_: &str) -> String {
        message(&self.route_conditions(route, 0), type_)
    }

    fn route_conditions(&self, route: &str, parent: usize) -> Vec<Condition> {
        let (namespace, name) = route.split_once('/').unwrap_or(("default", route));
        self.statuses.http_routes[&Name::new(namespace, name)].parents[parent].conditions.clone()
    }

    pub(crate) fn wasm(&self, filter: &str, type_: &str) -> String {
        short(&self.wasm_status(filter).conditions, type_)
    }

    pub(crate) fn wasm_message(&self, filter: &str, type_: &str) -> String {
        message(&self.wasm_status(filter).conditions, type_)
    }

    pub(crate) fn wasm_status(&self, filter: &str) -> &WasmFilterStatus {
        &self.statuses.wasm_filters[&Name::new("default", filter)]
    }
}

fn short(conditions: &[Condition], type_: &str) -> String {
    let found = conditions.iter().find(|c| c.type_ == type_);
    found.map(|c| format!("{} {}", c.status, c.reason)).unwrap_or_default()
}

fn message(conditions: &[Condition], type_: &str) -> String {
    let found = conditions.iter().find(|c| c.type_ == type_);
    found.map(|c| c.message.clone()).unwrap_or_default()
}

/// The steps of a rule or backend in short.
pub(crate) fn steps(steps: &[penstock_config::Step]) -> Vec<String> {
    let short = |step: &penstock_config::Step| match step.action.as_ref().expect("an action") {
        StepAction::RequestHeaders(_) => "request-headers".to_owned(),
        StepAction::ResponseHeaders(_) => "response-headers".to_owned(),
        StepAction::Redirect(_) => "redirect".to_owned(),
        StepAction::Rewrite(_) => "rewrite".to_owned(),
        StepAction::Policy(name) => format!("policy {name}"),
        StepAction::Failure(failure) => format!("500 {}", failure.reason),
    };
    steps.iter().map(short).collect()
}
