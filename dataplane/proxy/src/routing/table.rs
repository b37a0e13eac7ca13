//! The routes of one port.

use super::{HostMap, HostName, PathIndex, PathRule, PatternError, RuleMatch, Target};
use penstock_config::{Precedence, Rule};
use std::{collections::BTreeMap, sync::Arc};

/// The routes of one port: listeners by hostname, in each the hostnames of routes, in each the
/// matches. A copy shares with its original what does not change in either of them.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// Key and hostname of each listener, sorted by key.
    named: Arc<[(Box<str>, Box<str>)]>,
    listeners: HostMap<ListenerGroup>,
    /// By the index of the rule.
    errors: BTreeMap<u32, Vec<PatternError>>,
}

/// The listeners of a port that share one hostname. Mostly one; several where Gateways share a port.
#[derive(Clone, Debug)]
pub struct ListenerGroup {
    /// Keys of the listeners, sorted.
    pub keys: Vec<Box<str>>,
    /// Index of the first listener in what the table was built from.
    pub first: u32,
    hostnames: HostMap<Arc<PathIndex>>,
}

impl ListenerGroup {
    /// The rule for a request of this listener.
    pub fn route(&self, host: &str, target: &Target<'_>) -> Option<Hit<'_>> {
        self.hostnames
            .matching(host)
            .find_map(|paths| paths.find(target))
            .map(|entry| Hit { entry })
    }

    /// A group without a listener.
    fn nobodys() -> Self {
        Self { keys: Vec::new(), first: 0, hostnames: HostMap::default() }
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
    pub fn pattern(&self) -> &'t Arc<str> {
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

/// What becomes of the rule at an index.
#[derive(Clone, Copy, Debug)]
pub struct RuleChange<'a> {
    /// The index.
    pub index: u32,
    /// The rule that was there.
    pub old: Option<&'a Rule>,
    /// The rule that is there now.
    pub new: Option<&'a Rule>,
}

impl RouteTable {
    /// Builds the table of a port. `listeners` are key and hostname of each listener of the port,
    /// sorted by key; a rule's index is its position in `rules`.
    pub fn build(listeners: &[(&str, &str)], rules: &[&Rule]) -> (Self, Vec<TableError>) {
        let mut table = Self::new(listeners);
        let new =
            (0..).zip(rules).map(|(index, rule)| RuleChange { index, old: None, new: Some(rule) });
        table.change(&new.collect::<Vec<_>>(), |index| rules.get(index as usize).copied());
        let errors = table.errors().collect();
        (table, errors)
    }

    /// The table of a port without routes; see [`RouteTable::build`].
    pub fn new(listeners: &[(&str, &str)]) -> Self {
        let named = listeners.iter().map(|(key, hostname)| ((*key).into(), (*hostname).into()));
        let mut table = Self { named: named.collect(), ..Self::default() };
        for (index, (key, hostname)) in listeners.iter().enumerate() {
            let group = table.listeners.entry(hostname, || ListenerGroup {
                keys: Vec::new(),
                first: index as u32,
                hostnames: HostMap::default(),
            });
            group.keys.push((*key).into());
        }
        table
    }

    /// Whether it is the table of exactly these listeners.
    pub fn is_of(&self, listeners: &[(&str, &str)]) -> bool {
        let named = self.named.iter().map(|(key, hostname)| (&**key, &**hostname));
        named.eq(listeners.iter().copied())
    }

    /// Changes rules, in time that depends on the change. `rule` gives a rule by its index, as all
    /// of them are after the change.
    pub fn change<'r>(
        &mut self,
        changes: &[RuleChange<'_>],
        rule: impl Fn(u32) -> Option<&'r Rule>,
    ) {
        for change in changes {
            self.errors.remove(&change.index);
        }
        for ((listener, hostname), edit) in edits(&self.named, changes) {
            // Every one of them was put there by `new`.
            let group = self.listeners.entry(listener, ListenerGroup::nobodys);
            let paths = group.hostnames.entry(hostname, Arc::default);
            let rank = |entry: &PathRule| {
                let rule = rule(entry.rule)?;
                let matched = rule.matches.get(entry.nth as usize)?;
                let (route, position) = (rule.route.as_str(), rule.position);
                let rank = Precedence::new(hostname, matched, rule.created, route, position);
                Some((rank, rule.id.as_str(), entry.rule, entry.nth))
            };
            let problems = Arc::make_mut(paths).change(&edit.gone, &edit.new, rank);
            if paths.is_empty() {
                group.hostnames.remove(hostname);
            }
            for (index, problem) in problems {
                let known = self.errors.entry(index).or_default();
                if !known.contains(&problem) {
                    known.push(problem);
                }
            }
        }
    }

    /// The matches that cannot be served, each once.
    pub fn errors(&self) -> impl Iterator<Item = TableError> {
        self.errors.iter().flat_map(|(rule, problems)| {
            let error = |problem: &PatternError| TableError {
                rule: *rule as usize,
                problem: problem.clone(),
            };
            problems.iter().map(error)
        })
    }

    /// The listener that a request for `host` belongs to: the most specific one, and no other
    /// (Gateway API v1.6.1, `Listener.hostname`).
    pub fn listener(&self, host: &HostName) -> Option<&ListenerGroup> {
        self.listeners.most_specific(host.as_str())
    }
}

/// What changes under one hostname of the listeners of one hostname.
#[derive(Default)]
struct Edit<'a> {
    gone: Vec<RuleMatch<'a>>,
    new: Vec<RuleMatch<'a>>,
}

/// Changes by the hostname of the listener and that of the route.
fn edits<'a>(
    named: &'a [(Box<str>, Box<str>)],
    changes: &[RuleChange<'a>],
) -> BTreeMap<(&'a str, &'a str), Edit<'a>> {
    let hostnames: hashbrown::HashMap<&str, &str> =
        named.iter().map(|(key, hostname)| (&**key, &**hostname)).collect();
    let mut edits = BTreeMap::<_, Edit<'a>>::new();
    for change in changes {
        for (rule, is_new) in [(change.old, false), (change.new, true)] {
            let Some(rule) = rule else { continue };
            for attachment in &rule.attachments {
                let Some(listener) = hostnames.get(attachment.listener.as_str()) else { continue };
                for hostname in &attachment.hostnames {
                    let edit = edits.entry((*listener, hostname.as_str())).or_default();
                    let matches = if is_new { &mut edit.new } else { &mut edit.gone };
                    let index = change.index;
                    let all = rule.matches.iter().zip(0..);
                    matches.extend(all.map(|(matched, nth)| RuleMatch {
                        matched,
                        rule: index,
                        nth,
                    }));
                }
            }
        }
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Method};
    use penstock_config::HttpMatch;
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
