//! Types, limits, unknown and missing fields, and what makes list items distinct.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::node::{Form, Format, ListType, Node};
use super::{Findings, child, forms, nearest, quoted};

/// Checks a whole object.
pub(super) fn check(node: &Node, value: &Value, findings: &mut Findings) {
    check_at(node, value, "", true, findings);
}

/// Checks `value` at `at`. `whole` is false within a branch of oneOf, anyOf or not, which describes
/// only part of the value, so that fields it does not name are not unknown.
fn check_at(node: &Node, value: &Value, at: &str, whole: bool, findings: &mut Findings) {
    if let Some(form) = node.form
        && !has_form(form, value)
    {
        findings.block(at, forms::wrong_type(form, value));
        return;
    }
    if node.int_or_string && !value.is_string() && !in_range(Format::Int32, value) {
        findings.block(at, "must be a whole number or a text");
    }
    if !node.values.is_empty() && !node.values.contains(value) {
        findings.refuse(at, forms::wrong_choice(&node.values, value));
    }
    match value {
        Value::Object(fields) => object(node, fields, at, whole, findings),
        Value::Array(items) => array(node, items, at, whole, findings),
        Value::String(text) => string(node, text, at, findings),
        Value::Number(_) => number(node, value, at, findings),
        Value::Bool(_) | Value::Null => {}
    }
    branches(node, value, at, findings);
}

fn object(
    node: &Node,
    fields: &Map<String, Value>,
    at: &str,
    whole: bool,
    findings: &mut Findings,
) {
    for name in &node.required {
        if !fields.contains_key(name) {
            findings.block(&child(at, name), format!("`{name}` is required: add it"));
        }
    }
    if let Some(max) = node.max_properties
        && fields.len() > max
    {
        findings.block(at, format!("has {} entries, at most {max} are allowed", fields.len()));
    }
    // An object whose fields are nowhere listed may have any, as in managedFields.
    let closed = whole && !node.preserve && !node.properties.is_empty();
    for (name, field) in fields {
        let at = child(at, name);
        if let Some(names) = &node.property_names {
            string(names, name, &at, findings);
        }
        match node.properties.get(name).or(node.additional_properties.as_deref()) {
            Some(schema) => check_at(schema, field, &at, whole, findings),
            None if closed => findings.refuse(&at, nearest::unknown_field(name, &node.properties)),
            None => {}
        }
    }
}

fn array(node: &Node, items: &[Value], at: &str, whole: bool, findings: &mut Findings) {
    if let Some(min) = node.min_items
        && items.len() < min
    {
        findings.refuse(at, format!("has {} items, at least {min} must be given", items.len()));
    }
    if let Some(max) = node.max_items
        && items.len() > max
    {
        // CEL rules count on the limit: the API server does not run them past it.
        findings.block(at, format!("has {} items, at most {max} are allowed", items.len()));
    }
    if let Some(schema) = &node.items {
        for (index, item) in items.iter().enumerate() {
            check_at(schema, item, &child(at, &index.to_string()), whole, findings);
        }
    }
    distinct(node, items, at, findings);
}

/// `x-kubernetes-list-type`: "set" has no item twice, "map" no two items with the same keys.
fn distinct(node: &Node, items: &[Value], at: &str, findings: &mut Findings) {
    let key = |item: &Value| match node.list {
        Some(ListType::Set) => Some(item.to_string()),
        Some(ListType::Map) => {
            Some(node.list_keys.iter().map(|key| format!("{}\0", item[key])).collect::<String>())
        }
        Some(ListType::Atomic) | None => None,
    };
    let mut first = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        let Some(key) = key(item) else { return };
        let earlier = *first.entry(key).or_insert(index);
        if earlier != index {
            let what = match node.list_keys.as_slice() {
                [] => "the same value".to_owned(),
                keys => format!("the same `{}`", keys.join("` and `")),
            };
            let message = format!("has {what} as item {earlier}: merge the two or remove one");
            findings.refuse(&child(at, &index.to_string()), message);
        }
    }
}

