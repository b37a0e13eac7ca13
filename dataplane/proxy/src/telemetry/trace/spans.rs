//! Spans of a finished request, by OpenTelemetry's semantic conventions for HTTP spans:
//! <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>.
//!
//! The query of a target is never put on a span: it may hold secrets.

use super::{
    context::{RequestTrace, SpanId},
    finished::Finished,
};
use crate::telemetry::record::{FilterRun, RequestDetail, UpstreamTry};
use http::Method;
use opentelemetry::{
    InstrumentationScope, KeyValue, StringValue, Value,
    trace::{Event, SpanContext, SpanKind, Status, TraceFlags},
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use penstock_filter_host::{SpanNotes, SpanValue, Tier};
use penstock_telemetry::trace::{Limits, ToSpans};
use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

/// Makes spans of requests.
struct Spans {
    scope: InstrumentationScope,
    ids: RandomIdGenerator,
    limits: Limits,
}

/// What differs between the spans of a request.
struct Draft {
    id: SpanId,
    parent: SpanId,
    parent_is_remote: bool,
    kind: SpanKind,
    name: Cow<'static, str>,
    start: SystemTime,
    duration: Duration,
    attributes: Vec<KeyValue>,
    events: Vec<Event>,
    status: Status,
}

impl ToSpans for Finished {
    fn to_spans(&self, limits: Limits, spans: &mut Vec<SpanData>) {
        Spans::new(limits).of(self, spans);
    }
}

impl Spans {
    fn new(limits: Limits) -> Self {
        let scope = InstrumentationScope::builder("penstock")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Self { scope, ids: RandomIdGenerator::default(), limits }
    }

    /// The spans of a request, its own first.
    fn of(&self, request: &Finished, spans: &mut Vec<SpanData>) {
        let Finished { detail, trace: Some(trace) } = request else { return };
        spans.push(self.finish(trace, server(detail, trace)));
        // Where the host saw without a call that the policy has nothing to say, it did not run.
        for run in detail.filters.iter().filter(|run| run.tier != Tier::GuardMiss) {
            spans.push(self.finish(trace, filter(detail, trace, run, self.ids.new_span_id())));
        }
        for (position, attempt) in detail.tries.iter().enumerate() {
            spans.push(self.finish(trace, client(detail, trace, attempt, position)));
        }
    }

    fn finish(&self, trace: &RequestTrace, mut draft: Draft) -> SpanData {
        let dropped_attributes = draft.attributes.len().saturating_sub(self.limits.attributes);
        draft.attributes.truncate(self.limits.attributes);
        let mut events = SpanEvents::default();
        events.dropped_count = draft.events.len().saturating_sub(self.limits.events) as u32;
        draft.events.truncate(self.limits.events);
        events.events = draft.events;
        SpanData {
            span_context: SpanContext::new(
                trace.trace_id(),
                draft.id,
                TraceFlags::new(trace.flags()),
                false,
                trace.state.clone(),
            ),
            parent_span_id: draft.parent,
            parent_span_is_remote: draft.parent_is_remote,
            span_kind: draft.kind,
            name: draft.name,
            start_time: draft.start,
            end_time: draft.start + draft.duration,
            attributes: draft.attributes,
            dropped_attributes_count: dropped_attributes as u32,
            events,
            links: SpanLinks::default(),
            status: draft.status,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

/// The span of the request in this gateway.
fn server(detail: &RequestDetail, trace: &RequestTrace) -> Draft {
    let method = known_method(&detail.method);
    let mut attributes = Vec::with_capacity(24);
    let mut put = |key, value: Value| attributes.push(KeyValue::new(key, value));
    put_method(&detail.method, &mut put);
    put("url.scheme", detail.connection.scheme.into());
    put("url.path", text(detail.path()));
    if let Some(host) = &detail.host {
        let (name, port) = split_port(host);
        put("server.address", text(name));
        put("server.port", i64::from(port.unwrap_or(detail.connection.port)).into());
    }
    put("client.address", text(&detail.client.to_string()));
    put("network.peer.address", text(&detail.connection.peer.ip().to_string()));
    put("network.peer.port", i64::from(detail.connection.peer.port()).into());
    put("network.protocol.version", detail.version_text().into());
    if let Some(tls) = &detail.connection.tls {
        put("tls.protocol.name", "tls".into());
        put("tls.protocol.version", tls.version.trim_start_matches("TLSv").into());
    }
    if let Some(agent) = &detail.user_agent {
        put("user_agent.original", lossy(agent.as_bytes()));
    }
    if let Some(id) = &detail.request_id {
        let values: Vec<StringValue> =
            vec![String::from_utf8_lossy(id.as_bytes()).into_owned().into()];
        put("http.request.header.x-request-id", Value::Array(values.into()));
    }
    if let Some(pattern) = &detail.pattern {
        put("http.route", text(pattern));
    }
    if detail.status != 0 {
        put("http.response.status_code", i64::from(detail.status).into());
    }
    put("http.request.body.size", (detail.request_bytes as i64).into());
    put("http.response.body.size", (detail.response_bytes as i64).into());
    if let Some(listener) = &detail.listener {
        put("penstock.listener", text(listener));
    }
    if let Some(route) = &detail.route {
        put("penstock.route", text(route));
    }
    if let Some(rule) = &detail.rule {
        put("penstock.rule", text(rule));
    }
    // "5xx are errors of the server's span, 4xx are not": status of HTTP server spans.
    let failed = detail.status == 0 || detail.status >= 500;
    if let Some(error) = detail.error {
        put("error.type", error.into());
    } else if failed {
        put("error.type", detail.status.to_string().into());
    }
    for (key, value) in &detail.attributes {
        attributes.push(KeyValue::new(format!("penstock.attribute.{key}"), text(value)));
    }
    Draft {
        id: trace.span_id,
        parent: trace.parent.unwrap_or(SpanId::INVALID),
        parent_is_remote: trace.parent.is_some(),
        kind: SpanKind::Server,
        name: match &detail.pattern {
            Some(pattern) => format!("{method} {pattern}").into(),
            None => method.into(),
        },
        start: detail.started_at,
        duration: detail.duration,
        attributes,
        events: Vec::new(),
        status: if failed { Status::error("") } else { Status::Unset },
    }
}

/// The span of one policy.
fn filter(detail: &RequestDetail, trace: &RequestTrace, run: &FilterRun, id: SpanId) -> Draft {
    let mut attributes = vec![
        KeyValue::new("penstock.filter", text(&run.name)),
        KeyValue::new("penstock.filter.stage", run.stage.name()),
        KeyValue::new("penstock.filter.tier", run.tier.name()),
        KeyValue::new("penstock.filter.verdict", run.verdict.name()),
    ];
    let mut status = Status::Unset;
    if let Some(failure) = run.verdict.failure() {
        attributes.push(KeyValue::new("error.type", failure.as_reason()));
        status = Status::error(run.message.as_deref().unwrap_or_default().to_owned());
    }
    let end = detail.wall(run.started) + run.duration;
    let mut events = Vec::new();
    if let Some(notes) = &run.notes {
        put_notes(notes, end, &mut attributes, &mut events);
    }
    Draft {
        id,
        parent: trace.span_id,
        parent_is_remote: false,
        kind: SpanKind::Internal,
        name: format!("filter {}", run.name).into(),
        start: detail.wall(run.started),
        duration: run.duration,
        attributes,
        events,
        status,
    }
}

/// What the policy put on its span itself. Names that begin with `penstock.` are the host's.
fn put_notes(
    notes: &SpanNotes,
    at: SystemTime,
    attributes: &mut Vec<KeyValue>,
    events: &mut Vec<Event>,
) {
    let theirs = attributes.len();
    for (key, value) in notes.attributes.iter().filter(|(key, _)| !key.starts_with("penstock.")) {
        let value = match value {
            SpanValue::Text(value) => text(value),
            SpanValue::Int(value) => (*value).into(),
            SpanValue::Real(value) => (*value).into(),
            SpanValue::Flag(value) => (*value).into(),
        };
        match attributes[theirs..].iter_mut().find(|known| known.key.as_str() == key) {
            Some(known) => known.value = value,
            None => attributes.push(KeyValue::new(key.clone(), value)),
        }
    }
    events.extend(notes.events.iter().map(|name| Event::new(name.clone(), at, Vec::new(), 0)));
}

/// The span of one try to reach an upstream.
fn client(
    detail: &RequestDetail,
    trace: &RequestTrace,
    attempt: &UpstreamTry,
    position: usize,
) -> Draft {
    let mut attributes = Vec::with_capacity(12);
    let mut put = |key, value: Value| attributes.push(KeyValue::new(key, value));
    put_method(&detail.method, &mut put);
    if let Some(address) = attempt.address {
        let target = detail.upstream_target.as_ref().or(detail.target.as_ref());
        let path = target.map_or("/", |target| target.path());
        put("url.full", format!("http://{address}{path}").into());
        put("server.address", text(&address.ip().to_string()));
        put("server.port", i64::from(address.port()).into());
        put("network.peer.address", text(&address.ip().to_string()));
        put("network.peer.port", i64::from(address.port()).into());
    }
    put("penstock.backend", text(&attempt.backend));
    put("penstock.connection.reused", attempt.reused.into());
    if position > 0 {
        put("http.request.resend_count", (position as i64).into());
    }
    if let Some(status) = attempt.status {
        put("http.response.status_code", i64::from(status).into());
    }
    // "4xx and 5xx are errors of the client's span": status of HTTP client spans.
    let failed_with = attempt.status.filter(|status| *status >= 400);
    let failed = failed_with.is_some() || attempt.error.is_some();
    if let Some(error) = attempt.error {
        put("error.type", error.into());
    } else if let Some(status) = failed_with {
        put("error.type", status.to_string().into());
    }
    Draft {
        id: attempt.span,
        parent: trace.span_id,
        parent_is_remote: false,
        kind: SpanKind::Client,
        name: known_method(&detail.method).into(),
        start: detail.wall(attempt.started),
        duration: attempt.duration,
        attributes,
        events: Vec::new(),
        status: if failed { Status::error("") } else { Status::Unset },
    }
}

/// Methods that the conventions know by name; any other is `HTTP` in a span's name.
fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] =
        ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("HTTP")
}

fn put_method(method: &Method, put: &mut impl FnMut(&'static str, Value)) {
    match known_method(method) {
        "HTTP" => {
            put("http.request.method", "_OTHER".into());
            put("http.request.method_original", text(method.as_str()));
        }
        known => put("http.request.method", known.into()),
    }
}

/// Host and port of an authority; an IPv6 literal without its brackets.
fn split_port(host: &str) -> (&str, Option<u16>) {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
        _ => (host, None),
    };
    (name.trim_start_matches('[').trim_end_matches(']'), port)
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned().into())
}

fn lossy(value: &[u8]) -> Value {
    Value::String(String::from_utf8_lossy(value).into_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::fixture;
    use std::collections::BTreeMap;

    const LIMITS: Limits = Limits { attributes: 128, events: 128 };

    fn spans_of(request: &Finished, limits: Limits) -> Vec<SpanData> {
        let mut spans = Vec::new();
        request.to_spans(limits, &mut spans);
        spans
    }

    fn attributes(span: &SpanData) -> BTreeMap<&str, String> {
        span.attributes.iter().map(|kv| (kv.key.as_str(), kv.value.to_string())).collect()
    }

    fn id(number: u64) -> SpanId {
        SpanId::from_bytes(number.to_be_bytes())
    }

    #[test]
    fn the_tree_is_one_server_span_with_a_child_for_each_policy_that_ran_and_each_try() {
        let spans = spans_of(&fixture::finished(), LIMITS);
        let shape: Vec<_> = spans.iter().map(|s| (s.span_kind.clone(), &*s.name)).collect();
        assert_eq!(
            shape,
            [
                (SpanKind::Server, "GET /v1"),
                (SpanKind::Internal, "filter shop/key"),
                (SpanKind::Internal, "filter shop/tidy"),
                (SpanKind::Client, "GET"),
                (SpanKind::Client, "GET"),
            ],
            "shop/silent did not run"
        );
        assert_eq!(spans[0].parent_span_id.to_string(), "00f067aa0ba902b7");
        assert!(spans[0].parent_span_is_remote);
        assert_eq!(spans[0].span_context.span_id(), id(7));
        for span in &spans {
            assert_eq!(
                span.span_context.trace_id().to_string(),
                "4bf92f3577b34da6a3ce929d0e0e4736"
            );
            assert!(span.span_context.is_sampled());
        }
        assert!(spans[1..].iter().all(|s| s.parent_span_id == id(7) && !s.parent_span_is_remote));
        assert_eq!(spans[3].span_context.span_id(), id(8), "the id that the upstream was given");
        assert_eq!(spans[4].span_context.span_id(), id(9));
    }

    #[test]
    fn the_server_span_follows_the_conventions_and_has_no_query() {
        let spans = spans_of(&fixture::finished(), LIMITS);
        let expected: BTreeMap<&str, String> = [
            ("http.request.method", "GET"),
            ("url.scheme", "https"),
            ("url.path", "/v1/things"),
            ("server.address", "api.example.com"),
            ("server.port", "443"),
            ("client.address", "203.0.113.9"),
            ("network.peer.address", "10.0.0.9"),
            ("network.peer.port", "4711"),
            ("network.protocol.version", "2"),
            ("tls.protocol.name", "tls"),
            ("tls.protocol.version", "1.3"),
            ("user_agent.original", "curl/8"),
            ("http.request.header.x-request-id", "[\"abc\"]"),
            ("http.route", "/v1"),
            ("http.response.status_code", "502"),
            ("http.request.body.size", "10"),
            ("http.response.body.size", "20"),
            ("penstock.listener", "shop/gw/https"),
            ("penstock.route", "shop/api"),
            ("penstock.rule", "things"),
            ("error.type", "502"),
            ("penstock.attribute.tenant", "red"),
        ]
        .map(|(key, value)| (key, value.to_owned()))
        .into();
        assert_eq!(attributes(&spans[0]), expected);
        assert_eq!(spans[0].status, Status::error(""));
        let millis = spans[0].end_time.duration_since(spans[0].start_time).unwrap();
        assert_eq!(millis, Duration::from_micros(12_345));
    }

    #[test]
    fn a_policys_span_has_its_verdict_and_its_own_notes_but_nothing_forged() {
        let spans = spans_of(&fixture::finished(), LIMITS);
        let key = attributes(&spans[1]);
        assert_eq!(key["penstock.filter"], "shop/key");
        assert_eq!(key["penstock.filter.stage"], "request");
        assert_eq!(key["penstock.filter.tier"], "call");
        assert_eq!(key["penstock.filter.verdict"], "edit");
        assert_eq!((key["key.id"].as_str(), key["key.age"].as_str()), ("last", "3"));
        assert_eq!(key.len(), spans[1].attributes.len(), "no key twice");
        assert_eq!(spans[1].events[0].name, "checked");
        assert_eq!(spans[1].status, Status::Unset);
        let tidy = attributes(&spans[2]);
        assert_eq!(tidy["error.type"], "filter-deadline");
        assert_eq!(spans[2].status, Status::error("the deadline of 5 ms passed"));
    }

    #[test]
    fn a_trys_span_says_whom_it_asked_and_how_that_ended() {
        let spans = spans_of(&fixture::finished(), LIMITS);
        let (first, second) = (attributes(&spans[3]), attributes(&spans[4]));
        assert_eq!(first["url.full"], "http://10.1.0.1:8080/things");
        assert_eq!(first["error.type"], "connection-reset");
        assert_eq!(first["penstock.connection.reused"], "true");
        assert!(!first.contains_key("http.request.resend_count"));
        assert_eq!(second["http.request.resend_count"], "1");
        assert_eq!(second["http.response.status_code"], "502");
        assert_eq!(second["server.address"], "10.1.0.2");
        assert_eq!(second["penstock.backend"], "shop/api:80");
        assert_eq!((&spans[3].status, &spans[4].status), (&Status::error(""), &Status::error("")));
    }

    #[test]
    fn a_4xx_is_no_error_of_the_server_span() {
        let mut request = fixture::finished();
        request.detail.status = 404;
        let server = &spans_of(&request, LIMITS)[0];
        assert_eq!(server.status, Status::Unset);
        assert!(!attributes(server).contains_key("error.type"));
    }

    #[test]
    fn a_method_that_nobody_knows_does_not_become_a_name() {
        let mut request = fixture::finished();
        request.detail.method = Method::from_bytes(b"BREW").unwrap();
        request.detail.pattern = None;
        let server = &spans_of(&request, LIMITS)[0];
        assert_eq!(server.name, "HTTP");
        assert_eq!(attributes(server)["http.request.method"], "_OTHER");
        assert_eq!(attributes(server)["http.request.method_original"], "BREW");
    }

    #[test]
    fn limits_cut_and_count() {
        let spans = spans_of(&fixture::finished(), Limits { attributes: 3, events: 0 });
        assert_eq!(spans[0].attributes.len(), 3);
        assert_eq!(spans[0].dropped_attributes_count, 19);
        assert_eq!((spans[1].events.len(), spans[1].events.dropped_count), (0, 1));
    }

    #[test]
    fn a_port_is_split_from_a_host_in_every_form() {
        assert_eq!(split_port("a.example:81"), ("a.example", Some(81)));
        assert_eq!(split_port("a.example"), ("a.example", None));
        assert_eq!(split_port("[::1]:81"), ("::1", Some(81)));
        assert_eq!(split_port("[::1]"), ("::1", None));
    }
}
