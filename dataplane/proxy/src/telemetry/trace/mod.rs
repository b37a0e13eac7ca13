//! Traces of requests.
//!
//! A request's spans are made from its [`RequestDetail`] when it is over, on the exporter's thread.
//! What cannot wait is decided at its start: the trace, the id of its span and whether it is sampled,
//! since the upstream is told.

pub(super) mod context;
pub(super) mod finished;
mod spans;

use super::record::RequestRecord;
use context::{Parent, RequestTrace, SpanId};
use finished::Finished;
use http::HeaderMap;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use penstock_telemetry::trace::{Item, SpanSink};
use std::sync::Arc;

/// Starts the traces of requests and takes them when they are over. Shared by all workers.
#[derive(Debug)]
pub struct Tracer {
    ids: RandomIdGenerator,
    sink: SpanSink,
}

impl Tracer {
    /// One whose spans go the way of the process's others.
    pub fn new(sink: SpanSink) -> Self {
        Self { ids: RandomIdGenerator::default(), sink }
    }

    /// One whose spans nobody sends.
    #[cfg(test)]
    pub(super) fn unsent() -> Self {
        let endpoint = |name: &str| {
            (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| "http://127.0.0.1:4317".to_owned())
        };
        let settings = penstock_telemetry::trace::Settings::read(endpoint);
        let settings = settings.expect("settings").expect("tracing is on");
        Self::new(SpanSink::channel(&settings).0)
    }

    /// The trace of a request with these fields.
    pub(super) fn start(&self, headers: &HeaderMap) -> RequestTrace {
        let parent = if self.sink.propagates() { Parent::of(headers) } else { None };
        let trace = match &parent {
            Some(parent) => parent.trace_id,
            None => self.ids.new_trace_id(),
        };
        let sampled = self.sink.samples(parent.as_ref().map(Parent::sampled), trace);
        RequestTrace::new(parent, trace, self.new_span_id(), sampled, self.sink.propagates())
    }

    /// A new id, for the span of an upstream try.
    pub fn new_span_id(&self) -> SpanId {
        self.ids.new_span_id()
    }

    /// Takes a request whose trace is sampled.
    pub(super) fn finish(&self, request: Arc<Finished>) {
        self.sink.send(Item::Finished(request));
    }

    /// How many requests and spans found no room in the queue.
    pub(super) fn dropped(&self) -> u64 {
        self.sink.dropped()
    }
}

impl RequestRecord {
    /// Puts the context of a new try into the upstream request and returns the try's span id, which
    /// goes into its [`super::UpstreamTry`]. Without tracing headers pass as they came.
    pub fn inject(&self, tracer: Option<&Tracer>, headers: &mut HeaderMap) -> SpanId {
        match (&self.trace, tracer) {
            (Some(trace), Some(tracer)) => {
                let span = tracer.new_span_id();
                trace.inject(span, headers);
                span
            }
            _ => SpanId::INVALID,
        }
    }
}
