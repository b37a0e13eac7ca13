//! What is known of one request, for its spans and its line in the access log.
//!
//! A [`RequestRecord`] is carried by every request. Where neither the access log nor a sampled trace
//! wants it, it is an instant and two empty options: nothing is allocated and nothing is copied.
//! Else the details live in one box, filled through [`RequestRecord::note`], whose closure does not
//! run when nobody listens. Details hold reference-counted values; text is made from them on the
//! threads that write, not on the worker.

use super::trace::context::{RequestTrace, SpanId};
use http::{HeaderValue, Method, Version, header, uri::PathAndQuery};
use penstock_filter_host::{FilterFailure, SpanNotes, Tier};
use smallvec::SmallVec;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// What is the same for every request of a connection.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The port that clients see, before any port offset.
    pub port: u16,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Present on TLS connections.
    pub tls: Option<TlsInfo>,
}

/// What telemetry wants to know of a TLS connection.
#[derive(Clone, Debug)]
pub struct TlsInfo {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// Server name that the client asked for.
    pub sni: Option<Arc<str>>,
}

/// One request from its head to the end of its response.
#[derive(Debug)]
pub struct RequestRecord {
    pub(super) started: Instant,
    pub(super) trace: Option<Box<RequestTrace>>,
    pub(super) detail: Option<Box<RequestDetail>>,
}

impl RequestRecord {
    /// A record that nobody listens to.
    pub fn silent(started: Instant) -> Self {
        Self { started, trace: None, detail: None }
    }

    /// When the request's head had arrived.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Whether details are wanted. Ask before measuring what only a detail needs.
    #[inline]
    pub fn wants_detail(&self) -> bool {
        self.detail.is_some()
    }

    /// Whether the request's trace is sampled, so that filters should put notes on their spans.
    #[inline]
    pub fn recording(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| trace.sampled())
    }

    /// The trace, when tracing is on, sampled or not.
    #[inline]
    pub fn trace(&self) -> Option<&RequestTrace> {
        self.trace.as_deref()
    }

    /// Trace id in lower-case hexadecimal, when tracing is on.
    #[inline]
    pub fn trace_id(&self) -> Option<&str> {
        self.trace.as_ref().map(|trace| trace.trace_id_text())
    }

    /// Fills in details; `fill` does not run when nobody wants them.
    #[inline]
    pub fn note(&mut self, fill: impl FnOnce(&mut RequestDetail)) {
        if let Some(detail) = &mut self.detail {
            fill(detail);
        }
    }
}

/// The details of one request.
#[derive(Debug)]
pub struct RequestDetail {
    /// Wall-clock time of the start.
    pub started_at: SystemTime,
    /// The same moment on the monotonic clock.
    pub started: Instant,
    /// From the head of the request to the end of the response.
    pub duration: Duration,
    /// The connection.
    pub connection: Arc<ConnectionInfo>,
    /// Method as sent.
    pub method: Method,
    /// Protocol version as sent.
    pub version: Version,
    /// `Host` or `:authority` as sent.
    pub host: Option<Box<str>>,
    /// Path and query as sent; absent for `*` and authority forms.
    pub target: Option<PathAndQuery>,
    /// Path and query as the upstream gets them, where a rewrite made them different.
    pub upstream_target: Option<PathAndQuery>,
    /// `User-Agent` as sent.
    pub user_agent: Option<HeaderValue>,
    /// `X-Request-Id` of the request.
    pub request_id: Option<HeaderValue>,
    /// The client's address after the trusted hops were taken off; the peer's until it is set.
    pub client: IpAddr,
    /// Key of the listener, `namespace/gateway/section`.
    pub listener: Option<Arc<str>>,
    /// `namespace/name` of the HTTPRoute.
    pub route: Option<Arc<str>>,
    /// Id of the rule within the route.
    pub rule: Option<Arc<str>>,
    /// The path that the rule's match is written with: `http.route`.
    pub pattern: Option<Arc<str>>,
    /// The policies that had a say, in order.
    pub filters: SmallVec<[FilterRun; 4]>,
    /// Tries to reach an upstream, in order.
    pub tries: SmallVec<[UpstreamTry; 1]>,
    /// Attributes that policies set on the exchange.
    pub attributes: Vec<(Box<str>, Box<str>)>,
    /// Status sent to the client; 0 where the client left before one was sent.
    pub status: u16,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the response's body.
    pub response_bytes: u64,
    /// Bounded reason where the gateway itself made the answer, or the exchange broke off.
    pub error: Option<&'static str>,
}

