//! The status of an HTTPRoute: one entry for each parent of ours.

use super::RouteView;
use super::parent::ParentView;
use crate::condition::{Conditions, Problem, Truth};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use penstock_resources::conditions::{CONTROLLER_NAME, reasons, types};
use penstock_resources::gateway_api::httproutes::{
    HttpRouteParentRefs, HttpRouteStatus, HttpRouteStatusParents, HttpRouteStatusParentsParentRef,
};
use std::collections::BTreeSet;

impl RouteView<'_> {
    /// The status. Parents that stand there twice have one entry.
    pub(crate) fn status(&self) -> HttpRouteStatus {
        let mut parents: Vec<HttpRouteStatusParents> = Vec::new();
        for parent in &self.parents {
            let parent_ref = parent_ref(parent.reference);
            if !parents.iter().any(|p| p.parent_ref == parent_ref) {
                parents.push(HttpRouteStatusParents {
                    conditions: self.conditions(parent),
                    controller_name: CONTROLLER_NAME.to_owned(),
                    parent_ref,
                });
            }
        }
        HttpRouteStatus { parents }
    }

    /// For each parent: its position in the status, and the listeners that it reaches.
    pub(crate) fn reach(&self) -> Vec<(usize, BTreeSet<&str>)> {
        let mut entries: Vec<&HttpRouteParentRefs> = Vec::new();
        let mut reach: Vec<(usize, BTreeSet<&str>)> = Vec::new();
        for parent in &self.parents {
            // As `status` puts equal parents into one entry.
            let known = entries.iter().position(|reference| *reference == parent.reference);
            let at = known.unwrap_or(entries.len());
            if known.is_none() {
                entries.push(parent.reference);
            }
            let attached = parent.outcome.as_ref().map(Vec::as_slice).unwrap_or_default();
            reach.push((at, attached.iter().map(|a| a.key.as_str()).collect()));
        }
        reach
    }

    fn conditions(&self, parent: &ParentView<'_>) -> Vec<Condition> {
        let mut conditions = Conditions::new(&self.route.metadata);
        let refused = parent.outcome.as_ref().err().or(self.refused.as_ref());
        conditions.add_result(types::ACCEPTED, reasons::ACCEPTED, "the route is accepted", refused);
        conditions.add_result(
            types::RESOLVED_REFS,
            reasons::RESOLVED_REFS,
            "all references are resolved",
            self.unresolved(parent).as_ref(),
        );
        if let Some(problem) = self.partly_invalid().filter(|_| refused.is_none()) {
            conditions.add(types::PARTIALLY_INVALID, Truth::True, problem.reason, problem.message);
        }
        conditions.finish()
    }

    fn unresolved(&self, parent: &ParentView<'_>) -> Option<Problem> {
        let of_rules = self.rules.iter().flat_map(|rule| {
            rule.refs.iter().map(|problem| {
                Problem::new(problem.reason, format!("{}: {}", rule.label, problem.message))
            })
        });
        let mut problems: Vec<_> = of_rules.collect();
        let attached = parent.outcome.as_ref().map(Vec::as_slice).unwrap_or_default();
        let here = |listener: &str| attached.iter().any(|a| a.key == listener);
        let tls = self.tls_problems.iter().filter(|(listener, _)| here(listener));
        problems.extend(tls.map(|(_, problem)| problem.clone()));
        Problem::join(&problems)
    }

    /// The Gateway API: the message "MUST start with the prefix "Dropped Rule"" when rules are
    /// dropped.
    fn partly_invalid(&self) -> Option<Problem> {
        let dropped = self.rules.iter().filter_map(|view| {
            let problem = view.invalid.as_ref()?;
            let answer = if view.rule.is_some() {
                "its requests are answered 500"
            } else {
                "it matches nothing"
            };
            Some(Problem::new(
                problem.reason,
                format!("Dropped Rule {}: {}; {answer}", view.label, problem.message),
            ))
        });
        let dropped: Vec<_> = dropped.collect();
        Problem::join(&dropped)
    }
}

fn parent_ref(reference: &HttpRouteParentRefs) -> HttpRouteStatusParentsParentRef {
    HttpRouteStatusParentsParentRef {
        group: reference.group.clone(),
        kind: reference.kind.clone(),
        name: reference.name.clone(),
        namespace: reference.namespace.clone(),
        port: reference.port,
        section_name: reference.section_name.clone(),
    }
}
