//! `allowedRoutes`: which routes may attach to a listener.

use crate::Index;
use crate::condition::Problem;
use penstock_resources::conditions::reasons;
use penstock_resources::gateway_api::GROUP;
use penstock_resources::gateway_api::gateways::{
    GatewayListeners, GatewayListenersAllowedRoutesNamespacesFrom as From,
    GatewayListenersAllowedRoutesNamespacesSelector as Selector,
};
use std::collections::BTreeMap;

/// Label that every namespace carries.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

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
            Namespaces::Selector(selector) => matches(selector, &labels(index, namespace)),
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
    for expression in selector.match_expressions.iter().flatten() {
        let values = expression.values.as_deref().unwrap_or_default();
        let fits = match expression.operator.as_str() {
            "In" | "NotIn" => !values.is_empty(),
            "Exists" | "DoesNotExist" => values.is_empty(),
            _ => false,
        };
        if !fits {
            return Err(unsupported(&format!(
                "selector expression on `{}` is invalid: In and NotIn take values, Exists and \
                 DoesNotExist take none",
                expression.key
            )));
        }
    }
    Ok(())
}

fn matches(selector: &Selector, labels: &BTreeMap<&str, &str>) -> bool {
    let mut equal = selector.match_labels.iter().flatten();
    let mut expressions = selector.match_expressions.iter().flatten();
    equal.all(|(key, value)| labels.get(key.as_str()) == Some(&value.as_str()))
        && expressions.all(|expression| {
            let label = labels.get(expression.key.as_str());
            let values = expression.values.as_deref().unwrap_or_default();
            let listed = label.is_some_and(|label| values.iter().any(|v| v == label));
            match expression.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => label.is_some(),
                "DoesNotExist" => label.is_none(),
                _ => false,
            }
        })
}

fn labels<'a>(index: &'a Index, namespace: &'a str) -> BTreeMap<&'a str, &'a str> {
    let object = index.namespaces.get(namespace);
    let own = object.and_then(|namespace| namespace.metadata.labels.as_ref());
    let own = own.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    own.chain([(NAMESPACE_NAME, namespace)]).collect()
}

fn unsupported(message: &str) -> Problem {
    Problem::new(reasons::UNSUPPORTED_VALUE, message)
}
