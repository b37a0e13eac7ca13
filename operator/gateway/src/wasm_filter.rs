//! WasmFilter: policies, from what users wrote and what was found out about their modules.

use crate::condition::{Conditions, Problem, Truth};
use crate::last_good::{on_failure, opaque_values};
use crate::{FilterFacts, Index, Name, PlanSummary};
use penstock_config::{self as config, PolicyKind};
use penstock_resources::conditions::{reasons, types};
use penstock_resources::wasm_filter::{PlanStatus, WasmFilter, WasmFilterStatus};
use penstock_resources::{GROUP, Kind};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// All filters, each with what nodes are told or why it cannot be served.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    filters: BTreeMap<Name, Outcome>,
}

/// What comes of one filter.
#[derive(Debug)]
struct Outcome {
    /// What nodes are told, or why there is nothing to tell them.
    served: Result<config::Filter, Problem>,
    /// Why that is the last good generation and not the filter as it is now.
    refused: Option<Problem>,
}

impl Outcome {
    /// What is wrong with the filter as it is now.
    fn problem(&self) -> Option<&Problem> {
        self.served.as_ref().err().or(self.refused.as_ref())
    }
}

impl Filters {
    pub(crate) fn new(index: &Index) -> Self {
        let filters = index
            .filters
            .iter()
            .map(|(name, filter)| (name.clone(), outcome(index, name, filter)))
            .collect();
        Self { filters }
    }

    /// Those that nodes are told something else of in `new`, or nothing any more.
    pub(crate) fn changed(&self, new: &Self) -> BTreeSet<Name> {
        let names = self.filters.keys().chain(new.filters.keys());
        names.filter(|name| self.get(name) != new.get(name)).cloned().collect()
    }

    /// A filter by name.
    pub(crate) fn get(&self, name: &Name) -> Option<&Result<config::Filter, Problem>> {
        self.filters.get(name).map(|outcome| &outcome.served)
    }

    /// The filter that an `ExtensionRef` of a route in `namespace` leads to.
    ///
    /// # Errors
    /// `InvalidKind`, or `InvalidFilter` when there is no such filter or it cannot be served, or
    /// `Pending` while nothing is known about it.
    pub(crate) fn resolve(
        &self,
        namespace: &str,
        group: &str,
        kind: &str,
        name: &str,
    ) -> Result<&config::Filter, Problem> {
        if group != GROUP || kind != Kind::WasmFilter.name() {
            return Err(Problem::new(
                reasons::INVALID_KIND,
                format!(
                    "extensionRef names {kind} of group `{group}`; only WasmFilter of group \
                     {GROUP} is served"
                ),
            ));
        }
        let name = Name::new(namespace, name);
        match self.get(&name) {
            None => Err(Problem::new(
                reasons::INVALID_FILTER,
                format!("WasmFilter {name} does not exist"),
            )),
            Some(Ok(filter)) => Ok(filter),
            Some(Err(problem)) => {
                let pending = problem.reason == reasons::PENDING;
                let reason = if pending { reasons::PENDING } else { reasons::INVALID_FILTER };
                let message = format!("WasmFilter {name}: {}", problem.message);
                Err(Problem::new(reason, message))
            }
        }
    }

    /// The statuses of all filters. `refused`: what is wrong with a filter's `targetRefs`. `used`:
    /// those that nodes are told of.
    pub(crate) fn statuses<'a>(
        &self,
        index: &Index,
        refused: impl Fn(&Name) -> &'a [Problem],
        used: &BTreeSet<String>,
    ) -> BTreeMap<Name, WasmFilterStatus> {
        let known = index.filters().zip(index.filters.keys());
        let known =
            known.filter_map(|(filter, name)| Some((name, filter, self.filters.get(name)?)));
        known
            .map(|(name, filter, outcome)| {
                let used = used.contains(&name.to_string());
                (name.clone(), status(index, name, filter, outcome, refused(name), used))
            })
            .collect()
    }
}

/// The filter as it is now, else the last good generation, else nothing.
fn outcome(index: &Index, name: &Name, filter: &WasmFilter) -> Outcome {
    let problem = match translate(index, name, filter) {
        Ok(served) => return Outcome { served: Ok(served), refused: None },
        Err(problem) => problem,
    };
    let last_good = index.last_good(name).map(|last| last.serve_on(filter, &problem));
    match last_good.unwrap_or(Err(problem)) {
        Ok((served, problem)) => Outcome { served: Ok(served), refused: Some(problem) },
        Err(problem) => Outcome { served: Err(problem), refused: None },
    }
}

fn translate(index: &Index, name: &Name, filter: &WasmFilter) -> Result<config::Filter, Problem> {
    // What is wrong with the object itself is known before its module is.
    limits(filter).map_err(|message| Problem::new(reasons::INVALID, message))?;
    match index.facts(name) {
        Some(FilterFacts::Ready { digest, kind, .. }) => filter_resource(filter, digest, *kind)
            .map_err(|message| Problem::new(reasons::INVALID, message)),
        Some(FilterFacts::Failed { reason, message }) => {
            Err(Problem::new(reason.as_str(), message.clone()))
        }
        None => Err(Problem::new(reasons::PENDING, "the module has not been looked at yet")),
    }
}

