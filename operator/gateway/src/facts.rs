//! What was found out about the module of a `WasmFilter`.

use penstock_config::PolicyKind;
use penstock_resources::conditions::reasons;

/// What was found out about the module and the configuration of a filter. The index holds none
/// while nothing is known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterFacts {
    /// The filter can be served.
    Ready {
        /// `sha256:` and 64 hexadecimal digits over the component.
        digest: String,
        /// The interface that the module exports.
        kind: PolicyKind,
        /// What it asked for when it was configured.
        summary: PlanSummary,
    },
    /// The filter cannot be served.
    Failed {
        /// Why, bounded.
        reason: FilterReason,
        /// Cause and remedy.
        message: String,
    },
}

/// What a filter asked for when it was configured, as its status shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanSummary {
    /// Inputs that it reads, for example `header:authorization`.
    pub reads: Vec<String>,
    /// Fields that it may write.
    pub writes: Vec<String>,
    /// The cheapest way in which its decisions are made: `constant`, `guarded`, `memo` or `call`.
    pub tier: String,
}

/// Why a filter cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FilterReason {
    /// The module does not exist where `spec.module` says.
    ModuleNotFound,
    /// The module is no component.
    ModuleInvalid,
    /// The module exports no policy, or imports what no policy may.
    WrongWorld,
    /// The module is larger than allowed.
    TooLarge,
    /// The module imports an interface that `spec.grants` does not list.
    CapabilityDenied,
    /// The module refuses `spec.config`.
    InvalidConfig,
    /// This process cannot read modules from such a source.
    UnsupportedSource,
    /// The module could not be fetched; a retry may help.
    FetchFailed,
    /// Whoever has the module does not give it to us.
    AccessDenied,
    /// The module that was fetched is not the one that `spec.module` pins.
    DigestMismatch,
}

impl FilterReason {
    /// As it stands in statuses and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            FilterReason::ModuleNotFound => reasons::MODULE_NOT_FOUND,
            FilterReason::ModuleInvalid => reasons::MODULE_INVALID,
            FilterReason::WrongWorld => reasons::WRONG_WORLD,
            FilterReason::TooLarge => reasons::TOO_LARGE,
            FilterReason::CapabilityDenied => reasons::CAPABILITY_DENIED,
            FilterReason::InvalidConfig => reasons::INVALID_CONFIG,
            FilterReason::UnsupportedSource => reasons::UNSUPPORTED_SOURCE,
            FilterReason::FetchFailed => reasons::FETCH_FAILED,
            FilterReason::AccessDenied => reasons::ACCESS_DENIED,
            FilterReason::DigestMismatch => reasons::DIGEST_MISMATCH,
        }
    }

    /// Whether the module could not be had, so that nothing is known about it.
    pub(crate) fn is_unresolved(self) -> bool {
        matches!(
            self,
            FilterReason::ModuleNotFound
                | FilterReason::UnsupportedSource
                | FilterReason::FetchFailed
                | FilterReason::AccessDenied
                | FilterReason::DigestMismatch
        )
    }
}
