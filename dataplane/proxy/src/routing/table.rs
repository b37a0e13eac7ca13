//! The routes of one port.

use super::{HostMap, HostName, PathIndex, PathRule, PatternError, Target};
use penstock_config::{HttpMatch, Precedence, Rule};

/// The routes of one port: listeners by hostname, in each the hostnames of routes, in each the
/// matches.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    listeners: HostMap<ListenerGroup>,
}

/// The listeners of a port that share one hostname. Mostly one; several where Gateways share a port.
#[derive(Clone, Debug)]
pub struct ListenerGroup {
    /// Keys of the listeners, sorted.
    pub keys: Vec<Box<str>>,
    /// Index of the first listener in what the table was built from.
    pub first: u32,
    hostnames: HostMap<PathIndex>,
}

impl ListenerGroup {
    /// The rule for a request of this listener.
    pub fn route(&self, host: &str, target: &Target<'_>) -> Option<Hit<'_>> {
        self.hostnames
            .matching(host)
            .find_map(|paths| paths.find(target))
            .map(|entry| Hit { entry })
    }

    /// Whether a listener is one of these.
    pub fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|known| **known == *key)
    }
}

/// What a request matched.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'t> {
    entry: &'t PathRule,
}

impl<'t> Hit<'t> {
    /// Index of the rule in what the table was built from.
    pub fn rule(&self) -> usize {
        self.entry.rule as usize
    }

    /// Bytes of the path that the rule's prefix matched; `None` where it matched in another way.
    pub fn prefix(&self) -> Option<usize> {
        self.entry.prefix.map(|length| length as usize)
    }

    /// The path as the match is written.
    pub fn pattern(&self) -> &'t std::sync::Arc<str> {
        &self.entry.pattern
    }
}

/// A match of a rule that cannot be served; the rest of the table is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableError {
    /// Index of the rule.
    pub rule: usize,
    /// What is wrong with it.
    pub problem: PatternError,
}

impl RouteTable {
    /// Builds the table of a port. `listeners` are key and hostname of each listener of the port,
    /// sorted by key; a rule's index is its position in `rules`.
    pub fn build(listeners: &[(&str, &str)], rules: &[&Rule]) -> (Self, Vec<TableError>) {
        let mut table = Self::default();
        for (index, (key, hostname)) in listeners.iter().enumerate() {
            let group = table.listeners.entry(hostname, || ListenerGroup {
                keys: Vec::new(),
                first: index as u32,
                hostnames: HostMap::default(),
            });
            group.keys.push((*key).into());
        }
        let mut errors = Vec::new();
        for entry in entries(listeners, rules) {
            let group = table.listeners.entry(entry.listener, || unlisted(entry.rule));
            let paths = group.hostnames.entry(entry.hostname, PathIndex::default);
            if let Err(problem) = paths.push(entry.matched, entry.rule as u32) {
                let error = TableError { rule: entry.rule, problem };
                if !errors.contains(&error) {
                    errors.push(error);
                }
            }
        }
        (table, errors)
    }

    /// The listener that a request for `host` belongs to: the most specific one, and no other
    /// (Gateway API v1.6.1, `Listener.hostname`).
    pub fn listener(&self, host: &HostName) -> Option<&ListenerGroup> {
        self.listeners.most_specific(host.as_str())
    }
}

/// A match under one hostname of one listener.
struct Entry<'a> {
    /// Hostname of the listener.
    listener: &'a str,
    hostname: &'a str,
    matched: &'a HttpMatch,
    rule: usize,
}

/// Every match with every hostname it is attached under, in the order of precedence.
fn entries<'a>(listeners: &[(&'a str, &'a str)], rules: &[&'a Rule]) -> Vec<Entry<'a>> {
    let hostnames: hashbrown::HashMap<&str, &str> = listeners.iter().copied().collect();
    let mut ranked = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        for attachment in &rule.attachments {
            let Some(listener) = hostnames.get(attachment.listener.as_str()) else { continue };
            for hostname in &attachment.hostnames {
                for (nth, matched) in rule.matches.iter().enumerate() {
                    let rank = Precedence::new(
                        hostname,
                        matched,
                        rule.created,
                        &rule.route,
                        rule.position,
                    );
                    ranked.push((
                        (rank, index, nth),
                        Entry { listener, hostname, matched, rule: index },
                    ));
                }
            }
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, entry)| entry).collect()
}

