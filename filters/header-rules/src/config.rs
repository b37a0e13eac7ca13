//! What the policy is configured with.

use std::collections::BTreeMap;

use penstock_filter::{Condition, config};

/// Rules for the header fields of requests and responses.
#[config]
pub struct Config {
    /// Rules for requests, applied in order.
    #[serde(default)]
    pub(crate) request: Vec<Rule>,
    /// Rules for responses, applied in order.
    #[serde(default)]
    pub(crate) response: Vec<Rule>,
    /// How many decisions each worker of the gateway remembers by their inputs; 0 is none. Worth it
    /// where the inputs take few values.
    #[serde(default)]
    #[schemars(range(max = 4096))]
    pub(crate) remember: u32,
}

/// Changes, and when to make them. Within a rule fields are removed first, then set, then appended.
#[config]
pub(crate) struct Rule {
    /// All of these must hold.
    #[serde(default)]
    pub(crate) when: Vec<Condition>,
    /// Names of fields to remove.
    #[serde(default)]
    pub(crate) remove: Vec<String>,
    /// Fields to set, by name: afterwards there is exactly one of that name, with this value. Where
    /// the value is a template whose input is absent, there is none.
    #[serde(default)]
    pub(crate) set: BTreeMap<String, String>,
    /// Fields to append, by name. Nothing is appended where the value is a template whose input is
    /// absent.
    #[serde(default)]
    pub(crate) append: BTreeMap<String, String>,
}
