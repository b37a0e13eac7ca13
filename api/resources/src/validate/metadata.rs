//! `metadata`: names, namespaces, labels, annotations.

use serde_json::{Map, Value};

use super::{Findings, child, quoted};
use crate::kind::Kind;

/// Bytes that all annotations of an object may have together.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// What a name must look like.
#[derive(Clone, Copy)]
enum NameRule {
    /// RFC 1123 subdomain.
    Subdomain,
    /// RFC 1123 label.
    Label,
    /// RFC 1035 label.
    Label1035,
}

/// Checks the metadata of an object. Types and unknown fields are the schema's.
pub(super) fn check(kind: Kind, value: &Value, findings: &mut Findings) {
    let Some(metadata) = value.get("metadata").and_then(Value::as_object) else {
        if value.get("metadata").is_none() {
            findings.block("/metadata", "`metadata` is required: add it with a `name`");
        }
        return;
    };
    match metadata.get("name").map(Value::as_str) {
        None => findings.block("/metadata/name", "`name` is required: add it"),
        Some(None) => {}
        Some(Some(name)) => name_of(kind).check("/metadata/name", name, findings),
    }
    match metadata.get("namespace").and_then(Value::as_str) {
        Some(_) if !kind.namespaced() => {
            let message = format!("a {kind} belongs to no namespace: remove the field");
            findings.refuse("/metadata/namespace", message);
        }
        Some(namespace) => NameRule::Label.check("/metadata/namespace", namespace, findings),
        None => {}
    }
    if let Some(labels) = metadata.get("labels").and_then(Value::as_object) {
        keys("/metadata/labels", labels, findings);
        label_values(labels, findings);
    }
    if let Some(annotations) = metadata.get("annotations").and_then(Value::as_object) {
        keys("/metadata/annotations", annotations, findings);
        let size = |(key, value): (&String, &Value)| key.len() + value.as_str().map_or(0, str::len);
        let total: usize = annotations.iter().map(size).sum();
        if total > MAX_ANNOTATIONS {
            let message = format!("has {total} bytes, at most {MAX_ANNOTATIONS} are allowed");
            findings.refuse("/metadata/annotations", message);
        }
    }
}

fn name_of(kind: Kind) -> NameRule {
    match kind {
        Kind::Service => NameRule::Label1035,
        Kind::Namespace => NameRule::Label,
        _ => NameRule::Subdomain,
    }
}

impl NameRule {
    fn check(self, at: &str, name: &str, findings: &mut Findings) {
        let (right, expected) = match self {
            NameRule::Subdomain => (
                is_subdomain(name),
                "a name (RFC 1123 subdomain): at most 253 lower-case letters, digits, `-` and `.`, \
                 a letter or digit at either end of each part",
            ),
            NameRule::Label => (
                is_label(name),
                "a name (RFC 1123 label): at most 63 lower-case letters, digits and `-`, a letter \
                 or digit at either end",
            ),
            NameRule::Label1035 => (
                is_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase()),
                "a name (RFC 1035 label): at most 63 lower-case letters, digits and `-`, beginning \
                 with a letter",
            ),
        };
        if !right {
            findings.refuse(at, format!("{} is not {expected}", quoted(name)));
        }
    }
}

/// RFC 1123 label.
pub(super) fn is_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// RFC 1123 subdomain. Kubernetes limits the whole to 253 characters, its parts not to 63.
pub(super) fn is_subdomain(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// The part of a key after its prefix, and a label's value: at most 63 characters.
fn is_word(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    (1..=63).contains(&text.len())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
        && edge(text.chars().next())
        && edge(text.chars().next_back())
}

fn keys(at: &str, entries: &Map<String, Value>, findings: &mut Findings) {
    for key in entries.keys() {
        let right = match key.split_once('/') {
            // Annotations may have upper-case prefixes by history, labels too: both are lowered.
            Some((prefix, name)) => is_subdomain(&prefix.to_ascii_lowercase()) && is_word(name),
            None => is_word(key),
        };
        if !right {
            let message = format!(
                "{} is not a key: an optional DNS name and `/`, then at most 63 letters, digits, \
                 `-`, `_` and `.`",
                quoted(key)
            );
            findings.refuse(&child(at, key), message);
        }
    }
}

fn label_values(labels: &Map<String, Value>, findings: &mut Findings) {
    for (key, value) in labels {
        if let Some(text) = value.as_str()
            && !text.is_empty()
            && !is_word(text)
        {
            let message = format!(
                "{} is not the value of a label: at most 63 letters, digits, `-`, `_` and `.`, a \
                 letter or digit at either end",
                quoted(text)
            );
            findings.refuse(&child("/metadata/labels", key), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_rfc_1123() {
        let long = "a".repeat(64);
        for (text, label, subdomain) in [
            ("a", true, true),
            ("a-1", true, true),
            ("1a", true, true),
            ("a.b", false, true),
            ("", false, false),
            ("-a", false, false),
            ("a-", false, false),
            ("A", false, false),
            ("a_b", false, false),
            ("a..b", false, false),
            ("a.-b", false, false),
            (long.as_str(), false, true),
        ] {
            assert_eq!((is_label(text), is_subdomain(text)), (label, subdomain), "{text}");
        }
        assert!(!is_subdomain(&"a".repeat(254)));
    }
}
