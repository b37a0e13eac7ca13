//! How one step of a policy ended.

use penstock_config::OnFailure;

/// How one step ended.
#[derive(Debug)]
pub struct Outcome<T> {
    /// The decision, or what its absence means for the request.
    pub verdict: Verdict<T>,
    /// How the decision came about.
    pub tier: Tier,
    /// What the policy put on its span; only of a recorded exchange and a policy that did.
    pub span: Option<Box<SpanNotes>>,
    /// What went wrong, for log and trace, never for the client. At most 1 KiB.
    pub message: Option<Box<str>>,
}

impl<T> Outcome<T> {
    /// A decision that needed no call.
    pub fn decided(decision: T, tier: Tier) -> Self {
        Self { verdict: Verdict::Decided(decision), tier, span: None, message: None }
    }

    pub(crate) fn failed(verdict: Verdict<T>, tier: Tier, message: impl Into<String>) -> Self {
        let mut message = message.into();
        truncate(&mut message, 1024);
        Self { verdict, tier, span: None, message: Some(message.into()) }
    }
}

/// A decision, or what its absence means.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict<T> {
    /// The policy decided.
    Decided(T),
    /// It failed and `onFailure: Open` says to go on without it.
    Skipped(FilterFailure),
    /// It failed: the request is answered with this status.
    Failed {
        /// 500 for a fault, 503 for a lost instance or a quarantined filter, 400 for an input that
        /// is not text.
        status: u16,
        /// Why.
        failure: FilterFailure,
    },
}

impl<T> Verdict<T> {
    /// What a failure means under a failure policy. An input that is not text is the client's
    /// fault and answered 400 whatever the policy says: skipping would let clients opt out.
    pub fn of_failure(failure: FilterFailure, on_failure: OnFailure) -> Self {
        match on_failure {
            OnFailure::Open if failure != FilterFailure::Opaque => Verdict::Skipped(failure),
            _ => Verdict::Failed { status: failure.status(), failure },
        }
    }
}

/// How a decision came about, the cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// The plan's constant edits: no call.
    Constant,
    /// A guard did not hold, or the policy has no such stage: no call.
    GuardMiss,
    /// A remembered decision: no call.
    Memo,
    /// The policy was called, or would have been.
    Call,
}

impl Tier {
    /// Every tier, in order.
    pub const ALL: [Tier; 4] = [Tier::Constant, Tier::GuardMiss, Tier::Memo, Tier::Call];

    /// Label value for metrics and spans.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Constant => "constant",
            Tier::GuardMiss => "guard_miss",
            Tier::Memo => "memo",
            Tier::Call => "call",
        }
    }
}

/// Why a step failed. Bounded, so that it can label metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterFailure {
    /// The policy said that it cannot decide. Its instance is kept.
    Fault,
    /// The instance trapped. It is discarded.
    Trap,
    /// The call ran out of time. The instance is discarded.
    Deadline,
    /// The instance trapped after it was refused memory. It is discarded.
    Memory,
    /// The decision changes a header outside the plan's write set, or one that no policy may
    /// change.
    WriteDenied,
    /// The decision holds a value that cannot stand in a message.
    BadValue,
    /// An input is not UTF-8 and `opaqueValues: Reject` holds.
    Opaque,
    /// The filter failed too often and is not called for a while.
    Quarantined,
}

impl FilterFailure {
    /// Every failure.
    pub const ALL: [FilterFailure; 8] = [
        FilterFailure::Fault,
        FilterFailure::Trap,
        FilterFailure::Deadline,
        FilterFailure::Memory,
        FilterFailure::WriteDenied,
        FilterFailure::BadValue,
        FilterFailure::Opaque,
        FilterFailure::Quarantined,
    ];

    /// Label value for metrics, spans and `x-penstock-reason`.
    pub fn as_reason(self) -> &'static str {
        match self {
            FilterFailure::Fault => "filter-fault",
            FilterFailure::Trap => "filter-trap",
            FilterFailure::Deadline => "filter-deadline",
            FilterFailure::Memory => "filter-memory",
            FilterFailure::WriteDenied => "filter-write-denied",
            FilterFailure::BadValue => "filter-bad-value",
            FilterFailure::Opaque => "filter-opaque-input",
            FilterFailure::Quarantined => "filter-quarantined",
        }
    }

    /// Status of the answer under `onFailure: Closed`.
    pub fn status(self) -> u16 {
        match self {
            FilterFailure::Fault | FilterFailure::WriteDenied | FilterFailure::BadValue => 500,
            FilterFailure::Trap
            | FilterFailure::Deadline
            | FilterFailure::Memory
            | FilterFailure::Quarantined => 503,
            FilterFailure::Opaque => 400,
        }
    }
}

/// What a policy put on its span through `penstock:host/trace`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanNotes {
    /// Attributes in order; the last of a key counts.
    pub attributes: Vec<(String, SpanValue)>,
    /// Names of events in order.
    pub events: Vec<String>,
}

/// An attribute value, as OpenTelemetry has them.
#[derive(Clone, Debug, PartialEq)]
pub enum SpanValue {
    /// Text.
    Text(String),
    /// Integer.
    Int(i64),
    /// Floating point.
    Real(f64),
    /// Boolean.
    Flag(bool),
}

/// Cuts a text at a character boundary.
pub(crate) fn truncate(text: &mut String, max: usize) {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opaque_input_is_answered_400_even_where_failures_are_skipped() {
        for policy in [OnFailure::Open, OnFailure::Closed] {
            let verdict: Verdict<()> = Verdict::of_failure(FilterFailure::Opaque, policy);
            assert_eq!(verdict, Verdict::Failed { status: 400, failure: FilterFailure::Opaque });
        }
    }

    #[test]
    fn section_4_3_statuses_by_failure() {
        let statuses: Vec<u16> = FilterFailure::ALL.iter().map(|f| f.status()).collect();
        assert_eq!(statuses, [500, 503, 503, 503, 500, 500, 400, 503]);
    }

    #[test]
    fn messages_are_cut_at_a_character() {
        let mut text = "aä".repeat(3);
        truncate(&mut text, 5);
        assert_eq!(text, "aäa");
    }
}
