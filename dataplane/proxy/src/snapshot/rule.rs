//! Rules of a snapshot.

use super::Program;
use crate::telemetry::{RouteCells, Series};
use penstock_config::{ResourceKind, Rule};
use std::{sync::Arc, time::Duration};

/// One rule.
#[derive(Debug)]
pub struct RouteRule {
    /// `namespace/route/id`.
    pub key: Arc<str>,
    /// `namespace/name` of the HTTPRoute.
    pub route: Arc<str>,
    /// The id part of the key.
    pub id: Arc<str>,
    /// `name` of the rule.
    pub name: Option<Arc<str>>,
    /// Steps on every request of the rule.
    pub program: Program,
    /// Where requests go.
    pub choices: Box<[Choice]>,
    /// TLS filters that the connection must have satisfied.
    pub tls_filters: Box<[String]>,
    /// For the head of the answer, tries included.
    pub request_timeout: Option<Duration>,
    /// For the head of the answer, for each try.
    pub backend_timeout: Option<Duration>,
    /// Its metrics.
    pub cells: Arc<Series<RouteCells>>,
    /// Its resource.
    pub source: Arc<ResourceKind>,
}

/// One backendRef of a rule.
#[derive(Debug)]
pub struct Choice {
    /// `namespace/name:port` as written, by which a path policy may name it.
    pub reference: Box<str>,
    /// Its share of the requests; 0 gets none.
    pub weight: u32,
    /// Index of the backend in the snapshot; absent where it cannot be resolved: its share is
    /// answered 500.
    pub backend: Option<usize>,
    /// Steps on the requests that go there, after those of the rule.
    pub program: Program,
}

impl RouteRule {
    /// Its configuration.
    pub fn config(&self) -> Option<&Rule> {
        match &*self.source {
            ResourceKind::Rule(rule) => Some(rule),
            _ => None,
        }
    }

    /// The backendRef that a path policy names: `name`, `name:port` or `namespace/name:port`. `None`
    /// where the rule has none of that name, or several.
    pub fn choice_named(&self, name: &str) -> Option<usize> {
        let mut found = None;
        for (index, choice) in self.choices.iter().enumerate() {
            if !is_named(&choice.reference, name) {
                continue;
            }
            match found {
                None => found = Some(index),
                Some(_) => return None,
            }
        }
        found
    }
}

fn is_named(reference: &str, name: &str) -> bool {
    let local = reference.split_once('/').map_or(reference, |(_, local)| local);
    let bare = local.rsplit_once(':').map_or(local, |(bare, _)| bare);
    reference == name || local == name || bare == name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_three_names() {
        for (name, found) in [
            ("shop/cart:80", true),
            ("cart:80", true),
            ("cart", true),
            ("shop/cart", false),
            ("cart:8", false),
            ("car", false),
            ("", false),
        ] {
            assert_eq!(is_named("shop/cart:80", name), found, "{name}");
        }
    }
}
