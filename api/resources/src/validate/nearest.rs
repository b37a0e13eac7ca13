//! The name that somebody probably meant.

use std::collections::BTreeMap;

use super::node::Node;
use super::quoted;

/// How many names a message lists at most.
const LISTED: usize = 16;

/// Words for a field that the schema does not know.
pub(super) fn unknown_field(name: &str, known: &BTreeMap<String, Node>) -> String {
    let name_shown = quoted(name);
    if let Some(near) = nearest(name, known.keys().map(String::as_str)) {
        return format!("unknown field {name_shown}; did you mean `{near}`?");
    }
    let listed: Vec<_> = known.keys().take(LISTED).map(|name| format!("`{name}`")).collect();
    let more = if known.len() > LISTED { " and others" } else { "" };
    format!("unknown field {name_shown}: remove it; known here are {}{more}", listed.join(", "))
}

/// The candidate that is nearest to `name`, if one is near.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = name.to_lowercase();
    // Long texts are no misspelt names, and the distance is quadratic.
    if lower.len() > 64 {
        return None;
    }
    let tolerance = (lower.len() / 3).clamp(1, 3);
    candidates
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance: insertions, deletions and substitutions between two texts.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_definition() {
        for (a, b, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
            ("ab", "ba", 2),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn a_misspelt_name_finds_the_right_one_and_a_strange_one_none() {
        let known = ["hostnames", "parentRefs", "rules"];
        for (written, meant) in
            [("hostname", Some("hostnames")), ("parentrefs", Some("parentRefs")), ("colour", None)]
        {
            assert_eq!(nearest(written, known.into_iter()), meant, "{written}");
        }
    }
}
