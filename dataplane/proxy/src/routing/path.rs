//! Matches of one hostname, indexed by path.

use super::{Condition, PatternError, Target, compile_pattern};
use penstock_config::{HttpMatch, PathMatch};
use regex::bytes::Regex;
use smallvec::SmallVec;
use std::{collections::BTreeMap, sync::Arc};

/// A copy shares names and values.
type Map = hashbrown::HashMap<Arc<str>, Arc<[PathRule]>, ahash::RandomState>;

/// One match with what it leads to.
#[derive(Clone, Debug)]
pub struct PathRule {
    condition: Condition,
    /// Index of the rule that the match belongs to.
    pub rule: u32,
    /// Which match of the rule it is.
    pub nth: u32,
    /// Bytes of the prefix that matched; `None` where the path matched in another way.
    pub prefix: Option<u32>,
    /// The path as the match is written.
    pub pattern: Arc<str>,
}

/// A match of a rule.
#[derive(Clone, Copy, Debug)]
pub struct RuleMatch<'a> {
    /// What is matched.
    pub matched: &'a HttpMatch,
    /// Index of the rule.
    pub rule: u32,
    /// Which match of the rule it is.
    pub nth: u32,
}

/// Matches of one hostname. Those that one path can meet are few whatever the number of routes.
#[derive(Clone, Debug, Default)]
pub struct PathIndex {
    exact: Map,
    patterns: Vec<Arc<Pattern>>,
    /// By prefix without trailing `/`; the empty one matches every path.
    prefixes: Map,
    /// Whether a prefix with so many `/` exists, for the first 64.
    depths: u64,
    /// Most `/` that a prefix has.
    deepest: usize,
}

/// A match by a regular expression.
#[derive(Debug)]
struct Pattern {
    regex: Regex,
    entry: PathRule,
}

/// What changes among the matches of one path.
#[derive(Debug, Default)]
struct Edit {
    /// Indices of rules.
    gone: Vec<u32>,
    new: Vec<PathRule>,
}

impl Edit {
    fn apply<R: Ord>(self, map: &mut Map, path: &str, rank: &impl Fn(&PathRule) -> R) {
        let kept = map.get(path).into_iter().flat_map(|entries| entries.iter());
        let kept = kept.filter(|entry| !self.gone.contains(&entry.rule)).cloned();
        let mut entries: Vec<PathRule> = kept.collect();
        entries.extend(self.new);
        if entries.is_empty() {
            map.remove(path);
            return;
        }
        entries.sort_by_key(|entry| rank(entry));
        match map.get_mut(path) {
            Some(known) => *known = entries.into(),
            None => {
                map.insert(path.into(), entries.into());
            }
        }
    }
}

