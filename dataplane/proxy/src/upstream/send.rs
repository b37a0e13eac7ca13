//! Sending a request to an endpoint of a backend.

use super::{BackendPool, Lease, Peer, RequestBody, connect::ConnectError, peer::Connection};
use crate::{
    reason::Reason,
    telemetry::{RequestRecord, SpanId, UpstreamTry, WorkerTelemetry, status_class},
};
use futures_util::{TryFutureExt as _, future::Either};
use http::{HeaderMap, Method, Request, Response, Uri, Version, header, uri};
use hyper::body::Incoming;
use std::{
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

/// Tries at connecting, each to another endpoint where there is one. Nothing was sent yet, so every
/// request may be tried again.
const CONNECT_TRIES: u32 = 3;

/// A request ready to be sent, in the form of HTTP/1.1: origin-form target, `Host` field.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// Method.
    pub method: Method,
    /// Target in origin form.
    pub uri: Uri,
    /// Fields of the message, without those of the connection.
    pub headers: HeaderMap,
    /// Body.
    pub body: RequestBody,
}

/// No answer.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// For the log, never for the client.
    pub message: String,
}

/// Sends a request to an endpoint of a backend and waits for the head of its answer. Takes the
/// request out of `outgoing`.
///
/// The future is a part of what hyper keeps for each client connection: what is rare in it is boxed.
///
/// # Errors
/// [`Failure`]; everything that may be tried again was.
pub async fn send(
    backend: &BackendPool,
    outgoing: &mut Outgoing,
    timeout: Option<Duration>,
    telemetry: &WorkerTelemetry,
    record: &mut RequestRecord,
) -> Result<(Response<Incoming>, Lease), Failure> {
    let mut avoid: Option<Rc<Peer>> = None;
    let mut connects = 0;
    let mut fresh = false;
    loop {
        let Some(peer) = backend.pick(avoid.as_ref()) else {
            return Err(Failure {
                reason: Reason::NoEndpoint,
                message: format!("backend {} has no ready endpoint", backend.name),
            });
        };
        let mut attempt = Try::begin(backend, telemetry, record, &mut outgoing.headers);
        let pooled = if fresh { None } else { peer.checkout() };
        attempt.reused = pooled.is_some();
        let connection = match pooled {
            Some(connection) => connection,
            None => match within(timeout, attempt.started, Box::pin(peer.dial())).await {
                Ok(Ok(connection)) => connection,
                Ok(Err(error)) => {
                    let failure = attempt.no_connection(&error, record);
                    connects += 1;
                    if connects >= CONNECT_TRIES {
                        return Err(failure);
                    }
                    avoid = Some(peer.clone());
                    continue;
                }
                Err(_) => return Err(attempt.failed(Reason::UpstreamTimeout, TIMEOUT, record)),
            },
        };
        if !attempt.reused {
            backend.cells.at(telemetry.worker()).connections_created.inc();
        }
        let mut lease = Lease::new(peer, connection);
        attempt.address = lease.address();
        let idempotent = outgoing.method.is_idempotent();
        let copy = may_repeat(outgoing, &attempt, &lease).then(|| Outgoing {
            method: outgoing.method.clone(),
            uri: outgoing.uri.clone(),
            headers: outgoing.headers.clone(),
            body: RequestBody::Empty,
        });
        let sent = {
            let answer = pin!(on(&mut lease, std::mem::take(outgoing)));
            within(timeout, attempt.started, answer).await
        };
        match sent {
            Ok(Ok(response)) => {
                attempt.answered(&response, record);
                lease.answered();
                return Ok((response, lease));
            }
            Err(_) => return Err(attempt.failed(Reason::UpstreamTimeout, TIMEOUT, record)),
            Ok(Err(Unsent { request, error })) => {
                let reason = reason_of(&error);
                let failure = attempt.failed(reason, &text_of(&error), record);
                let closed = attempt.reused && idempotent && reason == Reason::UpstreamReset;
                let again = request.or(copy.filter(|_| closed || is_unprocessed(&error)));
                match again {
                    Some(request) if !std::mem::replace(&mut fresh, true) => *outgoing = request,
                    _ => return Err(failure),
                }
            }
        }
    }
}

const TIMEOUT: &str = "the endpoint did not answer in time";

/// Whether a request may have to be sent again, and can be as it is: it has no body, and it could
/// meet an idle connection that is being closed (RFC 9112, section 9.3.1: idempotent methods alone)
/// or an HTTP/2 endpoint that says it has not looked at it (RFC 9113, section 8.7: any method).
fn may_repeat(outgoing: &Outgoing, attempt: &Try<'_>, lease: &Lease) -> bool {
    let closed = attempt.reused && outgoing.method.is_idempotent();
    outgoing.body.is_empty() && (closed || lease.is_h2())
}

/// Whether an HTTP/2 endpoint says that it has not looked at the request (RFC 9113, sections 6.8 and
/// 8.7).
fn is_unprocessed(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    let Some(error) = source.and_then(|source| source.downcast_ref::<h2::Error>()) else {
        return false;
    };
    match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) => true,
        Some(h2::Reason::NO_ERROR) => error.is_go_away() && error.is_remote(),
        _ => false,
    }
}

