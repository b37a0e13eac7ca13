//! The way of what is traced to the exporter.

use super::{
    sampler::Sampler,
    settings::{Limits, Settings},
};
use crate::queue::{Drain, Queue, queue};
use opentelemetry::trace::TraceId;
use opentelemetry_sdk::trace::SpanData;
use std::{fmt::Debug, sync::Arc};

/// Something that is over, whose spans are made when they are sent, on the exporter's thread.
pub trait ToSpans: Debug + Send + Sync {
    /// Appends its spans, none of which holds more than the limits say.
    fn to_spans(&self, limits: Limits, spans: &mut Vec<SpanData>);
}

/// What can be sent.
#[derive(Debug)]
pub enum Item {
    /// Something whose spans are still to be made.
    Finished(Arc<dyn ToSpans>),
    /// A span of the control path.
    Span(Box<SpanData>),
}

/// Decides what is traced and takes it when it is over. Clones share one queue.
#[derive(Clone, Debug)]
pub struct SpanSink {
    sampler: Sampler,
    propagates: bool,
    queue: Queue<Item>,
}

impl SpanSink {
    /// A sink and what comes out of it, by the settings of sampling, propagation and batches.
    pub fn channel(settings: &Settings) -> (Self, Drain<Item>) {
        let batch = settings.batch;
        let (queue, drain) = queue(batch.queue, batch.size.min(batch.queue));
        (Self { sampler: settings.sampler, propagates: settings.propagate, queue }, drain)
    }

    /// Whether a caller's context counts and upstreams are given one (`OTEL_PROPAGATORS`).
    #[inline]
    pub fn propagates(&self) -> bool {
        self.propagates
    }

    /// Whether a trace is recorded, given what its caller decided.
    #[inline]
    pub fn samples(&self, parent: Option<bool>, trace: TraceId) -> bool {
        self.sampler.samples(parent, trace)
    }

    /// Takes an item, or drops and counts it where there is no room. Never waits.
    pub fn send(&self, item: Item) {
        self.queue.send(item);
    }

    /// How many items found no room.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Makes the exporter look now.
    pub(super) fn wake(&self) {
        self.queue.wake();
    }

    /// Takes nothing more; the exporter sends what there is and ends.
    pub(super) fn close(&self) {
        self.queue.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nothing;

    impl ToSpans for Nothing {
        fn to_spans(&self, _: Limits, _: &mut Vec<SpanData>) {}
    }

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let variables = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317")], variables].concat();
        let get = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
        };
        Settings::read(get).unwrap().unwrap()
    }

    #[test]
    fn all_clones_fill_one_queue_of_the_bound_that_the_environment_sets() {
        let (sink, mut drain) = SpanSink::channel(&settings(&[("OTEL_BSP_MAX_QUEUE_SIZE", "2")]));
        let other = sink.clone();
        for sink in [&sink, &other, &sink] {
            sink.send(Item::Finished(Arc::new(Nothing)));
        }
        assert_eq!((sink.dropped(), other.dropped()), (1, 1));
        let mut items = Vec::new();
        drain.take(10, &mut items);
        assert_eq!(items.len(), 2);
    }

    #[test]
    fn sampling_and_propagation_are_as_the_environment_says() {
        let off = [("OTEL_PROPAGATORS", "none"), ("OTEL_TRACES_SAMPLER", "always_off")];
        let (sink, _drain) = SpanSink::channel(&settings(&off));
        assert!(!sink.propagates() && !sink.samples(Some(true), TraceId::INVALID));
        let (sink, _drain) = SpanSink::channel(&settings(&[]));
        assert!(sink.propagates() && sink.samples(None, TraceId::INVALID));
    }
}
