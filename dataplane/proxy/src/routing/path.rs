//! Matches of one hostname, indexed by path.

use super::{Condition, PatternError, Target, compile_pattern};
use penstock_config::{HttpMatch, PathMatch};
use regex::bytes::Regex;
use smallvec::SmallVec;
use std::sync::Arc;

type Map<V> = hashbrown::HashMap<Box<str>, V, ahash::RandomState>;

/// One match with what it leads to.
#[derive(Clone, Debug)]
pub struct PathRule {
    condition: Condition,
    /// Index of the rule that the match belongs to.
    pub rule: u32,
    /// Bytes of the prefix that matched; `None` where the path matched in another way.
    pub prefix: Option<u32>,
    /// The path as the match is written.
    pub pattern: Arc<str>,
}

/// Matches of one hostname. Those that one path can meet are few whatever the number of routes.
#[derive(Clone, Debug, Default)]
pub struct PathIndex {
    exact: Map<Vec<PathRule>>,
    patterns: Vec<(Regex, PathRule)>,
    /// By prefix without trailing `/`; the empty one matches every path.
    prefixes: Map<Vec<PathRule>>,
    /// Whether a prefix with so many `/` exists, for the first 64.
    depths: u64,
    /// Most `/` that a prefix has.
    deepest: usize,
}

impl PathIndex {
    /// Adds a match. Matches must come in the order of their precedence.
    ///
    /// # Errors
    /// [`PatternError`] where a part of the match cannot be used; nothing was added.
    pub fn push(&mut self, matched: &HttpMatch, rule: u32) -> Result<(), PatternError> {
        let condition = Condition::new(matched)?;
        let entry =
            |prefix, pattern: &str| PathRule { condition, rule, prefix, pattern: pattern.into() };
        match &matched.path {
            Some(PathMatch::Exact(path)) => {
                self.exact.entry_ref(path.as_str()).or_default().push(entry(None, path));
            }
            Some(PathMatch::Regex(pattern)) => {
                let regex = compile_pattern(pattern)?;
                self.patterns.push((regex, entry(None, pattern)));
            }
            Some(PathMatch::Prefix(prefix)) => self.push_prefix(prefix, entry(Some(0), prefix)),
            None => self.push_prefix("/", entry(Some(0), "/")),
        }
        Ok(())
    }

    fn push_prefix(&mut self, prefix: &str, mut entry: PathRule) {
        let prefix = prefix.trim_end_matches('/');
        let depth = prefix.matches('/').count();
        self.depths |= 1 << depth.min(63);
        self.deepest = self.deepest.max(depth);
        entry.prefix = Some(u32::try_from(prefix.len()).unwrap_or(u32::MAX));
        self.prefixes.entry_ref(prefix).or_default().push(entry);
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
            .find(|(regex, entry)| entry.condition.holds(target) && regex.is_match(path))
            .map(|(_, entry)| entry)
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

#[inline]
fn first<'e>(entries: &'e [PathRule], target: &Target<'_>) -> Option<&'e PathRule> {
    entries.iter().find(|entry| entry.condition.holds(target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Method};

    fn index(paths: &[PathMatch]) -> PathIndex {
        let mut index = PathIndex::default();
        for (rule, path) in paths.iter().enumerate() {
            let matched = HttpMatch { path: Some(path.clone()), ..HttpMatch::default() };
            index.push(&matched, rule as u32).expect("a valid match");
        }
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
