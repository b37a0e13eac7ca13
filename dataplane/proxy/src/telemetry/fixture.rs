//! A finished request for tests, with every detail filled.

use super::{
    record::*,
    trace::{
        context::{Parent, RequestTrace, SpanId, TraceId},
        finished::Finished,
    },
};
use http::{HeaderMap, HeaderValue, Method, Version};
use penstock_filter_host::{FilterFailure, SpanNotes, SpanValue, Tier};
use smallvec::smallvec;
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// Trace context that the request came with.
pub(super) const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

pub(super) fn connection() -> Arc<ConnectionInfo> {
    Arc::new(ConnectionInfo {
        peer: "10.0.0.9:4711".parse().unwrap(),
        port: 443,
        scheme: "https",
        tls: Some(TlsInfo { version: "TLSv1.3", sni: Some("api.example.com".into()) }),
    })
}

pub(super) fn finished() -> Finished {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::from_static(TRACEPARENT));
    let trace = RequestTrace::new(
        Parent::of(&headers),
        TraceId::INVALID,
        SpanId::from_bytes(7_u64.to_be_bytes()),
        true,
        true,
    );
    Finished { detail: Box::new(detail()), trace: Some(Box::new(trace)) }
}

fn detail() -> RequestDetail {
    let started = Instant::now();
    let millis = Duration::from_millis;
    let run = |name: &str, stage, tier, verdict, from, duration| FilterRun {
        name: name.into(),
        stage,
        tier,
        verdict,
        started: started + millis(from),
        duration,
        notes: None,
        message: None,
    };
    let attempt = |span: u64, address: &str, from, duration| UpstreamTry {
        span: SpanId::from_bytes(span.to_be_bytes()),
        backend: "shop/api:80".into(),
        address: Some(address.parse().unwrap()),
        reused: false,
        started: started + millis(from),
        duration: millis(duration),
        status: None,
        error: None,
    };
    let notes = SpanNotes {
        attributes: vec![
            ("key.id".into(), SpanValue::Text("first".into())),
            ("key.id".into(), SpanValue::Text("last".into())),
            ("key.age".into(), SpanValue::Int(3)),
            ("penstock.filter".into(), SpanValue::Text("forged".into())),
        ],
        events: vec!["checked".into()],
    };
    let mut key = run(
        "shop/key",
        FilterStage::Request,
        Tier::Call,
        FilterVerdict::Edit,
        1,
        Duration::from_micros(500),
    );
    key.notes = Some(Box::new(notes));
    let silent = run(
        "shop/silent",
        FilterStage::Request,
        Tier::GuardMiss,
        FilterVerdict::Next,
        2,
        Duration::ZERO,
    );
    let mut tidy = run(
        "shop/tidy",
        FilterStage::Response,
        Tier::Call,
        FilterVerdict::Skipped(FilterFailure::Deadline),
        7,
        millis(5),
    );
    tidy.message = Some("the deadline of 5 ms passed".into());
    RequestDetail {
        started_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000),
        started,
        duration: Duration::from_micros(12_345),
        connection: connection(),
        method: Method::GET,
        version: Version::HTTP_2,
        host: Some("api.example.com".into()),
        target: Some("/v1/things?token=secret".parse().unwrap()),
        upstream_target: Some("/things?token=secret".parse().unwrap()),
        user_agent: Some(HeaderValue::from_static("curl/8")),
        request_id: Some(HeaderValue::from_static("abc")),
        client: "203.0.113.9".parse().unwrap(),
        listener: Some("shop/gw/https".into()),
        route: Some("shop/api".into()),
        rule: Some("things".into()),
        pattern: Some("/v1".into()),
        filters: smallvec![key, silent, tidy],
        tries: smallvec![
            UpstreamTry {
                reused: true,
                error: Some("connection-reset"),
                ..attempt(8, "10.1.0.1:8080", 2, 1)
            },
            UpstreamTry { status: Some(502), ..attempt(9, "10.1.0.2:8080", 3, 3) },
        ],
        attributes: vec![("tenant".into(), "red".into())],
        status: 502,
        request_bytes: 10,
        response_bytes: 20,
        error: None,
    }
}
