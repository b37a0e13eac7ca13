//! The context of a trace that goes on in another process, as the field `traceparent` of W3C Trace
//! Context has it.

use opentelemetry::{Context, propagation::TextMapPropagator as _, trace::TraceContextExt as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use std::collections::HashMap;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const FIELD: &str = "traceparent";

/// Names a span for another process; empty where nobody records it.
pub fn traceparent(span: &Span) -> String {
    if span.is_disabled() {
        return String::new();
    }
    let context = span.context();
    if !context.span().span_context().is_sampled() {
        return String::new();
    }
    let mut fields = HashMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut fields);
    fields.remove(FIELD).unwrap_or_default()
}

/// Makes a span that was not entered yet the child of one of another process. What names no span
/// leaves it as it is.
pub fn follow(span: &Span, traceparent: &str) {
    let fields = HashMap::from([(FIELD.to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &fields);
    if context.span().span_context().is_valid() {
        // Where spans are not recorded, there is nothing to follow.
        let _ = span.set_parent(context);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
    use tracing_subscriber::layer::SubscriberExt as _;

    fn recording<T>(sampler: Sampler, act: impl FnOnce() -> T) -> T {
        let provider = SdkTracerProvider::builder().with_sampler(sampler).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), act)
    }

    #[test]
    fn a_span_of_another_process_is_in_the_same_trace() {
        let told = recording(Sampler::AlwaysOn, || traceparent(&tracing::info_span!("here")));
        let [version, trace, _, flags] = told.split('-').collect::<Vec<_>>()[..] else {
            panic!("{told}")
        };
        assert_eq!((version, trace.len(), flags), ("00", 32, "01"));
        let there = recording(Sampler::AlwaysOn, || {
            let span = tracing::info_span!("there");
            follow(&span, &told);
            traceparent(&span)
        });
        assert!(there.contains(trace), "{told} {there}");
        assert_ne!(there, told, "a span of its own");
    }

    #[test]
    fn what_nobody_records_has_no_name() {
        assert_eq!(traceparent(&tracing::info_span!("nobody listens")), "");
        assert_eq!(traceparent(&Span::none()), "");
        let off = recording(Sampler::AlwaysOff, || traceparent(&tracing::info_span!("dropped")));
        assert_eq!(off, "");
    }

    #[test]
    fn a_name_that_is_none_is_not_followed() {
        recording(Sampler::AlwaysOn, || {
            for wrong in ["", "00-0-0-01", "what", &"x".repeat(4096)] {
                let span = tracing::info_span!("alone");
                follow(&span, wrong);
                assert_eq!(traceparent(&span).len(), 55, "{wrong}");
            }
        });
    }
}
