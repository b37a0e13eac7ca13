//! A value together with where each part of it stands in its file.

use serde_json::{Map, Number, Value};
use std::{fmt, sync::Arc};

/// A place in a file. Both count from one; the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// Line.
    pub(crate) line: usize,
    /// Column.
    pub(crate) column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One value of a document.
#[derive(Debug)]
pub(crate) struct Node {
    /// Where the value begins.
    pub(crate) at: Position,
    /// The value.
    pub(crate) content: Content,
    /// How many nodes the value has with every alias followed.
    pub(crate) size: usize,
    /// How deep it nests with every alias followed.
    pub(crate) depth: usize,
}

/// The value of a [`Node`].
#[derive(Debug)]
pub(crate) enum Content {
    /// A scalar.
    Scalar(Scalar),
    /// A list.
    List(Vec<Arc<Node>>),
    /// A map in the order of the file, without repeated keys.
    Map(Vec<Entry>),
}

/// A scalar as JSON knows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(String),
}

/// One entry of a map.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) at: Position,
    /// The value.
    pub(crate) value: Arc<Node>,
}

impl Node {
    /// A node whose size and depth follow from its content.
    pub(crate) fn new(at: Position, content: Content) -> Self {
        let (mut size, mut depth) = (1_usize, 0);
        let mut count = |node: &Node| {
            size = size.saturating_add(node.size);
            depth = depth.max(node.depth);
        };
        match &content {
            Content::Scalar(_) => {}
            Content::List(items) => items.iter().for_each(|n| count(n)),
            Content::Map(entries) => entries.iter().for_each(|e| count(&e.value)),
        }
        Self { at, content, size, depth: depth + 1 }
    }

    /// The entry of a map by key.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|e| e.key == key),
            _ => None,
        }
    }

    /// The text under a key.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match &self.entry(key)?.value.content {
            Content::Scalar(Scalar::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> Option<&[Arc<Node>]> {
        match &self.content {
            Content::List(items) => Some(items),
            _ => None,
        }
    }

    /// The value as JSON.
    pub(crate) fn to_json(&self) -> Value {
        match &self.content {
            Content::Scalar(Scalar::Null) => Value::Null,
            Content::Scalar(Scalar::Bool(value)) => Value::Bool(*value),
            Content::Scalar(Scalar::Number(value)) => Value::Number(value.clone()),
            Content::Scalar(Scalar::Text(value)) => Value::String(value.clone()),
            Content::List(items) => Value::Array(items.iter().map(|n| n.to_json()).collect()),
            Content::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|e| (e.key.clone(), e.value.to_json()))
                    .collect::<Map<String, Value>>(),
            ),
        }
    }

    /// Where a JSON Pointer (RFC 6901) leads: the key for an entry of a map, the value for an item
    /// of a list. For a pointer to something that is missing: the deepest part that exists.
    pub(crate) fn locate(&self, pointer: &str) -> Position {
        let (mut node, mut at) = (self, self.at);
        for token in tokens(pointer) {
            let next = match &node.content {
                Content::Map(_) => node.entry(&token).map(|e| (&e.value, e.at)),
                Content::List(items) => {
                    token.parse().ok().and_then(|i: usize| items.get(i)).map(|n| (n, n.at))
                }
                Content::Scalar(_) => None,
            };
            let Some((value, place)) = next else { break };
            (node, at) = (value, place);
        }
        at
    }
}

/// The unescaped reference tokens of a JSON Pointer.
fn tokens(pointer: &str) -> impl Iterator<Item = String> + '_ {
    pointer.split('/').skip(1).map(|t| t.replace("~1", "/").replace("~0", "~"))
}

/// A JSON Pointer as people write field paths: `/spec/rules/0/name` is `spec.rules[0].name`.
/// Keys that are no plain names are quoted: `metadata.labels["a.b/c"]`.
pub(crate) fn field_path(pointer: &str) -> String {
    let mut path = String::new();
    for token in tokens(pointer) {
        if !token.is_empty() && token.bytes().all(|b| b.is_ascii_digit()) {
            path.push_str(&format!("[{token}]"));
        } else if !token.is_empty()
            && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&token);
        } else {
            path.push_str(&format!("[{token:?}]"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::field_path;

    #[test]
    fn a_pointer_reads_as_a_field_path() {
        for (pointer, path) in [
            ("", ""),
            ("/spec", "spec"),
            ("/spec/rules/0/matches/12/path", "spec.rules[0].matches[12].path"),
            ("/metadata/labels/a.b~1c", "metadata.labels[\"a.b/c\"]"),
            ("/data/api-key", "data.api-key"),
            ("/data/", "data[\"\"]"),
        ] {
            assert_eq!(field_path(pointer), path);
        }
    }
}
