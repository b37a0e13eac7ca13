//! Whether a path matches, and what of it is then known by name.

use penstock_filter::Problem;
use penstock_filter::plan::{Predicate, one_of, path, starts_with};
use regex_lite::{Captures, Regex};

use crate::config;

/// A pattern, compiled.
#[derive(Debug)]
pub(crate) enum Pattern {
    Any,
    Exact(String),
    /// Without the final slash.
    Prefix(String),
    Regex(Regex),
}

/// What `{match.…}` can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Capture {
    /// What follows the prefix.
    Rest,
    /// A group by its number; a named one has one, too.
    Group(usize),
}

/// A match of one path.
#[derive(Debug)]
pub(crate) enum Found<'p> {
    Whole,
    Rest(&'p str),
    Groups(Captures<'p>),
}

impl Pattern {
    /// Compiles what stands at a JSON Pointer.
    pub(crate) fn compile(
        pattern: Option<&config::Pattern>,
        pointer: &str,
    ) -> Result<Pattern, Problem> {
        let absolute = |path: &String, field| {
            if path.starts_with('/') {
                return Ok(path.clone());
            }
            Err(Problem::at(format!("{pointer}/{field}"), "a path begins with `/`"))
        };
        match pattern {
            None => Ok(Pattern::Any),
            Some(config::Pattern::Exact(path)) => absolute(path, "exact").map(Pattern::Exact),
            Some(config::Pattern::Prefix(prefix)) => absolute(prefix, "prefix")
                .map(|prefix| Pattern::Prefix(prefix.trim_end_matches('/').to_owned())),
            Some(config::Pattern::Regex(regex)) => Regex::new(regex)
                .map(Pattern::Regex)
                .map_err(|error| Problem::at(format!("{pointer}/regex"), error)),
        }
    }

    /// What a name after `match.` stands for.
    pub(crate) fn capture(&self, name: &str) -> Result<Capture, String> {
        match self {
            Pattern::Prefix(_) if name == "rest" => Ok(Capture::Rest),
            Pattern::Regex(regex) => {
                let by_number = name.parse().ok().filter(|group| *group < regex.captures_len());
                let by_name = || regex.capture_names().position(|group| group == Some(name));
                let group = by_number.or_else(by_name).map(Capture::Group);
                group.ok_or_else(|| format!("the regular expression has no group `{name}`"))
            }
            _ => Err(format!(
                "`match.{name}` is unknown: a regex has numbered and named groups, a prefix has \
                 `match.rest`"
            )),
        }
    }

    /// Matches a path.
    pub(crate) fn find<'p>(&self, path: &'p str) -> Option<Found<'p>> {
        match self {
            Pattern::Any => Some(Found::Whole),
            Pattern::Exact(exact) => (exact == path).then_some(Found::Whole),
            Pattern::Prefix(prefix) => path
                .strip_prefix(prefix.as_str())
                .filter(|rest| rest.is_empty() || rest.starts_with('/'))
                .map(Found::Rest),
            Pattern::Regex(regex) => regex.captures(path).map(Found::Groups),
        }
    }
}

impl<'p> Found<'p> {
    /// The text of a capture; `None` for a group that took no part.
    pub(crate) fn get(&self, capture: &Capture) -> Option<&'p str> {
        match (self, capture) {
            (Found::Rest(rest), Capture::Rest) => Some(rest),
            (Found::Groups(groups), Capture::Group(at)) => groups.get(*at).map(|m| m.as_str()),
            _ => None,
        }
    }
}

/// What every path has that one of the patterns matches, as far as the host can test it: then a path
/// that no rule is for costs no call.
pub(crate) fn guard<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> Option<Predicate> {
    let patterns: Vec<_> = patterns.collect();
    let beginnings: Option<Vec<&str>> = patterns
        .iter()
        .map(|pattern| match pattern {
            Pattern::Exact(text) | Pattern::Prefix(text) => Some(text.as_str()),
            Pattern::Any | Pattern::Regex(_) => None,
        })
        .collect();
    let beginnings = beginnings?;
    if patterns.iter().all(|pattern| matches!(pattern, Pattern::Exact(_))) {
        return Some(one_of(path(), beginnings));
    }
    let common = beginnings.into_iter().reduce(common_beginning)?;
    // Every path begins with a slash.
    (common.len() > 1).then(|| starts_with(path(), common))
}

fn common_beginning<'a>(one: &'a str, other: &str) -> &'a str {
    let pairs = one.char_indices().zip(other.chars());
    let differs = pairs.into_iter().find(|((_, a), b)| a != b);
    &one[..differs.map_or(one.len().min(other.len()), |((at, _), _)| at)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_of_whole_segments() {
        let pattern = |prefix: &str| {
            Pattern::compile(Some(&config::Pattern::Prefix(prefix.to_owned())), "").unwrap()
        };
        let rest = |prefix: &str, path| {
            pattern(prefix)
                .find(path)
                .and_then(|found| found.get(&Capture::Rest).map(str::to_owned))
        };
        for (prefix, path, expected) in [
            ("/a", "/a", Some("")),
            ("/a", "/a/b", Some("/b")),
            ("/a/", "/a/b", Some("/b")),
            ("/a/", "/a", Some("")),
            ("/a", "/ab", None),
            ("/a", "/", None),
            ("/", "/x", Some("/x")),
        ] {
            assert_eq!(rest(prefix, path).as_deref(), expected, "{prefix} {path}");
        }
    }

    #[test]
    fn groups_have_numbers_and_names() {
        let regex = config::Pattern::Regex("^/u/(?<id>[0-9]+)(/x)?$".to_owned());
        let pattern = Pattern::compile(Some(&regex), "").unwrap();
        assert_eq!(pattern.capture("id"), Ok(Capture::Group(1)));
        assert_eq!(pattern.capture("1"), Ok(Capture::Group(1)));
        assert!(pattern.capture("3").is_err() && pattern.capture("rest").is_err());
        let found = pattern.find("/u/7").unwrap();
        assert_eq!(found.get(&Capture::Group(1)), Some("7"));
        assert_eq!(found.get(&Capture::Group(2)), None);
    }
}
