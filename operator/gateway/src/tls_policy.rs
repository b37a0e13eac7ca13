//! TLS policies: on listeners by `targetRefs`, and on routes by `ExtensionRef`.
//!
//! A TLS policy of a route acts at the handshake, for the names where the route's hostnames meet
//! the listener's. Where two routes disagree on one name, the policy of the older route is in
//! force, and the rules of the other answer 500 for that name. A route can only tighten: the
//! policies of the listener itself run first, for every name.

use crate::condition::Problem;
use crate::gateway::GatewayView;
use crate::http_route::{RouteView, RuleView};
use crate::name::created;
use crate::wasm_filter::{Filters, is_tls};
use crate::{Index, Name, hostname};
use penstock_config::{self as config, Attachment, StepAction, TlsBinding};
use penstock_resources::conditions::reasons;
use penstock_resources::gateway_api::{GROUP, Gateway};
use penstock_resources::wasm_filter::{TargetRef, WasmFilter};
use std::collections::BTreeMap;

/// Which policies are attached to listeners.
#[derive(Default)]
pub(crate) struct ListenerPolicies {
    attached: BTreeMap<Name, Vec<Attached>>,
    refused: BTreeMap<Name, Vec<Problem>>,
}

struct Attached {
    filter: Name,
    section: Option<String>,
    usable: Result<(), Problem>,
}

impl ListenerPolicies {
    /// What the `targetRefs` of all filters say. Of several policies on one listener the oldest
    /// runs first.
    pub(crate) fn new(index: &Index, filters: &Filters) -> Self {
        let mut by_age: Vec<(&Name, &WasmFilter)> =
            index.filters.iter().map(|(name, filter)| (name, filter.as_ref())).collect();
        by_age.sort_by_key(|(name, filter)| (created(&filter.metadata), *name));
        let mut policies = ListenerPolicies::default();
        for (name, filter) in by_age {
            let Some(outcome) = filters.get(name) else { continue };
            for target in &filter.spec.target_refs {
                match check_target(index, &name.namespace, target, outcome) {
                    Ok(()) => policies.attach(name, target, outcome),
                    Err(p) => policies.refused.entry(name.clone()).or_default().push(p),
                }
            }
        }
        policies
    }

    /// The policies on a listener, in order, each once, with what keeps one from being used.
    pub(crate) fn of<'a>(
        &'a self,
        gateway: &Name,
        section: &'a str,
    ) -> impl Iterator<Item = (&'a Name, &'a Result<(), Problem>)> {
        let mut last = None;
        let attached = self.attached.get(gateway).into_iter().flatten();
        attached
            .filter(move |a| a.section.as_deref().is_none_or(|name| name == section))
            // Targets of one filter stand together.
            .filter(move |a| last.replace(&a.filter) != Some(&a.filter))
            .map(|a| (&a.filter, &a.usable))
    }

    /// What is wrong with the targets of a filter.
    pub(crate) fn refused(&self, filter: &Name) -> &[Problem] {
        self.refused.get(filter).map_or(&[], Vec::as_slice)
    }

    fn attach(
        &mut self,
        filter: &Name,
        target: &TargetRef,
        outcome: &Result<config::Filter, Problem>,
    ) {
        let gateway = Name::new(&filter.namespace, &target.name);
        self.attached.entry(gateway).or_default().push(Attached {
            filter: filter.clone(),
            section: target.section_name.clone(),
            usable: outcome.as_ref().map(|_| ()).map_err(Clone::clone),
        });
    }
}