fn string(node: &Node, text: &str, at: &str, findings: &mut Findings) {
    let length = text.chars().count();
    if let Some(min) = node.min_length
        && length < min
    {
        let message = if length == 0 {
            "must not be empty".to_owned()
        } else {
            format!("has {length} characters, at least {min} are needed")
        };
        findings.refuse(at, message);
        return;
    }
    if let Some(max) = node.max_length
        && length > max
    {
        findings.block(at, format!("has {length} characters, at most {max} are allowed"));
    }
    if let Some(pattern) = &node.pattern
        && !pattern.matches(text)
    {
        findings.refuse(at, format!("{} is not {}", quoted(text), forms::expected(&pattern.text)));
    }
    if let Some(format) = node.format
        && let Some(message) = forms::wrong_format(format, text)
    {
        findings.refuse(at, message);
    }
}

fn number(node: &Node, value: &Value, at: &str, findings: &mut Findings) {
    if let Some(format) = node.format
        && !in_range(format, value)
    {
        findings.block(at, format!("{value} is too large or too small for this field"));
    }
    let number = value.as_f64().unwrap_or_default();
    let bound = match (node.minimum, node.maximum) {
        (Some(min), Some(max)) if number < min || number > max => format!("from {min} to {max}"),
        (Some(min), None) if number < min => format!("at least {min}"),
        (None, Some(max)) if number > max => format!("at most {max}"),
        _ => return,
    };
    findings.refuse(at, format!("{value} is out of range: it must be {bound}"));
}

fn branches(node: &Node, value: &Value, at: &str, findings: &mut Findings) {
    let accepted = |branch: &&Node| accepts(branch, value);
    if !node.one_of.is_empty() && node.one_of.iter().filter(accepted).count() != 1 {
        let message = forms::exactly_one(&node.one_of, value)
            .unwrap_or_else(|| explain(&node.one_of, value, at));
        findings.refuse(at, message);
    }
    if !node.any_of.is_empty() && !node.any_of.iter().any(|branch| accepts(branch, value)) {
        findings.refuse(at, explain(&node.any_of, value, at));
    }
    if let Some(refused) = &node.not
        && accepts(refused, value)
    {
        findings.refuse(at, "has a value that is not allowed here");
    }
}

fn accepts(branch: &Node, value: &Value) -> bool {
    let mut findings = Findings::default();
    check_at(branch, value, "", false, &mut findings);
    findings.violations.is_empty()
}

/// What is wrong with a value that none of several forms describes: the fewest complaints.
fn explain(branches: &[Node], value: &Value, at: &str) -> String {
    let complaints = branches.iter().map(|branch| {
        let mut findings = Findings::default();
        check_at(branch, value, at, false, &mut findings);
        findings.violations
    });
    let all: Vec<_> = complaints.filter_map(|found| found.into_iter().next()).collect();
    let texts: Vec<_> = all
        .iter()
        .map(|violation| match violation.pointer.strip_prefix(at) {
            Some("") | None => violation.message.clone(),
            Some(below) => format!("{} {}", &below[1..], violation.message),
        })
        .collect();
    match texts.as_slice() {
        [] => "is ambiguous: more than one of the allowed forms describes it".to_owned(),
        texts => format!("has none of the allowed forms: {}", texts.join("; or ")),
    }
}

fn has_form(form: Form, value: &Value) -> bool {
    match form {
        Form::Object => value.is_object(),
        Form::Array => value.is_array(),
        Form::String => value.is_string(),
        Form::Integer => value.is_i64() || value.is_u64(),
        Form::Number => value.is_number(),
        Form::Boolean => value.is_boolean(),
    }
}

fn in_range(format: Format, value: &Value) -> bool {
    match format {
        Format::Int32 => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        Format::Int64 => value.is_i64(),
        _ => true,
    }
}
