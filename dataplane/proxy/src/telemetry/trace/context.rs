//! W3C Trace Context: <https://www.w3.org/TR/trace-context/> in and out.

pub use opentelemetry::trace::{SpanId, TraceId};

use opentelemetry::trace::TraceState;

use http::{HeaderMap, HeaderName, HeaderValue};
use std::str::FromStr;

/// `traceparent`, section 3.2.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`, section 3.3.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Length of a version 00 `traceparent`.
const LENGTH: usize = 55;
/// The trace is sampled (section 3.2.2.5.1).
const SAMPLED: u8 = 0b01;
/// The trace id is random (level 2, section 3.2.2.5.2). Only ever passed on.
const RANDOM: u8 = 0b10;

/// What a caller says of the trace that a request belongs to.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Parent {
    /// The trace.
    pub(super) trace_id: TraceId,
    /// The caller's span.
    pub(super) span_id: SpanId,
    /// Flags that this version knows.
    flags: u8,
    /// Vendors' state, handed on as it came.
    pub(super) state: TraceState,
}

impl Parent {
    /// Whether the caller recorded the trace.
    pub(super) fn sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The context of a request; `None` where there is none or it is invalid, in which case a new
    /// trace begins and `tracestate` is ignored (section 4.3).
    pub(in super::super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(&TRACEPARENT).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        let (trace_id, span_id, flags) = parse_traceparent(value.as_bytes())?;
        Some(Self { trace_id, span_id, flags, state: parse_tracestate(headers) })
    }
}

/// Several `tracestate` fields are one list (section 3.3.1). A list that cannot be parsed is
/// dropped as a whole; that does not touch `traceparent` (section 4.3).
fn parse_tracestate(headers: &HeaderMap) -> TraceState {
    let mut values = headers.get_all(&TRACESTATE).iter().filter_map(|value| value.to_str().ok());
    let Some(first) = values.next() else { return TraceState::NONE };
    let mut list = first.to_owned();
    for more in values {
        list.push(',');
        list.push_str(more);
    }
    // Empty members are allowed (section 3.3.1.1); the parser does not know them.
    let members: Vec<&str> =
        list.split(',').map(str::trim).filter(|member| !member.is_empty()).collect();
    if members.is_empty() || members.len() > 32 {
        return TraceState::NONE;
    }
    TraceState::from_str(&members.join(",")).unwrap_or(TraceState::NONE)
}

/// Section 3.2: `version "-" trace-id "-" parent-id "-" trace-flags`, lower-case hexadecimal. A
/// higher version is read by its first four fields (section 4.3); `ff` is invalid.
fn parse_traceparent(value: &[u8]) -> Option<(TraceId, SpanId, u8)> {
    if value.len() < LENGTH || value[2] != b'-' || value[35] != b'-' || value[52] != b'-' {
        return None;
    }
    let version = hex(&value[0..2])?;
    match version {
        0xff => return None,
        0 if value.len() != LENGTH => return None,
        _ if value.len() > LENGTH && value[LENGTH] != b'-' => return None,
        _ => {}
    }
    let trace_id = (hex(&value[3..19])? as u128) << 64 | hex(&value[19..35])? as u128;
    let span_id = hex(&value[36..52])?;
    let flags = hex(&value[53..55])? as u8;
    if trace_id == 0 || span_id == 0 {
        return None;
    }
    Some((
        TraceId::from_bytes(trace_id.to_be_bytes()),
        SpanId::from_bytes(span_id.to_be_bytes()),
        flags & (SAMPLED | RANDOM),
    ))
}

/// At most 16 lower-case hexadecimal digits as a number.
fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | value as u64)
    })
}

/// A request's place in its trace.
#[derive(Debug)]
pub struct RequestTrace {
    trace_id: TraceId,
    trace_id_text: [u8; 32],
    /// Span of the request in this gateway.
    pub span_id: SpanId,
    /// The caller's span.
    pub parent: Option<SpanId>,
    /// Vendors' state.
    pub(super) state: TraceState,
    flags: u8,
    propagate: bool,
}

impl RequestTrace {
    /// The trace of a request with this parent. `propagate` says whether upstreams learn of it.
    pub(in super::super) fn new(
        parent: Option<Parent>,
        new_trace: TraceId,
        span_id: SpanId,
        sampled: bool,
        propagate: bool,
    ) -> Self {
        let (trace_id, parent, state, flags) = match parent {
            Some(parent) => {
                (parent.trace_id, Some(parent.span_id), parent.state, parent.flags & RANDOM)
            }
            None => (new_trace, None, TraceState::NONE, 0),
        };
        let flags = flags | if sampled { SAMPLED } else { 0 };
        let mut trace_id_text = [0; 32];
        write_hex(&trace_id.to_bytes(), &mut trace_id_text);
        Self { trace_id, trace_id_text, span_id, parent, state, flags, propagate }
    }

    /// The trace.
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// The trace in lower-case hexadecimal.
    pub fn trace_id_text(&self) -> &str {
        // Hexadecimal digits are UTF-8.
        std::str::from_utf8(&self.trace_id_text).unwrap_or_default()
    }

    /// Whether spans are recorded.
    #[inline]
    pub fn sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Flags as they are sent.
    pub(super) fn flags(&self) -> u8 {
        self.flags
    }