impl PathIndex {
    /// Takes out the matches of some rules, and puts others in. `rank` gives the precedence of a
    /// match, the least one first. Gives the rules of which a match cannot be used, and why: such a
    /// match is not put in.
    pub fn change<R: Ord>(
        &mut self,
        gone: &[RuleMatch<'_>],
        new: &[RuleMatch<'_>],
        rank: impl Fn(&PathRule) -> R,
    ) -> Vec<(u32, PatternError)> {
        let mut errors = Vec::new();
        let (mut exact, mut prefixes) = (BTreeMap::<&str, Edit>::new(), BTreeMap::new());
        let mut patterns = false;
        for RuleMatch { matched, rule, .. } in gone {
            match place(matched) {
                Place::Exact(path) => exact.entry(path).or_default().gone.push(*rule),
                Place::Prefix(path) => {
                    prefixes.entry(path).or_insert_with(Edit::default).gone.push(*rule);
                }
                Place::Pattern(_) => self.patterns.retain(|pattern| pattern.entry.rule != *rule),
            }
        }
        for new in new {
            match compile(new) {
                Ok(Compiled::Exact(path, entry)) => exact.entry(path).or_default().new.push(entry),
                Ok(Compiled::Prefix(path, entry)) => {
                    prefixes.entry(path).or_default().new.push(entry);
                }
                Ok(Compiled::Pattern(pattern)) => {
                    self.patterns.push(Arc::new(pattern));
                    patterns = true;
                }
                Err(problem) => errors.push((new.rule, problem)),
            }
        }
        if patterns {
            self.patterns.sort_by_key(|pattern| rank(&pattern.entry));
        }
        for (path, edit) in exact {
            edit.apply(&mut self.exact, path, &rank);
        }
        let before = self.prefixes.len();
        let mut whole = true;
        for (path, edit) in prefixes {
            self.note_depth(path);
            edit.apply(&mut self.prefixes, path, &rank);
            whole &= self.prefixes.contains_key(path);
        }
        if !whole && before > 0 {
            self.measure();
        }
        errors
    }

    /// Whether there is no match.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.patterns.is_empty() && self.prefixes.is_empty()
    }

    fn note_depth(&mut self, prefix: &str) {
        let depth = prefix.matches('/').count();
        self.depths |= 1 << depth.min(63);
        self.deepest = self.deepest.max(depth);
    }

    /// Finds out how deep prefixes are.
    fn measure(&mut self) {
        (self.depths, self.deepest) = (0, 0);
        let prefixes: Vec<Arc<str>> = self.prefixes.keys().cloned().collect();
        prefixes.iter().for_each(|prefix| self.note_depth(prefix));
    }

    /// The match with the highest precedence that holds: exact, then patterns, then prefixes from
    /// the longest to the shortest.
    pub fn find(&self, target: &Target<'_>) -> Option<&PathRule> {
        self.find_exact(target)
            .or_else(|| self.find_pattern(target))
            .or_else(|| self.find_prefix(target))
    }

    fn find_exact(&self, target: &Target<'_>) -> Option<&PathRule> {
        if self.exact.is_empty() {
            return None;
        }
        first(self.exact.get(target.path)?, target)
    }

    fn find_pattern(&self, target: &Target<'_>) -> Option<&PathRule> {
        let path = target.path.as_bytes();
        self.patterns
            .iter()
            .find(|p| p.entry.condition.holds(target) && p.regex.is_match(path))
            .map(|pattern| &pattern.entry)
    }

    /// A prefix ends where a `/` or the end of the path follows: "by path element" (Gateway API
    /// v1.6.1, `PathMatchPathPrefix`).
    fn find_prefix(&self, target: &Target<'_>) -> Option<&PathRule> {
        let path = target.path;
        let mut ends: SmallVec<[u32; 16]> = SmallVec::new();
        let slashes = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/');
        for (at, _) in slashes.take(self.deepest + 1) {
            ends.push(at as u32);
        }
        // A path with more `/` than the deepest prefix ends at none of them.
        if ends.len() <= self.deepest {
            ends.push(path.len() as u32);
        }
        for (depth, end) in ends.iter().enumerate().rev() {
            if self.depths & (1 << depth.min(63)) == 0 {
                continue;
            }
            if let Some(entries) = self.prefixes.get(&path[..*end as usize])
                && let Some(found) = first(entries, target)
            {
                return Some(found);
            }
        }
        // `*` (OPTIONS) has no element, and the empty prefix is a prefix of it all the same.
        if path.starts_with('/') { None } else { first(self.prefixes.get("")?, target) }
    }
}

/// Where a match stands.
enum Place<'a> {
    Exact(&'a str),
    /// The prefix without trailing `/`.
    Prefix(&'a str),
    Pattern(&'a str),
}

fn place(matched: &HttpMatch) -> Place<'_> {
    match &matched.path {
        Some(PathMatch::Exact(path)) => Place::Exact(path),
        Some(PathMatch::Regex(pattern)) => Place::Pattern(pattern),
        Some(PathMatch::Prefix(prefix)) => Place::Prefix(prefix.trim_end_matches('/')),
        None => Place::Prefix(""),
    }
}

enum Compiled<'a> {
    Exact(&'a str, PathRule),
    Prefix(&'a str, PathRule),
    Pattern(Pattern),
}

fn compile<'a>(new: &RuleMatch<'a>) -> Result<Compiled<'a>, PatternError> {
    let RuleMatch { matched, rule, nth } = *new;
    let condition = Condition::new(matched)?;
    let entry =
        |prefix, pattern: &str| PathRule { condition, rule, nth, prefix, pattern: pattern.into() };
    Ok(match place(matched) {
        Place::Exact(path) => Compiled::Exact(path, entry(None, path)),
        Place::Pattern(pattern) => {
            let regex = compile_pattern(pattern)?;
            Compiled::Pattern(Pattern { regex, entry: entry(None, pattern) })
        }
        Place::Prefix(path) => {
            let written = match &matched.path {
                Some(PathMatch::Prefix(prefix)) => prefix.as_str(),
                _ => "/",
            };
            let length = u32::try_from(path.len()).unwrap_or(u32::MAX);
            Compiled::Prefix(path, entry(Some(length), written))
        }
    })
}

#[inline]
fn first<'e>(entries: &'e [PathRule], target: &Target<'_>) -> Option<&'e PathRule> {
    entries.iter().find(|entry| entry.condition.holds(target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Method};

    fn index(paths: &[PathMatch]) -> PathIndex {
        let matched =
            |path: &PathMatch| HttpMatch { path: Some(path.clone()), ..HttpMatch::default() };
        let matches: Vec<HttpMatch> = paths.iter().map(matched).collect();
        let rules = matches.iter().zip(0..);
        let new: Vec<_> =
            rules.map(|(matched, rule)| RuleMatch { matched, rule, nth: 0 }).collect();
        let mut index = PathIndex::default();
        assert_eq!(index.change(&[], &new, |entry| entry.rule), []);
        index
    }

    fn find(index: &PathIndex, path: &str) -> Option<u32> {
        let headers = HeaderMap::new();
        let target = Target { method: &Method::GET, path, query: None, headers: &headers };
        index.find(&target).map(|entry| entry.rule)
    }

    #[test]
    fn s7_02_prefixes_match_by_path_element() {
        let index = index(&[PathMatch::Prefix("/abc".into())]);
        for (path, matches) in [
            ("/abc", true),
            ("/abc/", true),
            ("/abc/def", true),
            ("/abc//def", true),
            ("/abcd", false),
            ("/ab", false),
            ("/ABC", false),
            ("/", false),
            ("/x/abc", false),
        ] {
            assert_eq!(find(&index, path).is_some(), matches, "{path}");
        }
    }

    #[test]
    fn s7_02_a_trailing_slash_of_a_prefix_is_ignored() {
        let index = index(&[PathMatch::Prefix("/abc/".into())]);
        assert!(find(&index, "/abc").is_some());
        assert!(find(&index, "/abc/x").is_some());
        assert!(find(&index, "/abcx").is_none());
    }

    #[test]
    fn s7_01_exact_wins_over_patterns_over_longer_prefixes() {
        let index = index(&[
            PathMatch::Exact("/a/b".into()),
            PathMatch::Regex("/a/[bc]".into()),
            PathMatch::Prefix("/a/b/c".into()),
            PathMatch::Prefix("/a".into()),
            PathMatch::Prefix("/".into()),
        ]);
        for (path, rule) in
            [("/a/b", 0), ("/a/c", 1), ("/a/b/c/d", 2), ("/a/b/d", 3), ("/z", 4), ("*", 4)]
        {
            assert_eq!(find(&index, path), Some(rule), "{path}");
        }
    }

    #[test]
    fn a_path_of_slashes_costs_no_more_than_the_deepest_prefix() {
        let index = index(&[PathMatch::Prefix("/a/b".into())]);
        assert_eq!(find(&index, &"/".repeat(60_000)), None);
        assert_eq!(find(&index, &format!("/a/b{}", "/".repeat(60_000))), Some(0));
    }
}
