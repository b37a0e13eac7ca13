//! TLS policies of routes, by `ExtensionRef`, and what they and the listener's own come to.
//!
//! A TLS policy of a route acts at the handshake, for the names where the route's hostnames meet
//! the listener's. Where two routes disagree on one name, the policy of the older route is in
//! force, and the rules of the other answer 500 for that name. A route can only tighten: the
//! policies of the listener itself run first, for every name.

use crate::condition::Problem;
use crate::gateway::GatewayView;
use crate::http_route::{RouteView, RuleView};
use crate::{Name, hostname};
use penstock_config::{self as config, Attachment, StepAction, TlsBinding};
use penstock_resources::conditions::reasons;
use std::collections::BTreeMap;

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
