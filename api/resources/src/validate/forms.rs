//! Words for what was expected: types, choices, patterns, formats.

use std::net::{Ipv4Addr, Ipv6Addr};

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::node::{Form, Format, Node};
use super::{nearest, quoted};

/// A value has another type than `form`.
pub(super) fn wrong_type(form: Form, value: &Value) -> String {
    let found = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    let expected = match form {
        Form::Object => "an object with named fields",
        Form::Array => "a list (in YAML each item begins with `- `)",
        Form::String if value.is_number() || value.is_boolean() => "a text: write it in quotes",
        Form::String => "a text",
        Form::Integer if value.is_string() => "a whole number: write it without quotes",
        Form::Integer => "a whole number",
        Form::Number => "a number",
        Form::Boolean => "true or false",
    };
    format!("is {found}, expected {expected}")
}

/// A value is none of `values`.
pub(super) fn wrong_choice(values: &[Value], value: &Value) -> String {
    let names: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
    match value.as_str() {
        Some(text) if !names.is_empty() => {
            let near = nearest::nearest(text, names.iter().copied());
            let hint = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
            format!("{} is unknown; {hint}Known are `{}`", quoted(text), names.join("`, `"))
        }
        _ => {
            let choices: Vec<_> = values.iter().map(Value::to_string).collect();
            format!("is none of {}", choices.join(", "))
        }
    }
}

/// What a pattern stands for, for those that are frequent; otherwise the pattern.
pub(super) fn expected(pattern: &str) -> String {
    match pattern {
        r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" => {
            "a host name: lower-case letters, digits, `-` and `.`, without scheme or port, \
             `*.` only at the beginning"
        }
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
        | r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" => {
            "a DNS name: lower-case letters, digits, `-` and `.`, a letter or digit at either end"
        }
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" => {
            "a DNS label: lower-case letters, digits and `-`, a letter or digit at either end"
        }
        r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$" => {
            "a kind: letters, digits and `-`, beginning with a letter"
        }
        r"^([0-9]{1,5}(h|m|s|ms)){1,4}$" => {
            "a duration: whole numbers with the units h, m, s, ms, for example `500ms` or `1h30m`"
        }
        r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$" => {
            "an HTTP field name: letters, digits and !#$%&'*+-.^_`|~, without colon or space"
        }
        r"^[-._a-zA-Z0-9]+$" => "a key: letters, digits, `-`, `_` and `.`",
        other => return format!("of the form `{other}`"),
    }
    .to_owned()
}

/// Why a text has not the format, if it has not. Bytes are not quoted: they may be secret.
pub(super) fn wrong_format(format: Format, text: &str) -> Option<String> {
    let (right, expected) = match format {
        Format::Int32 | Format::Int64 => return None,
        Format::Ipv4 => (text.parse::<Ipv4Addr>().is_ok(), "an IPv4 address"),
        Format::Ipv6 => (text.parse::<Ipv6Addr>().is_ok(), "an IPv6 address"),
        Format::DateTime => (reads::<Time>(text), "an RFC 3339 time such as 2026-01-31T12:00:00Z"),
        Format::Byte if reads::<ByteString>(text) => return None,
        Format::Byte => {
            return Some("is not base64; plain text goes under `stringData`".to_owned());
        }
    };
    (!right).then(|| format!("{} is not {expected}", quoted(text)))
}

/// Words for a oneOf whose branches each ask for one field.
pub(super) fn exactly_one(branches: &[Node], value: &Value) -> Option<String> {
    let names: Vec<&str> = branches
        .iter()
        .map(|branch| match branch.required.as_slice() {
            [name] if branch.properties.is_empty() => Some(name.as_str()),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let given: Vec<_> = names.iter().filter(|name| value.get(**name).is_some()).collect();
    let found = match given.as_slice() {
        [] => "none is given".to_owned(),
        several => {
            let names: Vec<_> = several.iter().map(|name| format!("`{name}`")).collect();
            format!("{} are given: keep one", names.join(" and "))
        }
    };
    Some(format!("needs exactly one of `{}`, {found}", names.join("`, `")))
}

fn reads<T: DeserializeOwned>(text: &str) -> bool {
    serde_json::from_value::<T>(Value::String(text.to_owned())).is_ok()
}