/// Every hostname of an entry comes from the listeners, so this group is never made; it serves
/// nothing if it is.
fn unlisted(rule: usize) -> ListenerGroup {
    ListenerGroup { keys: Vec::new(), first: rule as u32, hostnames: HostMap::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Method};
    use penstock_config::{Attachment, PathMatch, ValueMatch, ValueTest};

    fn rule(route: &str, listener: &str, hostnames: &[&str], path: PathMatch) -> Rule {
        Rule {
            route: route.into(),
            attachments: vec![Attachment {
                listener: listener.into(),
                hostnames: hostnames.iter().map(|h| (*h).into()).collect(),
            }],
            matches: vec![HttpMatch { path: Some(path), ..HttpMatch::default() }],
            ..Rule::default()
        }
    }

    fn route(table: &RouteTable, host: &str, path: &str) -> Option<usize> {
        let host = HostName::of_authority(host);
        let headers = HeaderMap::new();
        let target = Target { method: &Method::GET, path, query: None, headers: &headers };
        table.listener(&host)?.route(host.as_str(), &target).map(|hit| hit.rule())
    }

    #[test]
    fn s7_21_a_request_belongs_to_the_single_most_specific_listener() {
        let listeners = [("g/any", ""), ("g/wild", "*.example.com"), ("g/www", "www.example.com")];
        let any = rule("r/any", "g/any", &[""], PathMatch::Prefix("/".into()));
        let wild = rule("r/wild", "g/wild", &["*.example.com"], PathMatch::Prefix("/wild".into()));
        let (table, errors) = RouteTable::build(&listeners, &[&any, &wild]);
        assert_eq!(errors, []);
        assert_eq!(route(&table, "other.org", "/wild"), Some(0));
        assert_eq!(route(&table, "a.example.com", "/wild"), Some(1));
        assert_eq!(route(&table, "a.example.com", "/"), None, "no fallback to the wildcard");
        assert_eq!(route(&table, "www.example.com", "/wild"), None, "a listener without routes");
    }

    #[test]
    fn s7_01_less_specific_hostnames_of_the_listener_are_tried_after() {
        let listeners = [("g/l", "")];
        let exact = rule("r/exact", "g/l", &["a.example.com"], PathMatch::Prefix("/only".into()));
        let wild = rule("r/wild", "g/l", &["*.example.com"], PathMatch::Exact("/only/x".into()));
        let any = rule("r/any", "g/l", &[""], PathMatch::Prefix("/".into()));
        let (table, _) = RouteTable::build(&listeners, &[&any, &wild, &exact]);
        assert_eq!(route(&table, "a.example.com", "/only/x"), Some(2), "hostname before path");
        assert_eq!(route(&table, "b.example.com", "/only/x"), Some(1));
        assert_eq!(route(&table, "a.example.com", "/else"), Some(0));
    }

    #[test]
    fn listeners_of_two_gateways_with_one_hostname_serve_together() {
        let listeners = [("g1/l", ""), ("g2/l", "")];
        let one = rule("r/one", "g1/l", &[""], PathMatch::Prefix("/one".into()));
        let two = rule("r/two", "g2/l", &[""], PathMatch::Prefix("/two".into()));
        let (table, _) = RouteTable::build(&listeners, &[&one, &two]);
        assert_eq!(route(&table, "x", "/one"), Some(0));
        assert_eq!(route(&table, "x", "/two"), Some(1));
        let group = table.listener(&HostName::of_authority("x")).expect("a listener");
        assert!(group.has("g1/l") && group.has("g2/l") && !group.has("g3/l"));
    }

    #[test]
    fn a_match_that_cannot_be_used_is_reported_once_and_the_rest_is_served() {
        let listeners = [("g/l", "")];
        let mut bad = rule("r/bad", "g/l", &["", "a.org"], PathMatch::Regex("(".into()));
        bad.matches.push(HttpMatch {
            headers: vec![ValueMatch {
                name: "v".into(),
                test: Some(ValueTest::Exact("1".into())),
            }],
            ..HttpMatch::default()
        });
        let good = rule("r/good", "g/l", &[""], PathMatch::Prefix("/".into()));
        let (table, errors) = RouteTable::build(&listeners, &[&bad, &good]);
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].rule, 0);
        assert_eq!(route(&table, "a.org", "/"), Some(1));
    }

    #[test]
    fn s7_14_a_hit_says_how_much_of_the_path_its_prefix_matched() {
        let paths = [
            (PathMatch::Prefix("/a/".into()), "/a/b", Some(2), "/a/"),
            (PathMatch::Prefix("/".into()), "/z", Some(0), "/"),
            (PathMatch::Exact("/e".into()), "/e", None, "/e"),
            (PathMatch::Regex("/r[0-9]".into()), "/r1", None, "/r[0-9]"),
        ];
        let rules = paths.clone().map(|(path, ..)| rule("r/r", "g/l", &[""], path));
        let (table, errors) = RouteTable::build(&[("g/l", "")], &rules.each_ref());
        assert_eq!(errors, []);
        let headers = HeaderMap::new();
        let group = table.listener(&HostName::of_authority("x")).expect("a listener");
        for (_, path, prefix, pattern) in paths {
            let target = Target { method: &Method::GET, path, query: None, headers: &headers };
            let hit = group.route("x", &target).expect("a rule");
            assert_eq!((hit.prefix(), &**hit.pattern()), (prefix, pattern), "{path}");
        }
    }
}
