//! Header edits and answers.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::{Refusal, attribute, clip};
use crate::bindings::policy::{headers as raw, types};
use crate::decision::{Edit, HeaderDecision, Response};
use crate::plan::{WriteSet, field_name, is_forbidden, is_forbidden_name};

/// Most edits of a decision and most fields of an answer.
const MAX_FIELDS: usize = 256;
/// Most bytes of all values of a decision.
const MAX_VALUES: usize = 64 << 10;
/// Most bytes of an answer's body.
const MAX_BODY: usize = 64 << 10;

/// A header policy's decision: all of it, or a refusal.
pub(crate) fn headers(
    decision: raw::Decision,
    writes: &WriteSet,
) -> Result<HeaderDecision, Refusal> {
    Ok(match decision {
        raw::Decision::Next => HeaderDecision::Next,
        raw::Decision::Edit(list) if list.is_empty() => HeaderDecision::Next,
        raw::Decision::Edit(list) => HeaderDecision::Edit(edits(list, writes)?),
        raw::Decision::Respond(answer) => HeaderDecision::Respond(response(answer)?),
    })
}

/// Edits within a write set.
pub(super) fn edits(list: Vec<types::Edit>, writes: &WriteSet) -> Result<Arc<[Edit]>, Refusal> {
    if list.len() > MAX_FIELDS {
        return Err(Refusal::value(format!("{} edits, {MAX_FIELDS} are the limit", list.len())));
    }
    let mut bytes = 0;
    let edits = list.into_iter().map(|edit| {
        Ok(match edit {
            types::Edit::Set(field) => {
                let name = allowed(&field.name, writes)?;
                Edit::Set(name, value(field, &mut bytes)?)
            }
            types::Edit::Append(field) => {
                let name = allowed(&field.name, writes)?;
                Edit::Append(name, value(field, &mut bytes)?)
            }
            types::Edit::Remove(name) => Edit::Remove(allowed(&name, writes)?),
            types::Edit::Attribute(field) => {
                let (name, value) = attribute(field.name, field.value)?;
                Edit::Attribute(name, value)
            }
        })
    });
    edits.collect()
}

/// An answer that a policy gives itself.
pub(super) fn response(answer: types::Response) -> Result<Arc<Response>, Refusal> {
    let status = match answer.status {
        status @ 200..=599 => StatusCode::from_u16(status).ok(),
        _ => None,
    };
    let status = status
        .ok_or_else(|| Refusal::value(format!("status {}: 200 to 599 only", answer.status)))?;
    if answer.body.len() > MAX_BODY {
        return Err(Refusal::value(format!(
            "body of {} bytes, {MAX_BODY} are the limit",
            answer.body.len()
        )));
    }
    if matches!(answer.status, 204 | 205 | 304) && !answer.body.is_empty() {
        return Err(Refusal::value(format!("status {} has no body", answer.status)));
    }
    if answer.headers.len() > MAX_FIELDS {
        return Err(Refusal::value(format!("more than {MAX_FIELDS} header fields")));
    }
    let mut bytes = 0;
    let headers = answer.headers.into_iter().map(|field| {
        let name = name(&field.name)?;
        if is_forbidden(&name) {
            return Err(Refusal::denied(&field.name));
        }
        Ok((name, value(field, &mut bytes)?))
    });
    let headers = headers.collect::<Result<_, _>>()?;
    Ok(Arc::new(Response { status, headers, body: Bytes::from(answer.body) }))
}

fn name(text: &str) -> Result<HeaderName, Refusal> {
    if is_forbidden_name(text) {
        return Err(Refusal::denied(text));
    }
    let wrong = || Refusal::value(format!("`{}` is no lower-case field name", clip(text)));
    field_name(text).ok_or_else(wrong)
}

fn allowed(text: &str, writes: &WriteSet) -> Result<HeaderName, Refusal> {
    // As good as always, and then nothing is copied or checked again.
    if let Some(name) = writes.listed(text) {
        return Ok(name.clone());
    }
    let name = name(text)?;
    if writes.allows(&name) { Ok(name) } else { Err(Refusal::denied(text)) }
}

