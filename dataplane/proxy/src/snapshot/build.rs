//! From a configuration to a snapshot.

use super::{
    Backend, Choice, FilterSlot, ListenerInfo, Port, Program, RouteRule, Settings, Snapshot,
    backend, program,
};
use crate::{
    routing::RouteTable,
    telemetry::Metrics,
    tls::{Refusal, TlsPort},
};
use hashbrown::HashMap;
use penstock_config::{
    BackendChoice, Endpoints, Key, Kind, Listener, ListenerProtocol, ResourceKind, Rule, State,
};
use penstock_filter_host::{Host, PrepareError};
use std::{sync::Arc, time::Duration};

/// What a snapshot is built with.
pub struct Context<'a> {
    /// Where filters are tried.
    pub host: &'a Host,
    /// Where metrics come from.
    pub metrics: &'a Metrics,
    /// The snapshot that serves now; what did not change is taken over from it.
    pub previous: &'a Snapshot,
}

impl Snapshot {
    /// Compiles a configuration. What cannot be served is refused, and the rest is.
    pub fn build(state: Arc<State>, context: &Context<'_>) -> (Self, Vec<Refusal>) {
        let mut refused = Vec::new();
        let filters = filters(&state, context, &mut refused);
        let backends = backends(&state, context.metrics);
        let mut snapshot = Self {
            version: state.version(),
            ports: HashMap::new(),
            rules: Vec::new(),
            filters,
            backends,
            state: state.clone(),
        };
        let rules: Vec<&Rule> = state
            .iter()
            .filter_map(|resource| match &*resource.content {
                ResourceKind::Rule(rule) => Some(rule),
                _ => None,
            })
            .collect();
        snapshot.rules =
            rules.iter().map(|rule| snapshot.rule(rule, context, &mut refused)).collect();
        snapshot.ports = ports(&state, &rules, context, &mut refused);
        (snapshot, refused)
    }

    fn rule(&self, rule: &Rule, context: &Context<'_>, refused: &mut Vec<Refusal>) -> RouteRule {
        let key = rule_key(rule);
        let mut compile = |steps| {
            let (program, errors) = Program::compile(steps, |name| {
                let (index, slot) = self.filter(name)?;
                let (kind, plan) = program::fact(slot);
                Some((index, kind, plan))
            });
            refused.extend(errors.into_iter().map(|error| Refusal {
                key: key.clone(),
                reason: error.reason,
                message: error.message,
            }));
            program
        };
        let timeout = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
        RouteRule {
            key: key.name.as_str().into(),
            route: rule.route.as_str().into(),
            id: rule.id.as_str().into(),
            name: (!rule.name.is_empty()).then(|| rule.name.as_str().into()),
            program: compile(&rule.filters),
            choices: rule
                .backends
                .iter()
                .map(|choice| Choice {
                    reference: reference(choice).into(),
                    weight: choice.weight,
                    backend: choice
                        .failure
                        .is_none()
                        .then(|| self.backend(&choice.backend))
                        .flatten(),
                    program: compile(&choice.filters),
                })
                .collect(),
            tls_filters: rule.tls_filters.as_slice().into(),
            request_timeout: timeout(rule.request_timeout_ms),
            backend_timeout: timeout(rule.backend_timeout_ms),
            cells: context.metrics.routes.get(&rule.route),
        }
    }

    fn backend(&self, name: &str) -> Option<usize> {
        self.backends.binary_search_by(|backend| (*backend.name).cmp(name)).ok()
    }
}

fn rule_key(rule: &Rule) -> Key {
    Key::new(Kind::Rule, format!("{}/{}", rule.route, rule.id))
}

fn reference(choice: &BackendChoice) -> &str {
    if choice.reference.is_empty() { &choice.backend } else { &choice.reference }
}

/// Every filter with its plan. A filter that did not change is not tried again.
fn filters(state: &State, context: &Context<'_>, refused: &mut Vec<Refusal>) -> Vec<FilterSlot> {
    let mut slots = Vec::new();
    for resource in state.iter() {
        let ResourceKind::Filter(filter) = &*resource.content else { continue };
        let before = context.previous.filter(&filter.name).map(|(_, slot)| slot);
        if let Some(slot) = before
            && slot.version == resource.version
            && slot.plan.is_some()
        {
            slots.push(slot.clone());
            continue;
        }
        let plan = match context.host.check(filter) {
            Ok(plan) => Some(plan),
            Err(error) => {
                refused.push(Refusal {
                    key: resource.key.clone(),
                    reason: prepare_reason(&error),
                    message: error.to_string(),
                });
                None
            }
        };
        slots.push(FilterSlot {
            name: filter.name.as_str().into(),
            version: resource.version,
            config: Arc::new(filter.clone()),
            plan,
            cells: context.metrics.filters.get(&filter.name),
        });
    }
    slots.sort_by(|left, right| left.name.cmp(&right.name));
    slots
}

