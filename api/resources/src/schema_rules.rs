//! Pieces of CRD schemas that `schemars` has no attribute for.

use serde_json::{Value, json};

/// `x-kubernetes-validations` from (CEL rule, message) pairs.
pub(crate) fn rules(rules: &[(&str, &str)]) -> Value {
    rules.iter().map(|(rule, message)| json!({"rule": rule, "message": message})).collect()
}

/// `x-kubernetes-list-map-keys`.
pub(crate) fn keys(keys: &[&str]) -> Value {
    json!(keys)
}
