//! Traces, sent by OTLP as the standard `OTEL_*` variables say; see `docs/reference/telemetry.md`.
//!
//! Spans of the `tracing` crate go out by themselves. What has no such spans, since it must cost
//! little while it goes on, decides at its start by a [`SpanSink`] whether it is sampled, and hands
//! itself over as [`ToSpans`] when it is over: its spans are made on the exporter's thread.

mod context;
pub(crate) mod export;
mod sampler;
mod settings;
mod sink;

pub use context::{follow, traceparent};
pub use export::{ExportError, ExportStats};
pub use sampler::Sampler;
pub use settings::{Batch, Limits, Settings};
pub use sink::{Item, SpanSink, ToSpans};