async fn within<F: Future>(
    limit: Option<Duration>,
    started: Instant,
    future: F,
) -> Result<F::Output, tokio::time::error::Elapsed> {
    match limit {
        None => Ok(future.await),
        Some(limit) => tokio::time::timeout_at((started + limit).into(), future).await,
    }
}

/// A request that brought no answer; it comes back where it was not written.
struct Unsent {
    request: Option<Outgoing>,
    error: hyper::Error,
}

/// Hands the request over at once; the future waits for the head of the answer.
fn on(
    lease: &mut Lease,
    outgoing: Outgoing,
) -> impl Future<Output = Result<Response<Incoming>, Unsent>> + use<> {
    let Some(connection) = lease.connection() else {
        // A lease has its connection until it is dropped.
        unreachable!("a lease without a connection");
    };
    let answer = match connection {
        Connection::H1(connection) => {
            Either::Left(connection.sender.try_send_request(h1_request(outgoing)))
        }
        Connection::H2(connection) => {
            Either::Right(connection.sender.clone().try_send_request(h2_request(outgoing)))
        }
    };
    answer.map_err(|mut error| Unsent {
        request: error.take_message().map(back),
        error: error.into_error(),
    })
}

fn h1_request(outgoing: Outgoing) -> Request<RequestBody> {
    let mut request = Request::new(outgoing.body);
    *request.method_mut() = outgoing.method;
    *request.uri_mut() = outgoing.uri;
    *request.headers_mut() = outgoing.headers;
    request
}

/// `Host` becomes `:authority` (RFC 9113, section 8.3.1).
fn h2_request(outgoing: Outgoing) -> Request<RequestBody> {
    let mut request = h1_request(outgoing);
    *request.version_mut() = Version::HTTP_2;
    let authority = request
        .headers_mut()
        .remove(header::HOST)
        .and_then(|host| uri::Authority::try_from(host.as_bytes()).ok());
    if let Some(authority) = authority {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(uri::Scheme::HTTP);
        parts.authority = Some(authority);
        // All three parts are there, so this does not fail; a target without authority is still one.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    }
    request
}

/// Back to the form of HTTP/1.1.
fn back(request: Request<RequestBody>) -> Outgoing {
    let (mut parts, body) = request.into_parts();
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = http::HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(header::HOST, host);
        let target = parts.uri.path_and_query().cloned();
        parts.uri = target.map(Uri::from).unwrap_or_default();
    }
    Outgoing { method: parts.method, uri: parts.uri, headers: parts.headers, body }
}

fn reason_of(error: &hyper::Error) -> Reason {
    match error {
        error if error.is_parse() => Reason::UpstreamProtocol,
        error if error.is_timeout() => Reason::UpstreamTimeout,
        _ => Reason::UpstreamReset,
    }
}

fn text_of(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// One try, for telemetry.
struct Try<'b> {
    backend: &'b BackendPool,
    worker: usize,
    started: Instant,
    span: SpanId,
    reused: bool,
    address: Option<std::net::SocketAddr>,
}

impl<'b> Try<'b> {
    fn begin(
        backend: &'b BackendPool,
        telemetry: &WorkerTelemetry,
        record: &RequestRecord,
        headers: &mut HeaderMap,
    ) -> Self {
        Self {
            backend,
            worker: telemetry.worker(),
            started: Instant::now(),
            span: record.inject(telemetry.tracer(), headers),
            reused: false,
            address: None,
        }
    }

    fn answered(&self, response: &Response<Incoming>, record: &mut RequestRecord) {
        let status = response.status().as_u16();
        let cells = self.backend.cells.at(self.worker);
        cells.responses[status_class(status)].inc();
        cells.duration.observe(self.started.elapsed());
        if self.reused {
            cells.connections_reused.inc();
        }
        self.note(Some(status), None, record);
    }

    fn no_connection(&self, error: &ConnectError, record: &mut RequestRecord) -> Failure {
        self.failed(Reason::UpstreamConnect, &error.to_string(), record)
    }

    fn failed(&self, reason: Reason, message: &str, record: &mut RequestRecord) -> Failure {
        self.backend.cells.at(self.worker).failures.inc(reason.as_str());
        self.note(None, Some(reason.as_str()), record);
        Failure { reason, message: format!("backend {}: {message}", self.backend.name) }
    }

    fn note(&self, status: Option<u16>, error: Option<&'static str>, record: &mut RequestRecord) {
        record.note(|detail| {
            detail.tries.push(UpstreamTry {
                span: self.span,
                backend: self.backend.name.clone(),
                address: self.address,
                reused: self.reused,
                started: self.started,
                duration: self.started.elapsed(),
                status,
                error,
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(method: Method) -> Outgoing {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, http::HeaderValue::from_static("a.org:81"));
        headers.insert("x", http::HeaderValue::from_static("1"));
        Outgoing { method, uri: Uri::from_static("/p?q"), headers, body: RequestBody::Empty }
    }

    #[test]
    fn rfc9113_8_3_1_host_becomes_authority_and_back() {
        let request = h2_request(outgoing(Method::GET));
        assert_eq!(request.uri(), "http://a.org:81/p?q");
        assert!(!request.headers().contains_key(header::HOST));
        let again = back(request);
        assert_eq!(again.uri, "/p?q");
        assert_eq!(again.headers[header::HOST], "a.org:81");
        assert_eq!(again.headers["x"], "1");
    }
}
