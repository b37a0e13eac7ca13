//! What a policy may decide, and the words for it.

use std::fmt::Display;

pub use crate::bindings::headers::Decision;
pub use crate::bindings::types::{Edit, Field, Response};

/// "I cannot decide": the failure policy of the `WasmFilter` applies. The text goes to log and
/// trace, never to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(pub String);

impl<E: Display> From<E> for Fault {
    fn from(error: E) -> Fault {
        Fault(error.to_string())
    }
}

/// Changes of fields, in order. All or none of them are made.
#[derive(Debug, Clone, PartialEq, Default)]
#[must_use = "edits do nothing until they are returned"]
pub struct Edits(Vec<Edit>);

/// Replaces every field of that name by one.
pub fn set(name: impl Into<String>, value: impl Into<String>) -> Edits {
    Edits::default().set(name, value)
}

/// Adds one more field of that name.
pub fn append(name: impl Into<String>, value: impl Into<String>) -> Edits {
    Edits::default().append(name, value)
}

/// Removes every field of that name.
pub fn remove(name: impl Into<String>) -> Edits {
    Edits::default().remove(name)
}

/// Sets an attribute of the exchange: later policies, the access log and the trace see it, the
/// other side never does.
pub fn set_attribute(name: impl Into<String>, value: impl Into<String>) -> Edits {
    Edits::default().set_attribute(name, value)
}

/// An answer that the policy gives itself. `status` is 200 to 599.
pub fn respond(status: u16) -> Response {
    Response { status, headers: Vec::new(), body: Vec::new() }
}

impl Edits {
    /// See [`set`].
    pub fn set(self, name: impl Into<String>, value: impl Into<String>) -> Edits {
        self.and(Edit::Set(field(name, value)))
    }

    /// See [`append`].
    pub fn append(self, name: impl Into<String>, value: impl Into<String>) -> Edits {
        self.and(Edit::Append(field(name, value)))
    }

    /// See [`remove`].
    pub fn remove(self, name: impl Into<String>) -> Edits {
        self.and(Edit::Remove(name.into()))
    }

    /// See [`set_attribute`].
    pub fn set_attribute(self, name: impl Into<String>, value: impl Into<String>) -> Edits {
        self.and(Edit::Attribute(field(name, value)))
    }

    /// One more change.
    pub fn and(mut self, edit: Edit) -> Edits {
        self.0.push(edit);
        self
    }
}

impl Response {
    /// Adds a field.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Response {
        self.headers.push(field(name, value));
        self
    }

    /// Sets a body of plain text, at most 64 KiB.
    #[must_use]
    pub fn text(self, body: impl Into<String>) -> Response {
        self.body("text/plain; charset=utf-8", body.into())
    }

    /// Sets a body of a media type, at most 64 KiB.
    #[must_use]
    pub fn body(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Response {
        self.body = body.into();
        self.header("content-type", media_type)
    }
}

impl Field {
    /// A field. `name` is lower-case.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Field {
        field(name, value)
    }
}

fn field(name: impl Into<String>, value: impl Into<String>) -> Field {
    Field { name: name.into(), value: value.into() }
}

impl From<Edits> for Vec<Edit> {
    fn from(edits: Edits) -> Vec<Edit> {
        edits.0
    }
}

impl FromIterator<Edit> for Edits {
    fn from_iter<I: IntoIterator<Item = Edit>>(edits: I) -> Edits {
        Edits(edits.into_iter().collect())
    }
}

impl From<Edits> for Decision {
    fn from(edits: Edits) -> Decision {
        if edits.0.is_empty() { Decision::Next } else { Decision::Edit(edits.0) }
    }
}

impl From<Response> for Decision {
    fn from(response: Response) -> Decision {
        Decision::Respond(response)
    }
}

/// What a header policy's function may return: a [`Decision`], [`Edits`], a [`Response`], nothing
/// (`()` or `None`), or a `Result` of these whose error is a fault.
pub trait IntoDecision {
    /// The decision.
    ///
    /// # Errors
    /// The policy cannot decide.
    fn into_decision(self) -> Result<Decision, Fault>;
}

impl IntoDecision for Decision {
    fn into_decision(self) -> Result<Decision, Fault> {
        Ok(self)
    }
}

impl IntoDecision for Edits {
    fn into_decision(self) -> Result<Decision, Fault> {
        Ok(self.into())
    }
}

impl IntoDecision for Response {
    fn into_decision(self) -> Result<Decision, Fault> {
        Ok(self.into())
    }
}

impl IntoDecision for () {
    fn into_decision(self) -> Result<Decision, Fault> {
        Ok(Decision::Next)
    }
}

impl<D: IntoDecision> IntoDecision for Option<D> {
    fn into_decision(self) -> Result<Decision, Fault> {
        self.map_or(Ok(Decision::Next), D::into_decision)
    }
}

impl<D: IntoDecision, E: Into<Fault>> IntoDecision for Result<D, E> {
    fn into_decision(self) -> Result<Decision, Fault> {
        self.map_err(Into::into)?.into_decision()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_keep_their_order() {
        let decision = remove("x-a").set("x-a", "1").append("x-a", "2").into_decision();
        let expected = vec![
            Edit::Remove("x-a".into()),
            Edit::Set(field("x-a", "1")),
            Edit::Append(field("x-a", "2")),
        ];
        assert_eq!(decision, Ok(Decision::Edit(expected)));
    }

    #[test]
    fn no_edits_are_no_decision() {
        assert_eq!(Edits::default().into_decision(), Ok(Decision::Next));
        assert_eq!(None::<Edits>.into_decision(), Ok(Decision::Next));
    }

    #[test]
    fn an_error_is_a_fault() {
        let error = "seven".parse::<u8>().unwrap_err();
        let text = error.to_string();
        assert_eq!(Err::<Edits, _>(error).into_decision(), Err(Fault(text)));
    }

    #[test]
    fn a_text_answer_says_its_media_type() {
        let response = respond(401).text("no");
        assert_eq!(response.headers, vec![field("content-type", "text/plain; charset=utf-8")]);
    }
}
