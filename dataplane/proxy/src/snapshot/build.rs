//! From a configuration to a snapshot.

use super::{
    Backend, Choice, FilterSlot, Frontends, ListenerInfo, Port, Program, RouteRule, Settings,
    Snapshot, Unprepared, backend, filter::Filters, program,
};
use crate::{
    routing::{RouteTable, RuleChange},
    telemetry::Metrics,
    tls::{Refusal, TlsPort},
};
use hashbrown::HashMap;
use penstock_config::{
    BackendChoice, Delta, Key, Kind, Listener, ListenerProtocol, ResourceKind, Rule, State, Step,
    StepAction,
};
use penstock_filter_host::Host;
use std::{borrow::Cow, collections::BTreeSet, sync::Arc, time::Duration};

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
    ///
    /// The configuration has the parents of all that it has, as [`State::apply`] sees to: so a rule
    /// that did not change leads to the backends that it led to before.
    pub fn build(state: Arc<State>, context: &Context<'_>) -> (Self, Vec<Refusal>) {
        let previous = context.previous;
        let mut refused = Vec::new();
        let filters = Filters {
            host: context.host,
            metrics: context.metrics,
            previous: &previous.filters,
            unprepared: context.unprepared,
        };
        let filters = filters.compile(&state, &mut refused);
        let delta = previous.state.diff(&state);
        let mut snapshot = Self {
            version: state.version(),
            ports: HashMap::new(),
            frontends: Frontends::of(&state),
            rules: previous.rules.clone(),
            filters,
            backends: previous.backends.clone(),
            refused: previous.refused.clone(),
            state: state.clone(),
        };
        snapshot.change_backends(&delta, context.metrics);
        let changed = snapshot.change_rules(&delta, context);
        refused.extend(snapshot.refused.values().flat_map(|refused| refused.iter().cloned()));
        let in_service = snapshot.in_service();
        let ports = Ports { snapshot: &snapshot, state: &in_service, changed: &changed, context };
        let ports = ports.build(&mut refused);
        snapshot.ports = ports;
        (snapshot, refused)
    }

    /// Compiles the backends that changed.
    fn change_backends(&mut self, delta: &Delta, metrics: &Metrics) {
        let is_part = |key: &&Key| matches!(key.kind(), Kind::Backend | Kind::Endpoints);
        let changed = delta.upserts.iter().map(|resource| &resource.key);
        let names = delta.removals.iter().chain(changed).filter(is_part).map(|key| &key.name);
        for name in names.collect::<BTreeSet<_>>() {
            let key = Key::new(Kind::Backend, name);
            let Some(ResourceKind::Backend(backend)) = content(&self.state, &key) else {
                self.backends.remove(&key);
                continue;
            };
            let endpoints = match content(&self.state, &Key::new(Kind::Endpoints, name)) {
                Some(ResourceKind::Endpoints(found)) => backend::endpoints(found),
                _ => Arc::default(),
            };
            let compiled = Backend {
                name: backend.name.as_str().into(),
                protocol: backend.protocol(),
                endpoints,
                cells: metrics.backends.get(&backend.name),
            };
            self.backends.put(&key, compiled);
        }
    }

    /// Compiles the rules that changed, and those that depend on what filters are. Gives what tables
    /// have to know: for each index the rule that was there and the one that is.
    fn change_rules(&mut self, delta: &Delta, context: &Context<'_>) -> Vec<Changed> {
        let is_rule = |key: &Key| key.kind() == Kind::Rule;
        let mut changed = Vec::new();
        for key in delta.removals.iter().filter(|key| is_rule(key)) {
            let old = self.rules.position(key).and_then(|index| self.rules.get(index).cloned());
            self.refused.remove(key);
            if let Some(index) = self.rules.remove(key) {
                changed.push(Changed { index, old, new: None });
            }
        }
        for resource in delta.upserts.iter().filter(|resource| is_rule(&resource.key)) {
            let old = self.rules.position(&resource.key);
            let old = old.and_then(|index| self.rules.get(index).cloned());
            let Some(index) = self.put_rule(&resource.content, context) else { continue };
            changed.push(Changed { index, old, new: self.rules.get(index).cloned() });
        }
        if !alike(&self.filters, &context.previous.filters) {
            let with_policies = |rule: &&Arc<RouteRule>| rule.config().is_some_and(has_policies);
            let rules = self.rules.iter().map(|(_, rule)| rule).filter(with_policies);
            for rule in rules.cloned().collect::<Vec<_>>() {
                self.put_rule(&rule.source, context);
            }
        }
        changed
    }

    /// The configuration with the generations of filters that really serve.
    fn in_service(&self) -> Cow<'_, State> {
        let mut state = Cow::Borrowed(&*self.state);
        for slot in self.filters.iter().filter(|slot| slot.stands_in) {
            state.to_mut().insert(slot.resource());
        }
        state
    }

    /// Compiles a rule. Gives its index.
    fn put_rule(&mut self, source: &Arc<ResourceKind>, context: &Context<'_>) -> Option<usize> {
        let ResourceKind::Rule(rule) = &**source else { return None };
        let key = source.key();
        let mut refused = Vec::new();
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
        let program = compile(&rule.filters);
        let choices = rule.backends.iter().map(|choice| Choice {
            reference: reference(choice).into(),
            weight: choice.weight,
            backend: choice.failure.is_none().then(|| self.backend(&choice.backend)).flatten(),
            program: compile(&choice.filters),
        });
        let choices = choices.collect();
        let compiled = RouteRule {
            key: key.name.as_str().into(),
            route: rule.route.as_str().into(),
            id: rule.id.as_str().into(),
            name: (!rule.name.is_empty()).then(|| rule.name.as_str().into()),
            program,
            choices,
            tls_filters: rule.tls_filters.as_slice().into(),
            request_timeout: timeout(rule.request_timeout_ms),
            backend_timeout: timeout(rule.backend_timeout_ms),
            cells: context.metrics.routes.get(&rule.route),
            source: source.clone(),
        };
        if refused.is_empty() {
            self.refused.remove(&key);
        } else {
            self.refused.insert(key.clone(), refused.into());
        }
        Some(self.rules.put(&key, compiled))
    }

    fn backend(&self, name: &str) -> Option<usize> {
        self.backends.position(&Key::new(Kind::Backend, name))
    }
}

