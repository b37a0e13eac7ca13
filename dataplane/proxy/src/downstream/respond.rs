//! Answers that the gateway makes itself, and the way of every answer through the steps.

use super::{Body, ongoing::Ongoing};
use crate::{
    filters::{Flow, on_response, response_fields},
    reason::Reason,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

const REASON: HeaderName = HeaderName::from_static("x-penstock-reason");

/// An answer without its body.
type Head = (StatusCode, HeaderMap);

/// The steps that a request passed: of its rule, and of its backendRef.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passed {
    /// Steps of the rule.
    pub rule: u16,
    /// The backendRef, and its steps.
    pub choice: Option<(usize, u16)>,
}

/// An answer that the gateway or a policy makes, after the response halves of the steps that the
/// request passed.
pub(super) fn made(flow: Flow, passed: Passed, mut ongoing: Box<Ongoing>) -> Response<Body> {
    let (head, body) = make(flow, &mut ongoing);
    ongoing.exchange.response = Some(head);
    let replaced = steps(&mut ongoing, passed);
    let head = head_of(&mut ongoing);
    respond(head, ongoing, |ongoing| Body::whole(replaced.unwrap_or(body), ongoing))
}

/// Puts a response through the response halves. Gives the body of an answer that took its place.
pub(super) fn steps(ongoing: &mut Ongoing, passed: Passed) -> Option<Bytes> {
    let mut replaced = None;
    let rule = ongoing.rule()?;
    let rule_steps = !rule.program.response.is_empty();
    let choice =
        passed.choice.filter(|(choice, _)| !rule.choices[*choice].program.response.is_empty());
    if !rule_steps && choice.is_none() {
        return None;
    }
    let connection = ongoing.connection.clone();
    let policies = &connection.worker.policies;
    let error = &mut ongoing.error;
    let mut replace = |exchange: &mut crate::filters::Exchange, flow| {
        let (head, body) = make_into(flow, error);
        exchange.response = Some(head);
        replaced = Some(body);
    };
    let exchange = &mut ongoing.exchange;
    if let Some((choice, passed)) = choice {
        on_response(exchange, |rule| &rule.choices[choice].program, policies, passed, &mut replace);
    }
    if rule_steps {
        on_response(exchange, |rule| &rule.program, policies, passed.rule, &mut replace);
    }
    replaced
}

/// The head that went through the steps.
pub(super) fn head_of(ongoing: &mut Ongoing) -> Head {
    ongoing.exchange.response.take().unwrap_or_else(|| {
        // Whoever calls this put a response in before.
        (StatusCode::INTERNAL_SERVER_ERROR, HeaderMap::new())
    })
}

/// The answer from its parts.
pub(super) fn respond(
    (status, headers): Head,
    mut ongoing: Box<Ongoing>,
    body: impl FnOnce(Box<Ongoing>) -> Body,
) -> Response<Body> {
    ongoing.status = status.as_u16();
    let mut response = Response::new(body(ongoing));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn make(flow: Flow, ongoing: &mut Ongoing) -> (Head, Bytes) {
    make_into(flow, &mut ongoing.error)
}

fn make_into(flow: Flow, error: &mut Option<Reason>) -> (Head, Bytes) {
    match flow {
        Flow::Respond(response) => {
            ((response.status, response_fields(&response)), response.body.clone())
        }
        Flow::Redirect(status, location) => {
            let mut headers = HeaderMap::with_capacity(2);
            headers.insert(header::LOCATION, location);
            ((status, headers), Bytes::new())
        }
        Flow::Fail(reason) => {
            *error = Some(reason);
            failure(reason)
        }
        // Nothing was decided where an answer was due.
        Flow::Next => {
            *error = Some(Reason::Configuration);
            failure(Reason::Configuration)
        }
    }
}

/// Status, bounded reason and nothing of the inside.
fn failure(reason: Reason) -> (Head, Bytes) {
    let status = reason.status();
    let text = format!(
        "{} {}: {}\n",
        status.as_str(),
        status.canonical_reason().unwrap_or_default(),
        reason.as_str()
    );
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(REASON, HeaderValue::from_static(reason.as_str()));
    ((status, headers), text.into())
}