fn check_target(
    index: &Index,
    namespace: &str,
    target: &TargetRef,
    outcome: &Result<config::Filter, Problem>,
) -> Result<(), Problem> {
    if target.group != GROUP || target.kind != "Gateway" {
        return Err(Problem::new(
            reasons::INVALID_KIND,
            format!("targetRefs names {} of group `{}`, not a Gateway", target.kind, target.group),
        ));
    }
    if let Some(filter) = outcome.as_ref().ok().filter(|filter| !is_tls(filter)) {
        return Err(Problem::new(
            reasons::INVALID_KIND,
            format!(
                "the module is a policy on {}: targetRefs is for TLS policies, name this one in an \
                 ExtensionRef of an HTTPRoute",
                filter.kind().name()
            ),
        ));
    }
    let gateway = Name::new(namespace, &target.name);
    let missing = |what: String| Problem::new(reasons::TARGET_NOT_FOUND, what);
    let Some(found) = index.gateways.get(&gateway) else {
        return Err(missing(format!("Gateway {gateway} does not exist")));
    };
    let section = target.section_name.as_deref();
    let mut listeners = listeners(found, section).peekable();
    if let (Some(section), None) = (section, listeners.peek()) {
        return Err(missing(format!("Gateway {gateway} has no listener {section}")));
    }
    if !listeners.any(|protocol| protocol == "HTTPS") {
        return Err(Problem::new(
            reasons::UNSUPPORTED_VALUE,
            format!(
                "Gateway {gateway} does not terminate TLS there: target a listener of protocol HTTPS"
            ),
        ));
    }
    Ok(())
}

fn listeners<'a>(gateway: &'a Gateway, section: Option<&str>) -> impl Iterator<Item = &'a str> {
    let listeners = gateway.spec.listeners.iter();
    let listeners = listeners.filter(move |l| section.is_none_or(|name| name == l.name));
    listeners.map(|l| l.protocol.as_str())
}

/// The policies in force on one listener that terminates TLS.
struct Bound<'a> {
    /// Of the listener itself.
    own: &'a [String],
    hostname: &'a str,
    /// Of routes, by name.
    routes: BTreeMap<String, Policies>,
}

struct Policies {
    filters: Vec<String>,
    /// The routes that ask for them, the oldest first.
    routes: Vec<Name>,
}

/// A binding and whose it is.
pub(crate) struct Binding {
    pub(crate) resource: TlsBinding,
    /// Keys of those of its filters that belong to the listener itself.
    pub(crate) own: Vec<String>,
    /// The routes that ask for the others.
    pub(crate) routes: Vec<Name>,
}

/// What a rule meets when it asks for its policies on a name.
enum Claim {
    Granted,
    /// Another route has the name, or a wider one.
    Lost(String),
    /// Other routes have narrower names: granted for the rest.
    Partly(String),
}