/// What nodes are told of a filter whose module has this digest (`sha256:` and 64 hexadecimal
/// digits) and exports this interface. Whoever looks at a module tries it with the very same value.
///
/// # Errors
/// What is wrong with `spec.limits`, in words.
pub fn filter_resource(
    filter: &WasmFilter,
    digest: &str,
    kind: PolicyKind,
) -> Result<config::Filter, String> {
    let (spec, metadata) = (&filter.spec, &filter.metadata);
    let (memory_bytes, deadline_us) = limits(filter)?;
    let grants: BTreeSet<_> = spec.grants.iter().map(|grant| grant.name()).collect();
    let namespace = metadata.namespace.as_deref().unwrap_or("default");
    let config = sorted(spec.config.as_ref().unwrap_or(&Value::Null));
    Ok(config::Filter {
        name: Name::new(namespace, metadata.name.as_deref().unwrap_or_default()).to_string(),
        kind: kind as i32,
        module: digest.to_owned(),
        config_json: config.to_string(),
        generation: metadata.generation.and_then(|g| u64::try_from(g).ok()).unwrap_or(0),
        grants: grants.into_iter().map(str::to_owned).collect(),
        memory_bytes,
        deadline_us,
        max_invocations: spec.limits.max_invocations.unwrap_or(0),
        on_failure: on_failure(spec.on_failure) as i32,
        opaque_values: opaque_values(spec.opaque_values) as i32,
    })
}

/// `spec.limits`: bytes of memory, and microseconds for a call.
fn limits(filter: &WasmFilter) -> Result<(u64, u64), String> {
    let memory = filter.spec.memory_bytes().map_err(|e| format!("spec.limits.memory: {e}"))?;
    let deadline = filter.spec.deadline().map_err(|e| format!("spec.limits.deadline: {e}"))?;
    Ok((memory, u64::try_from(deadline.as_micros()).unwrap_or(u64::MAX)))
}

/// The same value with the keys of all objects in order: its text is then the same on every
/// replica, whatever order the keys arrived in.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Object(map) => {
            let by_key: BTreeMap<_, _> = map.iter().collect();
            Value::Object(by_key.into_iter().map(|(k, v)| (k.clone(), sorted(v))).collect())
        }
        other => other.clone(),
    }
}

fn status(
    index: &Index,
    name: &Name,
    filter: &WasmFilter,
    outcome: &Outcome,
    target: &[Problem],
    used: bool,
) -> WasmFilterStatus {
    let mut conditions = Conditions::new(&filter.metadata);
    let facts = index.facts(name);
    let unresolved =
        matches!(facts, Some(FilterFacts::Failed { reason, .. }) if reason.is_unresolved());
    let problem = outcome.problem();
    let pending = problem.is_some_and(|p| p.reason == reasons::PENDING);
    let own = problem.filter(|_| !unresolved && !pending);
    match own.cloned().or_else(|| Problem::join(target)) {
        Some(problem) => {
            conditions.add(types::ACCEPTED, Truth::False, problem.reason, problem.message);
        }
        None if pending || unresolved => {
            let message = "the module is not known";
            conditions.add(types::ACCEPTED, Truth::Unknown, reasons::PENDING, message);
        }
        None => {
            let message = "the module takes the configuration";
            conditions.add(types::ACCEPTED, Truth::True, reasons::ACCEPTED, message);
        }
    }
    match problem {
        Some(problem) if unresolved => {
            let message = problem.message.clone();
            conditions.add(types::RESOLVED_REFS, Truth::False, problem.reason, message);
        }
        Some(problem) if pending => {
            let message = problem.message.clone();
            conditions.add(types::RESOLVED_REFS, Truth::Unknown, reasons::PENDING, message);
        }
        _ => {
            let message = "the module is there";
            conditions.add(types::RESOLVED_REFS, Truth::True, reasons::RESOLVED_REFS, message);
        }
    }
    let (reason, message) = match (&outcome.served, &outcome.refused) {
        (Err(problem), _) => (reasons::INVALID, problem.message.as_str()),
        (Ok(_), Some(refused)) => (reasons::LAST_GOOD_SERVES, refused.message.as_str()),
        (Ok(_), None) if used => (reasons::PENDING, "waiting for the proxies to confirm"),
        (Ok(_), None) => (reasons::PENDING, "no route or listener that is served uses the filter"),
    };
    conditions.add(types::PROGRAMMED, Truth::False, reason, message);
    let mut status = WasmFilterStatus { conditions: conditions.finish(), ..Default::default() };
    match (&outcome.served, facts) {
        (Ok(served), _) if outcome.refused.is_some() => {
            let last_good = index.last_good(name);
            let summary = last_good.and_then(|last| last.summary.as_ref());
            show(&mut status, &served.module, served.kind(), summary);
        }
        (_, Some(FilterFacts::Ready { digest, kind, summary })) => {
            show(&mut status, digest, *kind, Some(summary));
        }
        _ => {}
    }
    status
}

/// Shows what is in use.
fn show(
    status: &mut WasmFilterStatus,
    digest: &str,
    kind: PolicyKind,
    summary: Option<&PlanSummary>,
) {
    status.digest = Some(digest.to_owned());
    status.kind = Some(kind.name().to_owned());
    status.plan = summary.map(|summary| PlanStatus {
        reads: summary.reads.clone(),
        writes: summary.writes.clone(),
        tier: Some(summary.tier.clone()).filter(|tier| !tier.is_empty()),
    });
}

/// Whether a filter is a TLS policy.
pub(crate) fn is_tls(filter: &config::Filter) -> bool {
    filter.kind() == PolicyKind::Tls
}
