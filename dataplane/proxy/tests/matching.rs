//! The routing table against a matcher that follows the text of the specification, step by step.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use penstock_config::{Attachment, HttpMatch, PathMatch, Rule, ValueMatch, ValueTest};
use penstock_proxy::routing::{HostName, RouteTable, Target};
use proptest::prelude::*;

const LISTENERS: [(&str, &str); 4] =
    [("l/any", ""), ("l/com", "*.com"), ("l/org", "*.a.org"), ("l/x", "x.a.org")];
const HOSTS: [&str; 8] =
    ["x.a.org", "y.a.org", "z.y.a.org", "a.org", "x.com", "com", "x.y.com", "other.net"];
const HOSTNAMES: [&str; 8] =
    ["", "*.org", "*.a.org", "x.a.org", "*.y.a.org", "*.com", "x.com", "y.a.org"];
const SEGMENTS: [&str; 4] = ["", "a", "b", "ab"];
const METHODS: [&str; 3] = ["GET", "POST", "PUT"];
const NAMES: [&str; 3] = ["n1", "n2", "n3"];

#[derive(Debug, Clone)]
struct Request {
    host: String,
    path: String,
    method: Method,
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
}

fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(&SEGMENTS[..]), 1..4)
        .prop_map(|segments| format!("/{}", segments.join("/")))
}

fn path_match() -> impl Strategy<Value = Option<PathMatch>> {
    prop_oneof![
        1 => Just(None),
        2 => path().prop_map(|path| Some(PathMatch::Exact(path))),
        4 => path().prop_map(|path| Some(PathMatch::Prefix(path))),
        1 => proptest::sample::select(&["/a.*", "/[ab]", ".*b", "/a/(a|b)"][..])
            .prop_map(|pattern| Some(PathMatch::Regex(pattern.into()))),
    ]
}

fn values() -> impl Strategy<Value = Vec<ValueMatch>> {
    let value = prop_oneof![
        3 => proptest::sample::select(&["1", "2"][..]).prop_map(|v| ValueTest::Exact(v.into())),
        1 => Just(ValueTest::Regex("[12]".into())),
    ];
    proptest::collection::btree_map(proptest::sample::select(&NAMES[..]), value, 0..3).prop_map(
        |values| {
            let value =
                |(name, test): (&str, _)| ValueMatch { name: name.into(), test: Some(test) };
            values.into_iter().map(value).collect()
        },
    )
}

fn http_match() -> impl Strategy<Value = HttpMatch> {
    let method = prop_oneof![
        2 => Just(String::new()),
        1 => proptest::sample::select(&METHODS[..]).prop_map(str::to_owned),
    ];
    (path_match(), values(), values(), method)
        .prop_map(|(path, headers, query, method)| HttpMatch { path, headers, query, method })
}

/// A rule without its position: listeners, hostnames, matches, number of the route.
type Parts = (Vec<(&'static str, &'static str)>, Vec<&'static str>, Vec<HttpMatch>, u32);

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let parts = (
        proptest::sample::subsequence(&LISTENERS[..], 1..3),
        proptest::sample::subsequence(&HOSTNAMES[..], 1..3),
        proptest::collection::vec(http_match(), 1..3),
        0_u32..4,
    );
    proptest::collection::vec(parts, 1..10).prop_map(|rules| {
        rules.into_iter().enumerate().map(|(at, parts)| rule(at, parts)).collect()
    })
}

fn rule(position: usize, (listeners, hostnames, matches, route): Parts) -> Rule {
    let hostnames: Vec<String> = hostnames.into_iter().map(str::to_owned).collect();
    let attachment = |(listener, _): (&str, &str)| Attachment {
        listener: listener.into(),
        hostnames: hostnames.clone(),
    };
    Rule {
        route: format!("ns/r{route}"),
        id: position.to_string(),
        attachments: listeners.into_iter().map(attachment).collect(),
        // Rules of one route were created with it.
        created: i64::from(route) % 2,
        position: position as u32,
        matches,
        ..Rule::default()
    }
}

fn request() -> impl Strategy<Value = Request> {
    let value = proptest::sample::select(&["1", "2", "3"][..]);
    let pairs = || {
        let value = value.clone();
        proptest::collection::vec((proptest::sample::select(&NAMES[..]), value), 0..3).prop_map(
            |pairs| {
                pairs.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect::<Vec<_>>()
            },
        )
    };
    (
        proptest::sample::select(&HOSTS[..]),
        path(),
        proptest::sample::select(&METHODS[..]),
        pairs(),
        pairs(),
    )
        .prop_map(|(host, path, method, headers, query)| Request {
            host: host.into(),
            path,
            method: method.parse().expect("a method"),
            headers,
            query,
        })
}

/// "Hostname … prefixed with a wildcard label (`*.`) … is interpreted as a suffix match. That means
/// that a match for `*.example.com` would match both `test.example.com`, and `foo.test.example.com`,
/// but not `example.com`."
fn hostname_matches(hostname: &str, host: &str) -> bool {
    match hostname.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => hostname.is_empty() || hostname == host,
    }
}