    /// Puts the context for one try into the upstream request, in place of what the client sent.
    /// `span` becomes the upstream's parent.
    pub fn inject(&self, span: SpanId, headers: &mut HeaderMap) {
        if !self.propagate {
            return;
        }
        headers.insert(TRACEPARENT, self.traceparent(span));
        headers.remove(TRACESTATE);
        let state = self.state.header();
        if !state.is_empty()
            && let Ok(value) = HeaderValue::from_str(&state)
        {
            headers.insert(TRACESTATE, value);
        }
    }

    fn traceparent(&self, span: SpanId) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..35].copy_from_slice(&self.trace_id_text);
        write_hex(&span.to_bytes(), &mut text[36..52]);
        write_hex(&[self.flags], &mut text[53..55]);
        // Hexadecimal digits and dashes are always a valid value; the fallback is never taken.
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
    }
}

fn write_hex(bytes: &[u8], into: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(into.chunks_exact_mut(2)) {
        pair[0] = DIGITS[(byte >> 4) as usize];
        pair[1] = DIGITS[(byte & 15) as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn parent(traceparent: &str) -> Option<Parent> {
        Parent::of(&headers(&[("traceparent", traceparent)]))
    }

    #[test]
    fn a_valid_traceparent_is_taken_over_section_3_2() {
        let parent = parent(VALID).unwrap();
        assert_eq!(parent.trace_id.to_string(), TRACE);
        assert_eq!(parent.span_id.to_string(), "00f067aa0ba902b7");
        assert!(parent.sampled());
        let unsampled = VALID.replace("-01", "-00");
        assert!(!Parent::of(&headers(&[("traceparent", &unsampled)])).unwrap().sampled());
    }

    #[test]
    fn what_section_3_2_forbids_starts_a_new_trace() {
        for (case, value) in [
            ("empty", ""),
            ("version ff", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("zero trace id", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"),
            ("zero parent id", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"),
            ("upper case", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"),
            ("no hexadecimal", "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01"),
            (
                "version without hexadecimal",
                "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            ),
            ("short trace id", "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01"),
            ("short flags", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1"),
            (
                "trailing dash in version 00",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            ),
            (
                "more fields in version 00",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            ),
            ("wrong separator", "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            (
                "higher version glued on",
                "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.x",
            ),
        ] {
            assert_eq!(parent(value), None, "{case}");
        }
    }

    #[test]
    fn a_higher_version_is_read_by_its_first_fields_section_4_3() {
        for value in [
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-brings",
        ] {
            let parent = parent(value).unwrap();
            assert_eq!(parent.trace_id.to_string(), TRACE);
            assert!(parent.sampled());
        }
    }

    #[test]
    fn two_traceparents_are_none() {
        assert_eq!(Parent::of(&headers(&[("traceparent", VALID), ("traceparent", VALID)])), None);
    }

    #[test]
    fn tracestate_fields_are_joined_in_order_and_emptied_of_blanks_section_3_3() {
        let parent = Parent::of(&headers(&[
            ("traceparent", VALID),
            ("tracestate", "a=1 , b=2,"),
            ("tracestate", "c=3"),
        ]))
        .unwrap();
        assert_eq!(parent.state.header(), "a=1,b=2,c=3");
    }

    #[test]
    fn a_broken_tracestate_is_dropped_and_the_traceparent_kept_section_4_3() {
        let too_many = (0..33).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
        for broken in ["novalue", "A=1,=", too_many.as_str()] {
            let parent =
                Parent::of(&headers(&[("traceparent", VALID), ("tracestate", broken)])).unwrap();
            assert_eq!(parent.state.header(), "", "{broken}");
            assert_eq!(parent.trace_id.to_string(), TRACE);
        }
    }

    #[test]
    fn the_upstream_is_given_our_span_as_its_parent() {
        let parent = Parent::of(&headers(&[("traceparent", VALID), ("tracestate", "a=1")]));
        let ours = SpanId::from_bytes(7_u64.to_be_bytes());
        let trace = RequestTrace::new(parent, TraceId::INVALID, SpanId::INVALID, true, true);
        let mut upstream = headers(&[("traceparent", VALID), ("tracestate", "b=9")]);
        trace.inject(ours, &mut upstream);
        assert_eq!(
            upstream["traceparent"],
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-01"
        );
        assert_eq!(upstream["tracestate"], "a=1");
        assert_eq!(upstream.len(), 2);
    }

    #[test]
    fn the_random_flag_is_passed_on_and_unknown_flags_are_cleared() {
        let flags = |value: &str, sampled| {
            let parent = parent(value);
            RequestTrace::new(parent, TraceId::INVALID, SpanId::INVALID, sampled, true).flags()
        };
        assert_eq!(flags(&VALID.replace("-01", "-ff"), true), 0b11);
        assert_eq!(flags(&VALID.replace("-01", "-02"), false), 0b10);
        assert_eq!(flags(&VALID.replace("-01", "-04"), false), 0);
    }

    #[test]
    fn without_a_propagator_headers_pass_untouched() {
        let trace = RequestTrace::new(None, TraceId::INVALID, SpanId::INVALID, true, false);
        let mut upstream = headers(&[("traceparent", VALID)]);
        trace.inject(SpanId::INVALID, &mut upstream);
        assert_eq!(upstream["traceparent"], VALID);
    }
}