/// Binds the policies of routes to names, oldest route first. Takes the names that a rule loses
/// away from it and gives them to a twin that answers 500. Returns what nodes are told.
pub(crate) fn bind(
    routes: &mut [RouteView<'_>],
    gateways: &BTreeMap<Name, GatewayView<'_>>,
) -> Vec<Binding> {
    let served = gateways.values().flat_map(|gateway| &gateway.listeners).filter(|l| l.served);
    let mut bound: BTreeMap<&str, Bound<'_>> = served
        .filter(|listener| listener.has_tls())
        .map(|listener| {
            let (own, hostname) = (listener.policies.as_slice(), listener.hostname.as_str());
            (listener.key.as_str(), Bound { own, hostname, routes: BTreeMap::new() })
        })
        .collect();
    let mut by_age: Vec<&mut RouteView<'_>> = routes.iter_mut().collect();
    by_age.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    for route in by_age {
        bind_route(route, &mut bound);
    }
    bound.into_iter().flat_map(|(key, bound)| bound.bindings(key)).collect()
}

fn bind_route(route: &mut RouteView<'_>, bound: &mut BTreeMap<&str, Bound<'_>>) {
    let mut losers = Vec::new();
    for view in &mut route.rules {
        let Some(rule) = view.rule.as_mut().filter(|rule| !rule.tls_filters.is_empty()) else {
            continue;
        };
        let mut lost = Vec::new();
        for attachment in &mut rule.attachments {
            let listener = attachment.listener.clone();
            let Some(bound) = bound.get_mut(listener.as_str()) else {
                let message = format!(
                    "{}: TLS policy {} needs a listener that terminates TLS; requests on listener \
                     {listener} are answered 421",
                    view.label,
                    rule.tls_filters.join(", ")
                );
                let problem = Problem::new(reasons::INVALID_FILTER, message);
                route.tls_problems.push((listener, problem));
                continue;
            };
            let mut lost_names = Vec::new();
            attachment.hostnames.retain(|name| {
                let claim = bound.claim(&route.name, name, &rule.tls_filters);
                let (message, kept) = match claim {
                    Claim::Granted => return true,
                    Claim::Lost(message) => (format!("{message}: it answers 500 there"), false),
                    Claim::Partly(message) => (format!("{message}: it answers 421 there"), true),
                };
                let message = format!("{}: {message}", view.label);
                let problem = Problem::new(reasons::CONFLICTED, message);
                route.tls_problems.push((listener.clone(), problem));
                if !kept {
                    lost_names.push(name.clone());
                }
                kept
            });
            if !lost_names.is_empty() {
                lost.push(Attachment { listener, hostnames: lost_names });
            }
        }
        rule.attachments.retain(|attachment| !attachment.hostnames.is_empty());
        if !lost.is_empty() {
            losers.push(loser(view, lost));
        }
    }
    route.rules.extend(losers.into_iter().flatten());
}

/// The twin of a rule that answers 500 for the names that the rule lost. It takes part in matching
/// exactly as the rule would have.
fn loser(view: &RuleView, attachments: Vec<Attachment>) -> Option<RuleView> {
    let rule = view.rule.as_ref()?;
    let failure = config::Failure {
        reason: reasons::CONFLICTED.to_owned(),
        message: "an older HTTPRoute has another TLS policy for this name".to_owned(),
    };
    let step = config::Step { action: Some(StepAction::Failure(failure)) };
    Some(RuleView {
        rule: Some(config::Rule {
            // `~` is in no rule name.
            id: format!("{}~conflict", rule.id),
            attachments,
            filters: vec![step],
            tls_filters: Vec::new(),
            backends: Vec::new(),
            ..rule.clone()
        }),
        label: view.label.clone(),
        invalid: None,
        refs: Vec::new(),
        backends: Vec::new(),
    })
}

impl Bound<'_> {
    fn claim(&mut self, route: &Name, name: &str, filters: &[String]) -> Claim {
        let differs = |policies: &&Policies| policies.filters != filters;
        for other in hostname::wider(name) {
            if let Some(policies) = self.routes.get(&other).filter(differs) {
                return Claim::Lost(policies.disagreement(filters, name, &other));
            }
        }
        // Only a wildcard has narrower names.
        let is_wildcard = name.is_empty() || name.starts_with('*');
        let narrower = self.routes.iter().filter(|_| is_wildcard);
        let narrower = narrower.filter(|(_, policies)| differs(policies));
        let narrower = narrower.into_iter().find(|(other, _)| hostname::covers(name, other));
        let partly = narrower.map(|(other, p)| p.disagreement(filters, other, other));
        let policies = self
            .routes
            .entry(name.to_owned())
            .or_insert_with(|| Policies { filters: filters.to_vec(), routes: Vec::new() });
        if policies.routes.last() != Some(route) {
            policies.routes.push(route.clone());
        }
        partly.map_or(Claim::Granted, Claim::Partly)
    }

    fn bindings(self, listener: &str) -> Vec<Binding> {
        let binding = |hostname: &str, filters: Vec<String>, routes: Vec<Name>| Binding {
            resource: TlsBinding {
                listener: listener.to_owned(),
                hostname: hostname.to_owned(),
                filters,
            },
            own: self.own.to_vec(),
            routes,
        };
        let whole = !self.own.is_empty() && !self.routes.contains_key(self.hostname);
        let whole = whole.then(|| binding(self.hostname, self.own.to_vec(), Vec::new()));
        let of_routes = self.routes.into_iter().map(|(name, policies)| {
            let more = policies.filters.into_iter().filter(|filter| !self.own.contains(filter));
            binding(&name, self.own.iter().cloned().chain(more).collect(), policies.routes)
        });
        of_routes.chain(whole).collect()
    }
}

impl Policies {
    fn disagreement(&self, filters: &[String], name: &str, theirs: &str) -> String {
        let any =
            |name: &str| if name.is_empty() { "any name".to_owned() } else { name.to_owned() };
        format!(
            "TLS policy {} for {} disagrees with {} that HTTPRoute {} has for {}",
            filters.join(", "),
            any(name),
            self.filters.join(", "),
            self.routes.first().map(Name::to_string).unwrap_or_default(),
            any(theirs)
        )
    }
}
