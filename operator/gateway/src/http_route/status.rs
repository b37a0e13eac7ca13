//! The status of an HTTPRoute: one entry for each parent of ours.

use super::RouteView;
use super::parent::ParentView;
use crate::condition::{Conditions, Problem, Truth};
use penstock_resources::conditions::{CONTROLLER_NAME, reasons, types};
use penstock_resources::gateway_api::httproutes::{
    HttpRouteParentRefs, HttpRouteStatus, HttpRouteStatusParents, HttpRouteStatusParentsParentRef,
};

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

    /// Positions in the status of the parents that reach one of these listeners.
    pub(crate) fn parents_at(&self, listener: impl Fn(&str) -> bool) -> Vec<usize> {
        let status = self.status();
        let reaching = self.parents.iter().filter(|parent| {
            parent.outcome.as_ref().is_ok_and(|a| a.iter().any(|a| listener(&a.key)))
        });
        let positions = reaching.filter_map(|parent| {
            let parent_ref = parent_ref(parent.reference);
            status.parents.iter().position(|p| p.parent_ref == parent_ref)
        });
        let mut positions: Vec<_> = positions.collect();
        positions.dedup();
        positions
    }

    fn conditions(
        &self,
        parent: &ParentView<'_>,
    ) -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
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
