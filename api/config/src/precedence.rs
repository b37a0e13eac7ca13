//! Which match wins.
//!
//! The Gateway API v1.6.1 on hostnames (`HTTPRouteSpec.hostnames`):
//!
//! > In the event that multiple HTTPRoutes specify intersecting hostnames (e.g. overlapping wildcard
//! > matching and exact matching hostnames), precedence must be given to rules from the HTTPRoute
//! > with the largest number of:
//! >
//! > * Characters in a matching non-wildcard hostname.
//! > * Characters in a matching hostname.
//!
//! and on matches (`HTTPRouteRule.matches`):
//!
//! > Proxy or Load Balancer routing configuration generated from HTTPRoutes MUST prioritize matches
//! > based on the following criteria, continuing on ties. Across all rules specified on applicable
//! > Routes, precedence must be given to the match having:
//! >
//! > * "Exact" path match.
//! > * "Prefix" path match with largest number of characters.
//! > * Method match.
//! > * Largest number of header matches.
//! > * Largest number of query param matches.
//! >
//! > Note: The precedence of RegularExpression path matches are implementation-specific.
//! >
//! > If ties still exist across multiple Routes, matching precedence MUST be determined in order of
//! > the following criteria, continuing on ties:
//! >
//! > * The oldest Route based on creation timestamp.
//! > * The Route appearing first in alphabetical order by "{namespace}/{name}".
//! >
//! > If ties still exist within an HTTPRoute, matching precedence MUST be granted to the FIRST
//! > matching rule (in list order) with a match meeting the above criteria.
//!
//! Penstock puts a regular expression between `Exact` and `Prefix`; of two, the longer pattern goes
//! first. A trailing `/` of a prefix matches nothing, so it counts for nothing.

use crate::{HttpMatch, PathMatch};
use std::cmp::Reverse;

/// Rank of a match; the least one wins. The order of the fields is that of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Precedence<'a> {
    host: HostPrecedence,
    path: PathPrecedence,
    method: Reverse<bool>,
    headers: Reverse<usize>,
    query: Reverse<usize>,
    created: i64,
    route: &'a str,
    position: u32,
}

impl<'a> Precedence<'a> {
    /// The rank of `matched`, in the rule at `position` of `route` (`namespace/name`, created at
    /// `created` seconds since 1970), where the route is attached under `hostname` (empty: any name).
    pub fn new(
        hostname: &str,
        matched: &HttpMatch,
        created: i64,
        route: &'a str,
        position: u32,
    ) -> Self {
        Self {
            host: HostPrecedence::new(hostname),
            path: PathPrecedence::new(matched.path.as_ref()),
            method: Reverse(!matched.method.is_empty()),
            headers: Reverse(matched.headers.len()),
            query: Reverse(matched.query.len()),
            created,
            route,
            position,
        }
    }
}

/// Rank of a hostname among those that match the same request; the least one wins. Also that of a
/// listener among listeners, and of a TLS binding among bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPrecedence {
    exact: Reverse<usize>,
    any: Reverse<usize>,
}

impl HostPrecedence {
    /// The rank of `hostname`: a name, `*.` and a suffix, or empty for any name.
    pub fn new(hostname: &str) -> Self {
        let exact = if hostname.starts_with("*.") { 0 } else { hostname.len() };
        Self { exact: Reverse(exact), any: Reverse(hostname.len()) }
    }
}

/// Rank of a path match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum PathPrecedence {
    Exact,
    Regex(Reverse<usize>),
    Prefix(Reverse<usize>),
}

impl PathPrecedence {
    fn new(path: Option<&PathMatch>) -> Self {
        match path {
            Some(PathMatch::Exact(_)) => PathPrecedence::Exact,
            Some(PathMatch::Regex(pattern)) => PathPrecedence::Regex(Reverse(pattern.len())),
            Some(PathMatch::Prefix(prefix)) => {
                PathPrecedence::Prefix(Reverse(prefix.trim_end_matches('/').len()))
            }
            None => PathPrecedence::Prefix(Reverse(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ValueMatch, ValueTest};

    fn path(path: PathMatch) -> HttpMatch {
        HttpMatch { path: Some(path), ..HttpMatch::default() }
    }

    fn values(count: usize) -> Vec<ValueMatch> {
        (0..count)
            .map(|n| ValueMatch {
                name: format!("n{n}"),
                test: Some(ValueTest::Exact(String::new())),
            })
            .collect()
    }

    /// Each entry must win over the next, whatever stands further down the list of criteria.
    #[test]
    fn s7_01_the_criteria_apply_in_the_order_of_the_specification() {
        let exact = path(PathMatch::Exact("/".into()));
        let regex = path(PathMatch::Regex("/a.*".into()));
        let long = path(PathMatch::Prefix("/abc/d".into()));
        let short = path(PathMatch::Prefix("/abc".into()));
        let method = HttpMatch { method: "GET".into(), ..short.clone() };
        let headers = HttpMatch { headers: values(2), ..short.clone() };
        let header = HttpMatch { headers: values(1), query: values(3), ..short.clone() };
        let query = HttpMatch { query: values(2), ..short.clone() };
        let ladder = [
            ("exact host", Precedence::new("a.example.com", &short, 9, "z/z", 9)),
            ("shorter exact host", Precedence::new("example.com", &exact, 0, "a/a", 0)),
            ("long wildcard", Precedence::new("*.very.long.example.com", &exact, 0, "a/a", 0)),
            ("wildcard", Precedence::new("*.example.com", &exact, 0, "a/a", 0)),
            ("exact path", Precedence::new("", &exact, 9, "z/z", 9)),
            ("regex", Precedence::new("", &regex, 9, "z/z", 9)),
            ("long prefix", Precedence::new("", &long, 9, "z/z", 9)),
            ("method", Precedence::new("", &method, 9, "z/z", 9)),
            ("two headers", Precedence::new("", &headers, 9, "z/z", 9)),
            ("one header", Precedence::new("", &header, 9, "z/z", 9)),
            ("two query parameters", Precedence::new("", &query, 9, "z/z", 9)),
            ("oldest", Precedence::new("", &short, 1, "z/z", 9)),
            ("first name", Precedence::new("", &short, 2, "a/b", 9)),
            ("first rule", Precedence::new("", &short, 2, "a/c", 0)),
            ("last", Precedence::new("", &short, 2, "a/c", 1)),
            ("any path", Precedence::new("", &HttpMatch::default(), 0, "a/a", 0)),
        ];
        for pair in ladder.windows(2) {
            assert!(pair[0].1 < pair[1].1, "{} must win over {}", pair[0].0, pair[1].0);
        }
    }

    #[test]
    fn s7_02_a_trailing_slash_of_a_prefix_does_not_count() {
        let with = path(PathMatch::Prefix("/abc/".into()));
        let without = path(PathMatch::Prefix("/abc".into()));
        let rank = |m| Precedence::new("", m, 0, "a/a", 0);
        assert_eq!(rank(&with), rank(&without));
        assert_eq!(rank(&path(PathMatch::Prefix("/".into()))), rank(&HttpMatch::default()));
    }
}
