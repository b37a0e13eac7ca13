//! From what a guest returned to what the proxy can trust.

mod decision;
mod path;
mod plan;
mod tls;

pub(crate) use decision::headers;
pub(crate) use path::paths;
pub(crate) use plan::{RawPlan, plan};
pub(crate) use tls::{hello, hello_decision, peer, peer_decision};

use crate::outcome::FilterFailure;

/// Why a decision is not applied. All of it is dropped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) failure: FilterFailure,
    pub(crate) message: String,
}

impl Refusal {
    fn denied(name: &str) -> Self {
        let message = format!("may not change `{}`", clip(name));
        Self { failure: FilterFailure::WriteDenied, message }
    }

    fn value(message: impl Into<String>) -> Self {
        Self { failure: FilterFailure::BadValue, message: message.into() }
    }
}

/// A guest's text, short and printable, for a message.
fn clip(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_default).collect()
}

/// Longest name of an attribute, in bytes.
const MAX_ATTRIBUTE_NAME: usize = 128;
/// Longest value of an attribute, in bytes.
const MAX_ATTRIBUTE_VALUE: usize = 8 << 10;

/// Whether a text can name an attribute: visible ASCII, 1 to 128 bytes.
fn is_attribute_name(name: &str) -> bool {
    (1..=MAX_ATTRIBUTE_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
}

/// An attribute that can stand in a log line, a trace and another policy's input.
fn attribute(name: String, value: String) -> Result<(Box<str>, Box<str>), Refusal> {
    if !is_attribute_name(&name) {
        return Err(Refusal::value(format!("`{}` cannot name an attribute", clip(&name))));
    }
    if value.len() > MAX_ATTRIBUTE_VALUE || value.contains(['\r', '\n', '\0']) {
        return Err(Refusal::value(format!(
            "attribute `{name}`: a value has at most {MAX_ATTRIBUTE_VALUE} bytes, no CR, LF or NUL"
        )));
    }
    Ok((name.into(), value.into()))
}

fn attributes(
    fields: Vec<crate::bindings::policy::types::Field>,
) -> Result<crate::Attributes, Refusal> {
    fields.into_iter().map(|field| attribute(field.name, field.value)).collect()
}