/// A rule that came, changed or went.
struct Changed {
    index: usize,
    old: Option<Arc<RouteRule>>,
    new: Option<Arc<RouteRule>>,
}

impl Changed {
    fn of_table(&self) -> RuleChange<'_> {
        RuleChange {
            index: self.index as u32,
            old: self.old.as_deref().and_then(RouteRule::config),
            new: self.new.as_deref().and_then(RouteRule::config),
        }
    }
}

/// Whether steps that lead to filters lead to the same ones.
fn alike(new: &[FilterSlot], old: &[FilterSlot]) -> bool {
    let same = |new: &FilterSlot, old: &FilterSlot| {
        let plans = match (&new.plan, &old.plan) {
            (Some(new), Some(old)) => Arc::ptr_eq(new, old),
            (new, old) => new.is_none() && old.is_none(),
        };
        new.name == old.name && new.version == old.version && plans
    };
    new.len() == old.len() && new.iter().zip(old).all(|(new, old)| same(new, old))
}

fn has_policies(rule: &Rule) -> bool {
    let of_choices = rule.backends.iter().flat_map(|choice| &choice.filters);
    let mut steps = rule.filters.iter().chain(of_choices);
    steps.any(|step: &Step| matches!(step.action, Some(StepAction::Policy(_))))
}

fn reference(choice: &BackendChoice) -> &str {
    if choice.reference.is_empty() { &choice.backend } else { &choice.reference }
}

fn content<'a>(state: &'a State, key: &Key) -> Option<&'a ResourceKind> {
    state.get(key).map(|resource| &*resource.content)
}

/// What ports are built from.
struct Ports<'a> {
    snapshot: &'a Snapshot,
    /// The configuration with the generations of filters that really serve.
    state: &'a State,
    changed: &'a [Changed],
    context: &'a Context<'a>,
}

impl Ports<'_> {
    fn build(&self, refused: &mut Vec<Refusal>) -> HashMap<u32, Arc<Port>> {
        let mut by_port: std::collections::BTreeMap<u32, Vec<(&str, &Listener)>> =
            Default::default();
        for resource in self.state.of_kind(Kind::Listener) {
            if let ResourceKind::Listener(listener) = &*resource.content {
                let listeners = by_port.entry(listener.serving_port()).or_default();
                listeners.push((&resource.key.name, listener));
            }
        }
        let ports = by_port.into_iter().map(|(serving, listeners)| {
            (serving, Arc::new(self.port(serving, listeners, refused)))
        });
        ports.collect()
    }

    fn port(
        &self,
        serving: u32,
        mut listeners: Vec<(&str, &Listener)>,
        refused: &mut Vec<Refusal>,
    ) -> Port {
        let before = self.context.previous.ports.get(&serving);
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
        let table = self.table(before, &listeners, refused);
        let tls = https.then(|| {
            let before = before.and_then(|port| port.tls.as_deref());
            let (tls, refusals) = TlsPort::build(serving, self.state, before);
            refused.extend(refusals);
            Arc::new(tls)
        });
        let listeners = listeners
            .iter()
            .map(|(key, listener)| info(key, listener, self.state, self.context.metrics))
            .collect();
        let open = before.map(|port| port.open.clone()).unwrap_or_default();
        Port { number, table, listeners, tls, open }
    }

    /// The routes of a port: those that it had, with what changed, as long as its listeners are the
    /// same.
    fn table(
        &self,
        before: Option<&Arc<Port>>,
        listeners: &[(&str, &Listener)],
        refused: &mut Vec<Refusal>,
    ) -> RouteTable {
        let rules = &self.snapshot.rules;
        let named: Vec<(&str, &str)> =
            listeners.iter().map(|(key, listener)| (*key, listener.hostname.as_str())).collect();
        let known = before.map(|port| &port.table).filter(|table| table.is_of(&named));
        let (mut table, changes): (RouteTable, Vec<RuleChange<'_>>) = match known {
            Some(table) => (table.clone(), self.changed.iter().map(Changed::of_table).collect()),
            None => {
                let all = rules.iter().map(|(index, rule)| RuleChange {
                    index: index as u32,
                    old: None,
                    new: rule.config(),
                });
                (RouteTable::new(&named), all.collect())
            }
        };
        table.change(&changes, |index| rules.get(index as usize)?.config());
        for error in table.errors() {
            let Some(rule) = rules.get(error.rule) else { continue };
            let refusal = Refusal {
                key: rule.source.key(),
                reason: "UnsupportedValue",
                message: error.problem.to_string(),
            };
            if !refused.contains(&refusal) {
                refused.push(refusal);
            }
        }
        table
    }
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
