//! Why a filter cannot be served, for its author.

use penstock_filter_host::{ModuleError, PrepareError, Problem};
use penstock_gateway::{FilterFacts, FilterReason};

/// Why a filter cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Bounded.
    pub reason: FilterReason,
    /// Cause and remedy.
    pub message: String,
    /// What is wrong in `spec.config`, each with its JSON Pointer into it.
    pub problems: Vec<Problem>,
}

impl Failure {
    /// A failure that is not about the configuration.
    pub fn new(reason: FilterReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), problems: Vec::new() }
    }
}

impl From<Failure> for FilterFacts {
    fn from(failure: Failure) -> Self {
        FilterFacts::Failed { reason: failure.reason, message: failure.message }
    }
}

impl From<ModuleError> for Failure {
    fn from(error: ModuleError) -> Self {
        let (reason, remedy) = match &error {
            ModuleError::TooLarge { .. } => {
                (FilterReason::TooLarge, "build it for release and strip it")
            }
            ModuleError::NotAComponent(_) => (
                FilterReason::ModuleInvalid,
                "a core module becomes a component with `wasm-tools component new`; the penstock \
                 SDK builds one",
            ),
            ModuleError::WrongWorld(_) => (
                FilterReason::WrongWorld,
                "build it for header-policy, path-policy or tls-policy of penstock:policy@1",
            ),
            ModuleError::UnknownImports(_) => (
                FilterReason::WrongWorld,
                "build for wasm32-unknown-unknown, where nothing imports wasi",
            ),
            ModuleError::Describe(_) | ModuleError::ConfigSchema(_) => {
                (FilterReason::ModuleInvalid, "this is a fault of the module: tell its author")
            }
            ModuleError::Artifact(_) => {
                (FilterReason::ModuleInvalid, "compile it again with this version of penstock")
            }
        };
        // What a decoder says may go over several lines.
        let cause: Vec<String> = error.to_string().split_whitespace().map(str::to_owned).collect();
        Failure::new(reason, format!("{}; {remedy}", cause.join(" ")))
    }
}

impl From<PrepareError> for Failure {
    fn from(error: PrepareError) -> Self {
        let reason = match &error {
            PrepareError::ModuleNotFound(_) => FilterReason::ModuleNotFound,
            PrepareError::WrongWorld { .. } => FilterReason::WrongWorld,
            PrepareError::CapabilityDenied(_) => FilterReason::CapabilityDenied,
            PrepareError::Limits(_) | PrepareError::InvalidConfig { .. } => {
                FilterReason::InvalidConfig
            }
            PrepareError::InvalidPlan(_) | PrepareError::Failed { .. } => {
                FilterReason::ModuleInvalid
            }
        };
        let message = error.to_string();
        let problems = match error {
            PrepareError::InvalidConfig { problems } => problems,
            _ => Vec::new(),
        };
        Failure { reason, message, problems }
    }
}
