//! What an API server would refuse, and what it would fill in, without an API server.
//!
//! The kinds of the Gateway API are checked against the schemas of its release, Penstock's own
//! against their definitions, the core kinds against the schemas of their types with the checks
//! that the API server makes in code added to them. In order, as there: defaults, structure,
//! metadata, then the CEL rules, which are left out while the structure is broken.

mod core;
mod defaults;
mod forms;
mod kinds;
mod metadata;
mod nearest;
mod node;
mod rules;
mod structure;

use std::fmt;

use serde::Deserialize as _;
use serde_json::Value;

use crate::kind::{Kind, ObjectError};

/// Something that an API server would refuse. The writer of the object is at fault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Where, as a JSON Pointer (RFC 6901) into the object; for a missing field that of the field.
    pub pointer: String,
    /// Cause and remedy, without the pointer. Holds no value of a Secret.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", if self.pointer.is_empty() { "/" } else { &self.pointer }, self.message)
    }
}

/// Everything that an API server would refuse in an object that is created, in strict field
/// validation (as `kubectl apply` asks for).
///
/// Empty exactly when the object is accepted; [`crate::Object::from_json`] then reads it.
pub fn validate(value: &Value) -> Vec<Violation> {
    let kind = match Kind::of(value) {
        Ok(kind) => kind,
        Err(error) => return vec![unreadable(&error)],
    };
    let mut value = value.clone();
    default_kind(kind, &mut value);

    let schema = kinds::schema(kind);
    let mut findings = Findings::default();
    structure::check(&schema.node, &value, &mut findings);
    metadata::check(kind, &value, &mut findings);
    core::check(kind, &value, &mut findings);
    if !findings.blocking {
        rules::check(schema, &value, &mut findings);
    }
    findings.violations
}

/// What a schema refuses in a value that is no object of Kubernetes. An object whose schema names
/// fields takes no others.
///
/// # Errors
/// When the schema has a keyword that structural schemas do not have.
pub fn against(schema: &Value, value: &Value) -> Result<Vec<Violation>, serde_json::Error> {
    let node = node::Node::deserialize(schema)?;
    let mut findings = Findings::default();
    structure::check(&node, value, &mut findings);
    Ok(findings.violations)
}

/// Fills in what an API server would: the defaults of the schema, `metadata.namespace` (`default`,
/// as for a client that names none), the label that carries a Namespace's name, `stringData` of a
/// Secret moved to `data`. Absent fields may be written as null. Values of unknown kinds stay as
/// they are.
pub fn default(value: &mut Value) {
    if let Ok(kind) = Kind::of(value) {
        default_kind(kind, value);
    }
}

fn default_kind(kind: Kind, value: &mut Value) {
    defaults::apply(&kinds::schema(kind).node, value);
    defaults::namespace(kind, value);
    core::default(kind, value);
}

fn unreadable(error: &ObjectError) -> Violation {
    let pointer = match error {
        ObjectError::Untyped("apiVersion") | ObjectError::UnknownVersion { .. } => "/apiVersion",
        _ => "/kind",
    };
    Violation { pointer: pointer.to_owned(), message: error.to_string() }
}

/// Violations as they are found.
#[derive(Default)]
struct Findings {
    violations: Vec<Violation>,
    /// Whether the object has not the form that CEL rules may rely on.
    blocking: bool,
}

impl Findings {
    /// A value is refused, its form is as expected.
    fn refuse(&mut self, at: &str, message: impl Into<String>) {
        self.violations.push(Violation { pointer: at.to_owned(), message: message.into() });
    }

    /// A value has not the form that rules may rely on: type, required field, size.
    fn block(&mut self, at: &str, message: impl Into<String>) {
        self.blocking = true;
        self.refuse(at, message);
    }
}

/// `pointer` extended by one reference token, RFC 6901 section 3.
fn child(pointer: &str, token: &str) -> String {
    format!("{pointer}/{}", token.replace('~', "~0").replace('/', "~1"))
}

/// A text for a message, shortened.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}
