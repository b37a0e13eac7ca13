//! One rule of an HTTPRoute.

use super::filters::{self, failure, failure_step};
use super::matches;
use crate::backend::{self, Backend};
use crate::condition::Problem;
use crate::wasm_filter::Filters;
use crate::{Index, Name};
use penstock_config::{BackendChoice, HttpMatch, Rule};
use penstock_resources::conditions::reasons;
use penstock_resources::duration;
use penstock_resources::gateway_api::httproutes::{
    HttpRouteRules, HttpRouteRulesBackendRefs, HttpRouteRulesTimeouts,
};
use prost::Message;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// A rule and everything that is known about it.
#[derive(Debug)]
pub(crate) struct RuleView {
    /// What nodes are told; its attachments are filled in later. `None`: the matches cannot be
    /// evaluated.
    pub(crate) rule: Option<Rule>,
    /// How a message calls it.
    pub(crate) label: String,
    /// Why it cannot be served as it is: it answers 500.
    pub(crate) invalid: Option<Problem>,
    /// References that cannot be used: it, or the share of a backend, answers 500.
    pub(crate) refs: Vec<Problem>,
    /// The backends that it uses.
    pub(crate) backends: Vec<Backend>,
}

/// Translates the rules of a route.
pub(super) fn translate_all(
    index: &Index,
    filters: &Filters,
    route: &Name,
    created: i64,
    rules: &[HttpRouteRules],
) -> Vec<RuleView> {
    let mut ids = BTreeSet::new();
    // The API server puts one rule without matches where there is none.
    let default = [HttpRouteRules::default()];
    let rules = if rules.is_empty() { &default } else { rules };
    let mut views = Vec::with_capacity(rules.len());
    for (position, spec) in rules.iter().enumerate() {
        let mut view = translate(index, filters, &route.namespace, position, spec);
        if let Some(rule) = &mut view.rule {
            rule.route = route.to_string();
            rule.created = created;
            rule.position = u32::try_from(position).unwrap_or(u32::MAX);
            rule.id = unique(&mut ids, id(&rule.name, &rule.matches));
        }
        views.push(view);
    }
    views
}

fn translate(
    index: &Index,
    filters: &Filters,
    namespace: &str,
    position: usize,
    spec: &HttpRouteRules,
) -> RuleView {
    let name = spec.name.clone().unwrap_or_default();
    let label = if name.is_empty() { format!("rules[{position}]") } else { format!("rule {name}") };
    let mut view =
        RuleView { rule: None, label, invalid: None, refs: Vec::new(), backends: Vec::new() };
    let matches = match matches::translate(spec.matches.as_deref()) {
        Ok(matches) => matches,
        Err(problem) => {
            view.invalid = Some(problem);
            return view;
        }
    };
    let declared = spec.filters.as_deref().unwrap_or_default();
    let steps = filters::translate(filters, namespace, declared, &matches);
    view.refs.extend(steps.refs);
    view.invalid = steps.invalid;
    let (request_timeout_ms, backend_timeout_ms) =
        timeouts(spec.timeouts.as_ref()).unwrap_or_else(|problem| {
            view.invalid.get_or_insert(problem);
            (0, 0)
        });
    let references = spec.backend_refs.as_deref().unwrap_or_default();
    let choices: Vec<_> = references
        .iter()
        .map(|reference| choice(index, filters, namespace, reference, &matches, &mut view))
        .collect();
    let served = view.invalid.is_none();
    view.rule = Some(Rule {
        name,
        matches,
        filters: match &view.invalid {
            None => steps.steps,
            Some(problem) => vec![failure_step(problem)],
        },
        tls_filters: steps.tls,
        backends: if served { choices } else { Vec::new() },
        request_timeout_ms,
        backend_timeout_ms,
        ..Rule::default()
    });
    view
}

/// One `backendRef`. What cannot be resolved answers 500 for its share of the weight and no more.
fn choice(
    index: &Index,
    filters: &Filters,
    namespace: &str,
    reference: &HttpRouteRulesBackendRefs,
    matches: &[HttpMatch],
    view: &mut RuleView,
) -> BackendChoice {
    let mut choice = BackendChoice {
        weight: reference.weight.and_then(|w| u32::try_from(w).ok()).unwrap_or(1),
        reference: backend::written(namespace, reference),
        ..BackendChoice::default()
    };
    let declared = reference.filters.as_deref().unwrap_or_default();
    let steps = filters::translate(filters, namespace, declared, matches);
    if let Some(problem) = steps.invalid {
        view.invalid.get_or_insert(Problem::new(
            problem.reason,
            format!("backendRef {}: {}", choice.reference, problem.message),
        ));
    }
    let tls = steps.tls.first().map(|filter| {
        Problem::new(
            reasons::INVALID_FILTER,
            format!(
                "WasmFilter {filter} is a TLS policy: it acts before a backend is chosen, so name \
                 it at the rule and not at backendRef {}",
                choice.reference
            ),
        )
    });
    let unusable: Vec<_> = steps.refs.into_iter().chain(tls).collect();
    choice.failure = unusable.first().map(failure);
    view.refs.extend(unusable);
    match backend::resolve(index, namespace, reference) {
        Err(problem) => {
            choice.failure.get_or_insert(failure(&problem));
            view.refs.push(problem);
        }
        Ok(backend) if choice.failure.is_none() => {
            choice.backend = backend.key();
            choice.filters = steps.steps;
            view.backends.push(backend);
        }
        Ok(_) => {}
    }
    choice
}

/// `timeouts` in milliseconds; 0 is none, as `0s` is.
fn timeouts(timeouts: Option<&HttpRouteRulesTimeouts>) -> Result<(u64, u64), Problem> {
    let Some(timeouts) = timeouts else { return Ok((0, 0)) };
    let unsupported = |message: String| Problem::new(reasons::UNSUPPORTED_VALUE, message);
    let read = |field: &str, text: Option<&String>| match text {
        None => Ok(0),
        Some(text) => duration::parse(text)
            .map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
            .map_err(|e| unsupported(format!("timeouts.{field}: {e}"))),
    };
    let request = read("request", timeouts.request.as_ref())?;
    let backend = read("backendRequest", timeouts.backend_request.as_ref())?;
    if request != 0 && backend > request {
        return Err(unsupported(
            "timeouts.backendRequest is longer than timeouts.request, which contains it".to_owned(),
        ));
    }
    Ok((request, backend))
}

/// What a rule is, wherever it stands: its name, or else what it matches.
fn id(name: &str, matches: &[HttpMatch]) -> String {
    if !name.is_empty() {
        return name.to_owned();
    }
    let mut encoded: Vec<_> = matches.iter().map(Message::encode_length_delimited_to_vec).collect();
    encoded.sort();
    let digest = Sha256::digest(encoded.concat());
    digest[..8].iter().map(|b| format!("{b:02x}")).collect()
}

/// Equal rules are told apart by counting. The first of them is the one that is ever reached.
fn unique(ids: &mut BTreeSet<String>, id: String) -> String {
    let mut unique = id.clone();
    let mut count = 1;
    while !ids.insert(unique.clone()) {
        count += 1;
        unique = format!("{id}~{count}");
    }
    unique
}
