//! From a configuration to a snapshot.

use super::{
    Backend, Choice, Frontends, ListenerInfo, Port, Program, RouteRule, Settings, Snapshot,
    Unprepared, backend, filter::Filters, program,
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
use penstock_filter_host::Host;
use std::{borrow::Cow, sync::Arc, time::Duration};

/// What a snapshot is built with.
pub struct Context<'a> {
    /// Where filters are tried.
    pub host: &'a Host,
    /// Where metrics come from.
    pub metrics: &'a Metrics,
    /// The snapshot that serves now; what did not change is taken over from it.
    pub previous: &'a Snapshot,
    /// Versions of filters that a worker could not prepare: they are refused.
    pub unprepared: &'a [Unprepared],
}

impl Snapshot {
    /// Compiles a configuration. What cannot be served is refused, and the rest is. Of a filter that
    /// is refused the last good generation serves on.
    pub fn build(state: Arc<State>, context: &Context<'_>) -> (Self, Vec<Refusal>) {
        let mut refused = Vec::new();
        let filters = Filters {
            host: context.host,
            metrics: context.metrics,
            previous: &context.previous.filters,
            unprepared: context.unprepared,
        };
        let filters = filters.compile(&state, &mut refused);
        let backends = backends(&state, context.metrics);
        let mut snapshot = Self {
            version: state.version(),
            ports: HashMap::new(),
            frontends: Frontends::of(&state),
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
        snapshot.ports = ports(&snapshot.in_service(), &rules, context, &mut refused);
        (snapshot, refused)
    }

    /// The configuration with the generations of filters that really serve.
    fn in_service(&self) -> Cow<'_, State> {
        let mut state = Cow::Borrowed(&*self.state);
        for slot in self.filters.iter().filter(|slot| slot.stands_in) {
            state.to_mut().insert(slot.resource());
        }
        state
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
            by_port
                .entry(listener.serving_port())
                .or_default()
                .push((&resource.key.name, listener));
        }
    }
    let mut ports = HashMap::new();
    for (serving, mut listeners) in by_port {
        let before = context.previous.ports.get(&serving);
        // A serving port has one dialled port: it belongs to one Gateway, or is the dialled port.
        let number = listeners[0].1.port;
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
            let before = before.and_then(|port| port.tls.as_deref());
            let (tls, refusals) = TlsPort::build(serving, state, before);
            refused.extend(refusals);
            Arc::new(tls)
        });
        let listeners = listeners
            .iter()
            .map(|(key, listener)| info(key, listener, state, context.metrics))
            .collect();
        let open = before.map(|port| port.open.clone()).unwrap_or_default();
        ports.insert(serving, Arc::new(Port { number, table, listeners, tls, open }));
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