impl RequestDetail {
    /// The details that a request's head gives.
    pub(super) fn of<B>(
        request: &http::Request<B>,
        connection: &Arc<ConnectionInfo>,
        started: Instant,
    ) -> Self {
        let headers = request.headers();
        let host = request
            .uri()
            .authority()
            .map(|authority| authority.as_str())
            .or_else(|| headers.get(header::HOST).and_then(|value| value.to_str().ok()));
        Self {
            started_at: SystemTime::now(),
            started,
            duration: Duration::ZERO,
            connection: connection.clone(),
            method: request.method().clone(),
            version: request.version(),
            host: host.map(Into::into),
            target: request.uri().path_and_query().cloned(),
            upstream_target: None,
            user_agent: headers.get(header::USER_AGENT).cloned(),
            request_id: headers.get("x-request-id").cloned(),
            client: connection.peer.ip(),
            listener: None,
            route: None,
            rule: None,
            pattern: None,
            filters: SmallVec::new(),
            tries: SmallVec::new(),
            attributes: Vec::new(),
            status: 0,
            request_bytes: 0,
            response_bytes: 0,
            error: None,
        }
    }

    /// Path without query.
    pub fn path(&self) -> &str {
        self.target.as_ref().map_or("*", |target| target.path())
    }

    /// Wall-clock time of a moment of this request.
    pub(super) fn wall(&self, moment: Instant) -> SystemTime {
        self.started_at + moment.saturating_duration_since(self.started)
    }

    /// Version as OpenTelemetry's `network.protocol.version` has it.
    pub fn version_text(&self) -> &'static str {
        match self.version {
            Version::HTTP_09 => "0.9",
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            Version::HTTP_3 => "3",
            _ => "1.1",
        }
    }
}

/// Where in an exchange a policy was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterStage {
    /// Header policy on the request.
    Request,
    /// Header policy on the response.
    Response,
    /// Path policy.
    Path,
}

impl FilterStage {
    /// Value of the `penstock.filter.stage` attribute.
    pub fn name(self) -> &'static str {
        match self {
            FilterStage::Request => "request",
            FilterStage::Response => "response",
            FilterStage::Path => "path",
        }
    }
}

/// What came of asking a policy. Bounded, so that it labels metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterVerdict {
    /// It had nothing to say.
    Next,
    /// It changed fields.
    Edit,
    /// It answered itself.
    Respond,
    /// It changed the target.
    Rewrite,
    /// It sent the client elsewhere.
    Redirect,
    /// It named a backend.
    Backend,
    /// It failed and was skipped (`onFailure: Open`).
    Skipped(FilterFailure),
    /// It failed and the request was answered with an error.
    Failed(FilterFailure),
}

impl FilterVerdict {
    /// How many different names there are.
    pub const COUNT: usize = 8;
    /// Every name, by [`FilterVerdict::index`].
    pub const NAMES: [&'static str; Self::COUNT] =
        ["next", "edit", "respond", "rewrite", "redirect", "backend", "skipped", "failed"];

    /// Position in [`FilterVerdict::NAMES`].
    pub fn index(self) -> usize {
        match self {
            FilterVerdict::Next => 0,
            FilterVerdict::Edit => 1,
            FilterVerdict::Respond => 2,
            FilterVerdict::Rewrite => 3,
            FilterVerdict::Redirect => 4,
            FilterVerdict::Backend => 5,
            FilterVerdict::Skipped(_) => 6,
            FilterVerdict::Failed(_) => 7,
        }
    }

    /// Label value for metrics, spans and the access log.
    pub fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// Why it failed, where it did.
    pub fn failure(self) -> Option<FilterFailure> {
        match self {
            FilterVerdict::Skipped(failure) | FilterVerdict::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

/// One policy that had a say in a request.
#[derive(Debug)]
pub struct FilterRun {
    /// `namespace/name` of the WasmFilter.
    pub name: Arc<str>,
    /// Where it was asked.
    pub stage: FilterStage,
    /// How the decision came about.
    pub tier: Tier,
    /// The decision.
    pub verdict: FilterVerdict,
    /// When it was asked.
    pub started: Instant,
    /// How long it took.
    pub duration: Duration,
    /// What the policy put on its span.
    pub notes: Option<Box<SpanNotes>>,
    /// What went wrong, in words.
    pub message: Option<Box<str>>,
}

/// One try to reach an upstream.
#[derive(Debug)]
pub struct UpstreamTry {
    /// Id of the client span whose context the upstream was given; zero without a trace.
    pub span: SpanId,
    /// Key of the backend, `namespace/name:port`.
    pub backend: Arc<str>,
    /// The endpoint; absent where none could be chosen or its name not resolved.
    pub address: Option<SocketAddr>,
    /// Whether a pooled connection was used.
    pub reused: bool,
    /// When the try began.
    pub started: Instant,
    /// Until the head of the response, or the failure.
    pub duration: Duration,
    /// Status that the upstream answered with.
    pub status: Option<u16>,
    /// Bounded reason of a failure.
    pub error: Option<&'static str>,
}