/// "Matches based on a URL path prefix split by `/`. Matching is case-sensitive and done on a path
/// element by element basis. … Trailing `/` is ignored."
fn prefix_matches(prefix: &str, path: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    let prefix: Vec<&str> = prefix.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    path.len() >= prefix.len() && path[..prefix.len()] == prefix[..]
}

fn whole(pattern: &str, text: &str) -> bool {
    regex::Regex::new(&format!("^(?:{pattern})$")).expect("a pattern").is_match(text)
}

fn test_matches(test: &ValueMatch, value: &str) -> bool {
    match test.test.as_ref().expect("a test") {
        ValueTest::Exact(text) => text == value,
        ValueTest::Regex(pattern) => whole(pattern, value),
    }
}

fn matches(matched: &HttpMatch, request: &Request) -> bool {
    let path = match &matched.path {
        None => true,
        Some(PathMatch::Exact(path)) => *path == request.path,
        Some(PathMatch::Prefix(prefix)) => prefix_matches(prefix, &request.path),
        Some(PathMatch::Regex(pattern)) => whole(pattern, &request.path),
    };
    let header = |test: &ValueMatch| {
        let values: Vec<&str> = request
            .headers
            .iter()
            .filter(|(name, _)| *name == test.name)
            .map(|(_, value)| value.as_str())
            .collect();
        !values.is_empty() && test_matches(test, &values.join(", "))
    };
    let query = |test: &ValueMatch| {
        let first = request.query.iter().find(|(name, _)| *name == test.name);
        first.is_some_and(|(_, value)| test_matches(test, value))
    };
    path && (matched.method.is_empty() || matched.method == request.method.as_str())
        && matched.headers.iter().all(header)
        && matched.query.iter().all(query)
}

/// The criteria one by one; each keeps the candidates that are best by it.
fn naive(rules: &[Rule], request: &Request) -> Option<usize> {
    let non_wildcard = |name: &str| if name.starts_with('*') { 0 } else { name.len() };
    let listener = LISTENERS
        .iter()
        .filter(|(_, hostname)| hostname_matches(hostname, &request.host))
        .max_by_key(|(_, hostname)| (non_wildcard(hostname), hostname.len()))?;
    let mut candidates = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        for attachment in rule.attachments.iter().filter(|a| a.listener == listener.0) {
            for hostname in &attachment.hostnames {
                for matched in &rule.matches {
                    if hostname_matches(hostname, &request.host) && matches(matched, request) {
                        candidates.push((index, rule, hostname.as_str(), matched));
                    }
                }
            }
        }
    }
    type Candidate<'a> = (usize, &'a Rule, &'a str, &'a HttpMatch);
    fn keep<K: Ord>(candidates: &mut Vec<Candidate<'_>>, key: impl Fn(&Candidate<'_>) -> K) {
        if let Some(best) = candidates.iter().map(&key).max() {
            candidates.retain(|candidate| key(candidate) == best);
        }
    }
    use std::cmp::Reverse;
    keep(&mut candidates, |c| non_wildcard(c.2));
    keep(&mut candidates, |c| c.2.len());
    keep(&mut candidates, |c| matches!(c.3.path, Some(PathMatch::Exact(_))));
    // "The precedence of RegularExpression path matches are implementation-specific": after Exact,
    // the longest first.
    keep(&mut candidates, |c| match &c.3.path {
        Some(PathMatch::Regex(pattern)) => pattern.len(),
        _ => 0,
    });
    keep(&mut candidates, |c| match &c.3.path {
        Some(PathMatch::Prefix(prefix)) => prefix.trim_end_matches('/').len(),
        _ => 0,
    });
    keep(&mut candidates, |c| !c.3.method.is_empty());
    keep(&mut candidates, |c| c.3.headers.len());
    keep(&mut candidates, |c| c.3.query.len());
    keep(&mut candidates, |c| Reverse(c.1.created));
    keep(&mut candidates, |c| Reverse(c.1.route.clone()));
    keep(&mut candidates, |c| Reverse(c.1.position));
    candidates.first().map(|candidate| candidate.0)
}

fn table_finds(rules: &[Rule], request: &Request) -> Option<usize> {
    let rules: Vec<&Rule> = rules.iter().collect();
    let (table, errors) = RouteTable::build(&LISTENERS, &rules);
    assert_eq!(errors, []);
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).expect("a name"),
            HeaderValue::from_str(value).expect("a value"),
        );
    }
    let query: Vec<String> = request.query.iter().map(|(n, v)| format!("{n}={v}")).collect();
    let query = query.join("&");
    let host = HostName::of_authority(&format!("{}:80", request.host.to_uppercase()));
    let target = Target {
        method: &request.method,
        path: &request.path,
        query: (!query.is_empty()).then_some(&query),
        headers: &headers,
    };
    table.listener(&host)?.route(host.as_str(), &target).map(|hit| hit.rule())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn s7_01_to_04_the_table_finds_what_the_text_of_the_specification_says(
        rules in rules(),
        requests in proptest::collection::vec(request(), 1..12),
    ) {
        for request in &requests {
            prop_assert_eq!(table_finds(&rules, request), naive(&rules, request), "{:?}", request);
        }
    }
}
