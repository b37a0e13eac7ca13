//! A node of a structural schema.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

/// A node of a structural schema: every keyword that the schemas in use have. A keyword that is not
/// listed makes the schema unreadable, so that none is ignored unnoticed.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Node {
    #[serde(rename = "type")]
    pub(super) form: Option<Form>,
    pub(super) format: Option<Format>,
    #[serde(rename = "enum")]
    pub(super) values: Vec<Value>,
    pub(super) default: Option<Value>,
    pub(super) pattern: Option<Pattern>,
    pub(super) min_length: Option<usize>,
    pub(super) max_length: Option<usize>,
    pub(super) minimum: Option<f64>,
    pub(super) maximum: Option<f64>,
    pub(super) properties: BTreeMap<String, Node>,
    pub(super) additional_properties: Option<Box<Node>>,
    pub(super) property_names: Option<Box<Node>>,
    pub(super) required: Vec<String>,
    pub(super) max_properties: Option<usize>,
    pub(super) items: Option<Box<Node>>,
    pub(super) min_items: Option<usize>,
    pub(super) max_items: Option<usize>,
    pub(super) one_of: Vec<Node>,
    pub(super) any_of: Vec<Node>,
    pub(super) not: Option<Box<Node>>,
    #[serde(rename = "x-kubernetes-list-type")]
    pub(super) list: Option<ListType>,
    #[serde(rename = "x-kubernetes-list-map-keys")]
    pub(super) list_keys: Vec<String>,
    #[serde(rename = "x-kubernetes-preserve-unknown-fields")]
    pub(super) preserve: bool,
    #[serde(rename = "x-kubernetes-int-or-string")]
    pub(super) int_or_string: bool,
    #[serde(rename = "x-kubernetes-validations")]
    pub(super) rules: Vec<Rule>,
    // These say nothing about whether a value is valid: words for people, how patches merge, and
    // null, which stands for an absent field everywhere (see `defaults`).
    #[serde(rename = "title")]
    _title: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(rename = "x-kubernetes-map-type")]
    _map: Option<String>,
    #[serde(rename = "nullable")]
    _nullable: bool,
}

/// JSON types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// Formats of numbers and texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    Int32,
    Int64,
    Ipv4,
    Ipv6,
    Byte,
    #[serde(rename = "date-time")]
    DateTime,
}

/// What makes the items of a list distinct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ListType {
    Atomic,
    Set,
    Map,
}

/// A CEL rule; [`super::rules`] compiles it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) rule: String,
    pub(super) message: Option<String>,
}

/// A regular expression, compiled when it is first needed.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
pub(super) struct Pattern {
    pub(super) text: String,
    regex: OnceLock<Option<Regex>>,
}

impl From<String> for Pattern {
    fn from(text: String) -> Pattern {
        Pattern { text, regex: OnceLock::new() }
    }
}

impl Pattern {
    /// Whether `text` matches. Nothing matches an expression that does not compile; a test shows
    /// that all of them do.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.regex().is_some_and(|regex| regex.is_match(text))
    }

    pub(super) fn regex(&self) -> Option<&Regex> {
        self.regex.get_or_init(|| Regex::new(&self.text).ok()).as_ref()
    }
}

impl Node {
    /// This node and all below it.
    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<&Node> {
        let below = self
            .properties
            .values()
            .chain(self.additional_properties.as_deref())
            .chain(self.items.as_deref())
            .chain(&self.one_of)
            .chain(&self.any_of)
            .chain(self.not.as_deref());
        std::iter::once(self).chain(below.flat_map(Node::all)).collect()
    }
}
