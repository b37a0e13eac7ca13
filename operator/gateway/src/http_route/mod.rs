//! HTTPRoute: where it is attached, its rules and its status.

mod filters;
mod matches;
mod native_filter;
mod parent;
mod rule;
mod status;

pub(crate) use rule::RuleView;

use crate::condition::Problem;
use crate::gateway::GatewayView;
use crate::name::created;
use crate::wasm_filter::Filters;
use crate::{Index, Name, hostname};
use parent::ParentView;
use penstock_config::Attachment;
use penstock_resources::conditions::reasons;
use penstock_resources::gateway_api::HttpRoute;
use std::collections::{BTreeMap, BTreeSet};

/// An HTTPRoute that names a Gateway of ours, and everything that is known about it.
#[derive(Debug)]
pub(crate) struct RouteView<'a> {
    pub(crate) name: Name,
    pub(crate) created: i64,
    pub(crate) rules: Vec<RuleView>,
    /// Keys of the listeners that it is accepted for.
    pub(crate) attached: BTreeSet<String>,
    /// Problems with TLS policies, by the key of the listener.
    pub(crate) tls_problems: Vec<(String, Problem)>,
    route: &'a HttpRoute,
    parents: Vec<ParentView<'a>>,
    /// Why it is not accepted anywhere.
    refused: Option<Problem>,
}

impl RouteView<'_> {
    /// Whether one of its rules has a TLS policy.
    pub(crate) fn has_tls(&self) -> bool {
        self.rules.iter().filter_map(|view| view.rule.as_ref()).any(|r| !r.tls_filters.is_empty())
    }
}

/// Those of some HTTPRoutes that name a Gateway of ours.
pub(crate) fn translate<'a, 'n>(
    index: &Index,
    filters: &Filters,
    gateways: &BTreeMap<Name, GatewayView<'_>>,
    routes: impl Iterator<Item = (&'n Name, &'a HttpRoute)>,
) -> Vec<RouteView<'a>> {
    let mut views = Vec::new();
    for (name, route) in routes {
        let Some(mut view) = view(index, filters, gateways, name, route) else { continue };
        if view.refused.is_none() {
            let served = note(&mut view, gateways);
            attach(&mut view, &served);
        }
        views.push(view);
    }
    views
}

fn view<'a>(
    index: &Index,
    filters: &Filters,
    gateways: &BTreeMap<Name, GatewayView<'_>>,
    name: &Name,
    route: &'a HttpRoute,
) -> Option<RouteView<'a>> {
    let hostnames = route.spec.hostnames.iter().flatten().map(|h| hostname::normalize(h));
    let hostnames: Vec<_> = hostnames.collect();
    let references = route.spec.parent_refs.iter().flatten();
    let parents: Vec<_> = references
        .filter_map(|r| parent::translate(index, gateways, &name.namespace, &hostnames, r))
        .collect();
    if parents.is_empty() {
        return None;
    }
    let created = created(&route.metadata);
    let rules = route.spec.rules.as_deref().unwrap_or_default();
    let rules = rule::translate_all(index, filters, name, created, rules);
    let refused = refused(&rules, &hostnames);
    Some(RouteView {
        name: name.clone(),
        created,
        rules,
        attached: BTreeSet::new(),
        tls_problems: Vec::new(),
        route,
        parents,
        refused,
    })
}

/// A route of which nothing can be served is not accepted.
fn refused(rules: &[RuleView], hostnames: &[String]) -> Option<Problem> {
    if let Some(bad) = hostnames.iter().find(|name| !hostname::is_valid(name)) {
        return Some(Problem::new(
            reasons::UNSUPPORTED_VALUE,
            format!("hostname `{bad}` is no DNS name, nor `*.` and a DNS name"),
        ));
    }
    let labelled = rules.iter().filter_map(|rule| {
        let problem = rule.invalid.as_ref()?;
        Some(Problem::new(problem.reason, format!("{}: {}", rule.label, problem.message)))
    });
    let problems: Vec<_> = labelled.collect();
    if problems.len() == rules.len() { Problem::join(&problems) } else { None }
}

/// Notes the listeners that admit the route, and returns the keys of those that are served.
fn note(view: &mut RouteView<'_>, gateways: &BTreeMap<Name, GatewayView<'_>>) -> BTreeSet<String> {
    let mut served = BTreeSet::new();
    for attached in view.parents.iter().filter_map(|p| p.outcome.as_ref().ok()).flatten() {
        let listener = gateways
            .get(&attached.gateway)
            .and_then(|gateway| gateway.listeners.get(attached.listener));
        if let Some(listener) = listener {
            view.attached.insert(listener.key.clone());
            if listener.served {
                served.insert(listener.key.clone());
            }
        }
    }
    served
}

/// Gives every rule its attachments, by listener, each once.
fn attach(view: &mut RouteView<'_>, served: &BTreeSet<String>) {
    let mut by_listener: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for attached in view.parents.iter().filter_map(|p| p.outcome.as_ref().ok()).flatten() {
        if served.contains(&attached.key) {
            let names = by_listener.entry(&attached.key).or_default();
            names.extend(attached.hostnames.iter().map(String::as_str));
        }
    }
    let attachments: Vec<Attachment> = by_listener
        .into_iter()
        .map(|(listener, names)| Attachment {
            listener: listener.to_owned(),
            hostnames: names.into_iter().map(str::to_owned).collect(),
        })
        .collect();
    for rule in view.rules.iter_mut().filter_map(|rule| rule.rule.as_mut()) {
        rule.attachments.clone_from(&attachments);
    }
}
