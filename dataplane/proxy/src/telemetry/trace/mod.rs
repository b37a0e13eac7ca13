//! Traces of requests, sent by OTLP.
//!
//! A request's spans are made from its [`RequestDetail`] when it is over, on the exporter's thread.
//! What cannot wait is decided at its start: the trace, the id of its span and whether it is sampled,
//! since the upstream is told.

pub(super) mod context;
pub(super) mod export;
mod sampler;
pub(super) mod settings;
mod spans;

use super::{
    queue::Queue,
    record::{RequestDetail, RequestRecord},
};
use context::{Parent, RequestTrace, SpanId};
use export::Item;
use http::HeaderMap;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use sampler::Sampler;
use std::sync::Arc;

/// A request that is over, as its writers get it.
#[derive(Debug)]
pub struct Finished {
    /// What is known of it.
    pub(super) detail: Box<RequestDetail>,
    /// Its trace, when tracing is on.
    pub(super) trace: Option<Box<RequestTrace>>,
}

/// Starts the traces of requests and takes them when they are over. Shared by all workers.
#[derive(Debug)]
pub struct Tracer {
    sampler: Sampler,
    propagate: bool,
    ids: RandomIdGenerator,
    queue: Queue<Item>,
}

impl Tracer {
    pub(super) fn new(sampler: Sampler, propagate: bool, queue: Queue<Item>) -> Self {
        Self { sampler, propagate, ids: RandomIdGenerator::default(), queue }
    }

    /// One whose spans nobody sends.
    #[cfg(test)]
    pub(super) fn unsent() -> Self {
        Self::new(Sampler::default(), true, super::queue::queue(8, 8).0)
    }

    /// The trace of a request with these fields.
    pub(super) fn start(&self, headers: &HeaderMap) -> RequestTrace {
        let parent = if self.propagate { Parent::of(headers) } else { None };
        let trace = match &parent {
            Some(parent) => parent.trace_id,
            None => self.ids.new_trace_id(),
        };
        let sampled = self.sampler.samples(parent.as_ref().map(Parent::sampled), trace);
        RequestTrace::new(parent, trace, self.new_span_id(), sampled, self.propagate)
    }

    /// A new id, for the span of an upstream try.
    pub fn new_span_id(&self) -> SpanId {
        self.ids.new_span_id()
    }

    /// Takes a request whose trace is sampled.
    pub(super) fn finish(&self, request: Arc<Finished>) {
        self.queue.send(Item::Request(request));
    }

    /// How many requests and spans found no room in the queue.
    pub(super) fn dropped(&self) -> u64 {
        self.queue.dropped()
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
