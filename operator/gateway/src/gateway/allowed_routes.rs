//! `allowedRoutes`: which routes may attach to a listener.

use crate::Index;
use crate::condition::Problem;
use crate::label_selector::{Expression, matches, namespace_labels};
use penstock_resources::conditions::reasons;
use penstock_resources::gateway_api::GROUP;
use penstock_resources::gateway_api::gateways::{
    GatewayListeners, GatewayListenersAllowedRoutesNamespacesFrom as From,
    GatewayListenersAllowedRoutesNamespacesSelector as Selector,
};
use std::collections::BTreeMap;

/// Namespaces whose routes may attach.
#[derive(Debug)]
pub(crate) enum Namespaces<'a> {
    /// The Gateway's own.
    Same,
    /// All.
    All,
    /// Those with matching labels.
    Selector(&'a Selector),
}

impl<'a> Namespaces<'a> {
    /// What a listener says.
    ///
    /// # Errors
    /// `UnsupportedValue` when the selector is missing or cannot be evaluated.
    pub(crate) fn of(listener: &'a GatewayListeners) -> Result<Self, Problem> {
        let namespaces = listener.allowed_routes.as_ref().and_then(|a| a.namespaces.as_ref());
        let Some(namespaces) = namespaces else { return Ok(Namespaces::Same) };
        match namespaces.from.as_ref().unwrap_or(&From::Same) {
            From::Same => Ok(Namespaces::Same),
            From::All => Ok(Namespaces::All),
            From::Selector => {
                let selector = namespaces.selector.as_ref().ok_or_else(|| {
                    unsupported(
                        "allowedRoutes.namespaces.from is Selector, and `selector` is missing",
                    )
                })?;
                check(selector)?;
                Ok(Namespaces::Selector(selector))
            }
        }
    }

    /// Whether routes of `namespace` may attach to a Gateway of `gateway_namespace`.
    pub(crate) fn admit(&self, index: &Index, gateway_namespace: &str, namespace: &str) -> bool {
        match self {
            Namespaces::Same => gateway_namespace == namespace,
            Namespaces::All => true,
            Namespaces::Selector(selector) => matches(
                &labels(index, namespace),
                selector.match_labels.as_ref(),
                expressions(selector),
            ),
        }
    }
}

/// The group and kind of routes that may attach and are served, and what else was asked for.
pub(crate) fn kinds(listener: &GatewayListeners) -> (bool, Option<Problem>) {
    let kinds = listener.allowed_routes.as_ref().and_then(|a| a.kinds.as_deref());
    let Some(kinds) = kinds.filter(|kinds| !kinds.is_empty()) else { return (true, None) };
    let (known, unknown): (Vec<_>, Vec<_>) = kinds.iter().partition(|kind| {
        kind.group.as_deref().unwrap_or(GROUP) == GROUP && kind.kind == "HTTPRoute"
    });
    let names: Vec<_> = unknown.iter().map(|kind| kind.kind.as_str()).collect();
    let problem = (!names.is_empty()).then(|| {
        Problem::new(
            reasons::INVALID_ROUTE_KINDS,
            format!(
                "allowedRoutes.kinds names {}; this listener serves HTTPRoute of group {GROUP}",
                names.join(", ")
            ),
        )
    });
    (!known.is_empty(), problem)
}

fn check(selector: &Selector) -> Result<(), Problem> {
    match expressions(selector).find(|expression| !expression.is_valid()) {
        None => Ok(()),
        Some(expression) => Err(unsupported(&format!(
            "selector expression on `{}` is invalid: In and NotIn take values, Exists and \
             DoesNotExist take none",
            expression.key
        ))),
    }
}

fn expressions(selector: &Selector) -> impl Iterator<Item = Expression<'_>> {
    selector.match_expressions.iter().flatten().map(|expression| Expression {
        key: &expression.key,
        operator: &expression.operator,
        values: expression.values.as_deref().unwrap_or_default(),
    })
}

fn labels<'a>(index: &'a Index, namespace: &'a str) -> BTreeMap<&'a str, &'a str> {
    let object = index.namespace(namespace);
    namespace_labels(object.and_then(|object| object.metadata.labels.as_ref()), namespace)
}

fn unsupported(message: &str) -> Problem {
    Problem::new(reasons::UNSUPPORTED_VALUE, message)
}
