//! Which traces are recorded: `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
//!
//! One sampler serves requests and the control path, so that one variable means one thing. Ratios
//! agree with the OpenTelemetry SDKs: what one of them samples by trace id, so does this.

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceContextExt, TraceId},
};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

/// Decides whether a trace is recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Whether a caller's decision stands.
    parent_based: bool,
    /// A trace is sampled if the low 63 bits of its id, read as a number, are below this.
    bound: u64,
}

/// Everything is sampled.
const ALL: u64 = 1 << 63;

impl Default for Sampler {
    /// `parentbased_always_on`, as the OpenTelemetry specification has it.
    fn default() -> Self {
        Self { parent_based: true, bound: ALL }
    }
}

impl Sampler {
    /// The sampler that the two variables name.
    ///
    /// # Errors
    /// Says what is wrong and what would be right.
    pub(super) fn parse(name: &str, argument: Option<&str>) -> Result<Self, String> {
        let (parent_based, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let bound = match root {
            "always_on" => ALL,
            "always_off" => 0,
            "traceidratio" => ratio_bound(argument)?,
            _ => {
                return Err(format!(
                    "OTEL_TRACES_SAMPLER={name} is not known; known are always_on, always_off, \
                     traceidratio, parentbased_always_on, parentbased_always_off and \
                     parentbased_traceidratio"
                ));
            }
        };
        Ok(Self { parent_based, bound })
    }

    /// Whether a trace is recorded, given what its caller decided.
    #[inline]
    pub(super) fn samples(&self, parent: Option<bool>, trace: TraceId) -> bool {
        match parent {
            Some(sampled) if self.parent_based => sampled,
            _ => {
                let [.., a, b, c, d, e, f, g, h] = trace.to_bytes();
                u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.bound
            }
        }
    }
}

fn ratio_bound(argument: Option<&str>) -> Result<u64, String> {
    let Some(argument) = argument else { return Ok(ALL) };
    match argument.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok((ratio * ALL as f64) as u64),
        _ => Err(format!(
            "OTEL_TRACES_SAMPLER_ARG={argument} is not a ratio; it is a number from 0 to 1"
        )),
    }
}

impl ShouldSample for Sampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        let parent = parent
            .map(|context| context.span().span_context().clone())
            .filter(|context| context.is_valid());
        let sampled = self.samples(parent.as_ref().map(|context| context.is_sampled()), trace);
        SamplingResult {
            decision: if sampled {
                SamplingDecision::RecordAndSample
            } else {
                SamplingDecision::Drop
            },
            attributes: Vec::new(),
            trace_state: parent.map(|context| context.trace_state().clone()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(low: u64) -> TraceId {
        TraceId::from_bytes((1_u128 << 64 | low as u128).to_be_bytes())
    }

    #[test]
    fn a_callers_decision_stands_where_the_sampler_is_parent_based() {
        let off = Sampler::parse("parentbased_always_off", None).unwrap();
        assert!(off.samples(Some(true), trace(1)));
        assert!(!off.samples(None, trace(1)));
        let on = Sampler::default();
        assert!(!on.samples(Some(false), trace(1)));
        assert!(on.samples(None, trace(u64::MAX)));
    }

    #[test]
    fn a_callers_decision_is_ignored_where_it_is_not() {
        assert!(Sampler::parse("always_on", None).unwrap().samples(Some(false), trace(1)));
        assert!(!Sampler::parse("always_off", None).unwrap().samples(Some(true), trace(1)));
    }

    #[test]
    fn a_ratio_splits_by_trace_id_as_the_sdk_does() {
        use opentelemetry_sdk::trace::Sampler as Sdk;
        for ratio in ["0", "0.25", "0.5", "1", "1.0"] {
            let ours = Sampler::parse("traceidratio", Some(ratio)).unwrap();
            let theirs = Sdk::TraceIdRatioBased(ratio.parse().unwrap());
            for low in (0..200_u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15)) {
                let result =
                    theirs.should_sample(None, trace(low), "", &SpanKind::Server, &[], &[]);
                let expected = result.decision == SamplingDecision::RecordAndSample;
                assert_eq!(ours.samples(None, trace(low)), expected, "{ratio} {low}");
            }
        }
    }

    #[test]
    fn what_is_not_known_is_refused_with_a_remedy() {
        assert!(Sampler::parse("xray", None).unwrap_err().contains("known are always_on"));
        for ratio in ["1.5", "-1", "NaN", "half", ""] {
            assert!(Sampler::parse("traceidratio", Some(ratio)).is_err(), "{ratio}");
        }
    }
}