/// The reason that a WasmFilter's status gives for an error.
pub(crate) fn prepare_reason(error: &PrepareError) -> &'static str {
    match error {
        PrepareError::ModuleNotFound(_) => "ModuleNotFound",
        PrepareError::WrongWorld { .. } => "WrongWorld",
        PrepareError::CapabilityDenied(_) => "CapabilityDenied",
        PrepareError::InvalidConfig { .. } => "InvalidConfig",
        PrepareError::Limits(_) | PrepareError::InvalidPlan(_) | PrepareError::Failed { .. } => {
            "ModuleInvalid"
        }
    }
}

fn backends(state: &State, metrics: &Metrics) -> Vec<Backend> {
    let mut endpoints: HashMap<&str, &Endpoints> = HashMap::new();
    let mut backends = Vec::new();
    for resource in state.iter() {
        match &*resource.content {
            ResourceKind::Endpoints(found) => {
                endpoints.insert(&found.backend, found);
            }
            ResourceKind::Backend(backend) => backends.push(backend),
            _ => {}
        }
    }
    let compile = |backend: &&penstock_config::Backend| Backend {
        name: backend.name.as_str().into(),
        protocol: backend.protocol(),
        endpoints: endpoints
            .get(backend.name.as_str())
            .map(|found| backend::endpoints(found))
            .unwrap_or_default(),
        cells: metrics.backends.get(&backend.name),
    };
    let mut backends: Vec<Backend> = backends.iter().map(compile).collect();
    backends.sort_by(|left, right| left.name.cmp(&right.name));
    backends
}

fn ports(
    state: &State,
    rules: &[&Rule],
    context: &Context<'_>,
    refused: &mut Vec<Refusal>,
) -> HashMap<u32, Arc<Port>> {
    let mut by_port: std::collections::BTreeMap<u32, Vec<(&str, &Listener)>> = Default::default();
    for resource in state.iter() {
        if let ResourceKind::Listener(listener) = &*resource.content {
            by_port.entry(listener.port).or_default().push((&resource.key.name, listener));
        }
    }
    let mut ports = HashMap::new();
    for (number, mut listeners) in by_port {
        let https = listeners.iter().any(|(_, l)| l.protocol() == ListenerProtocol::Https);
        listeners.retain(|(key, listener)| {
            let fits = https == (listener.protocol() == ListenerProtocol::Https);
            if !fits {
                refused.push(Refusal {
                    key: Key::new(Kind::Listener, *key),
                    reason: "ProtocolConflict",
                    message: format!(
                        "port {number} is served as HTTPS for another listener; give this HTTP \
                         listener another port"
                    ),
                });
            }
            fits
        });
        let named: Vec<(&str, &str)> =
            listeners.iter().map(|(key, listener)| (*key, listener.hostname.as_str())).collect();
        let (table, errors) = RouteTable::build(&named, rules);
        for error in errors {
            let refusal = Refusal {
                key: rule_key(rules[error.rule]),
                reason: "UnsupportedValue",
                message: error.problem.to_string(),
            };
            if !refused.contains(&refusal) {
                refused.push(refusal);
            }
        }
        let tls = https.then(|| {
            let before = context.previous.ports.get(&number).and_then(|port| port.tls.as_deref());
            let (tls, refusals) = TlsPort::build(number, state, before);
            refused.extend(refusals);
            Arc::new(tls)
        });
        let listeners = listeners
            .iter()
            .map(|(key, listener)| info(key, listener, state, context.metrics))
            .collect();
        ports.insert(number, Arc::new(Port { number, table, listeners, tls }));
    }
    ports
}

fn info(key: &str, listener: &Listener, state: &State, metrics: &Metrics) -> ListenerInfo {
    let gateway = state.get(&Key::new(Kind::Gateway, &listener.gateway));
    let settings = match gateway.map(|resource| &*resource.content) {
        Some(ResourceKind::Gateway(gateway)) => Settings::of(gateway),
        _ => Settings::default(),
    };
    ListenerInfo {
        key: key.into(),
        settings: Arc::new(settings),
        cells: metrics.listeners.get(key),
    }
}