fn value(field: types::Field, bytes: &mut usize) -> Result<HeaderValue, Refusal> {
    *bytes += field.value.len();
    if *bytes > MAX_VALUES {
        return Err(Refusal::value(format!("values of more than {MAX_VALUES} bytes")));
    }
    // Takes over the string's buffer: no copy.
    HeaderValue::from_maybe_shared(Bytes::from(field.value)).map_err(|_| {
        Refusal::value(format!("value of `{}` holds a control character", clip(&field.name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::FilterFailure::{BadValue, WriteDenied};

    fn field(name: &str, value: &str) -> types::Field {
        types::Field { name: name.to_owned(), value: value.to_owned() }
    }

    fn set(name: &str, value: &str) -> types::Edit {
        types::Edit::Set(field(name, value))
    }

    fn writes() -> WriteSet {
        WriteSet::parse(&["x-a".to_owned(), "x-app-*".to_owned()]).expect("a write set")
    }

    fn failure(list: Vec<types::Edit>) -> crate::FilterFailure {
        edits(list, &writes()).expect_err("a refusal").failure
    }

    #[test]
    fn edits_within_the_write_set_keep_their_order() {
        let list = vec![
            set("x-a", "ü\t1"),
            types::Edit::Append(field("x-app-id", "7")),
            types::Edit::Remove("x-a".to_owned()),
            types::Edit::Attribute(field("tenant", "acme")),
        ];
        let expected = [
            Edit::Set(
                HeaderName::from_static("x-a"),
                HeaderValue::from_bytes("ü\t1".as_bytes()).expect("text"),
            ),
            Edit::Append(HeaderName::from_static("x-app-id"), HeaderValue::from_static("7")),
            Edit::Remove(HeaderName::from_static("x-a")),
            Edit::Attribute("tenant".into(), "acme".into()),
        ];
        assert_eq!(edits(list, &writes()).as_deref(), Ok(&expected[..]));
    }

    #[test]
    fn one_edit_outside_the_write_set_drops_the_whole_decision() {
        for name in ["x-b", "x-ap", "cookie"] {
            assert_eq!(failure(vec![set("x-a", "1"), set(name, "1")]), WriteDenied, "{name}");
            assert_eq!(failure(vec![types::Edit::Remove(name.to_owned())]), WriteDenied, "{name}");
        }
    }

    #[test]
    fn names_that_belong_to_the_connection_are_refused_under_any_write_set() {
        let all = WriteSet::parse(&["*".to_owned()]).expect("a write set");
        for name in [
            ":path",
            ":status",
            "host",
            "connection",
            "content-length",
            "transfer-encoding",
            "te",
            "trailer",
            "upgrade",
            "keep-alive",
            "proxy-connection",
        ] {
            let refusal = edits(vec![set(name, "1")], &all).expect_err("a refusal");
            assert_eq!(refusal.failure, WriteDenied, "{name}");
        }
    }

    #[test]
    fn values_and_names_that_would_break_a_message_are_refused() {
        for value in ["a\r\nx: y", "a\n", "\r", "a\0b", "\u{7f}", "\u{1}"] {
            assert_eq!(failure(vec![set("x-a", value)]), BadValue, "{value:?}");
        }
        for name in ["X-A", "x a", "", "x-a\r\n", "ä"] {
            assert_eq!(failure(vec![set(name, "1")]), BadValue, "{name:?}");
        }
        let attribute = |name: &str, value: &str| vec![types::Edit::Attribute(field(name, value))];
        assert_eq!(failure(attribute("a b", "1")), BadValue);
        assert_eq!(failure(attribute("a", "1\n2")), BadValue);
    }

    #[test]
    fn a_decision_is_bounded() {
        assert_eq!(failure((0..257).map(|_| set("x-a", "1")).collect()), BadValue);
        let half = "x".repeat(MAX_VALUES / 2 + 1);
        assert_eq!(failure(vec![set("x-a", &half), set("x-a", &half)]), BadValue);
    }

    #[test]
    fn answers_have_a_final_status_a_bounded_body_and_no_framing_fields() {
        let answer = |status, name: &str, body: usize| {
            let headers = vec![field(name, "1")];
            response(types::Response { status, headers, body: vec![b'x'; body] })
        };
        assert!(answer(200, "set-cookie", MAX_BODY).is_ok(), "not bound by the write set");
        for (status, name, body, expected) in [
            (199, "x", 0, BadValue),
            (101, "x", 0, BadValue),
            (600, "x", 0, BadValue),
            (0, "x", 0, BadValue),
            (200, "x", MAX_BODY + 1, BadValue),
            (204, "x", 1, BadValue),
            (304, "x", 1, BadValue),
            (200, "content-length", 0, WriteDenied),
            (200, ":status", 0, WriteDenied),
            (200, "X", 0, BadValue),
        ] {
            let refusal = answer(status, name, body).expect_err("a refusal");
            assert_eq!(refusal.failure, expected, "{status} {name} {body}");
        }
    }
}
