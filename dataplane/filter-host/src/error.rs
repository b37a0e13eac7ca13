//! What can go wrong before a request is involved. Nothing here helps by retrying: the module, the
//! WasmFilter or the machine must change.

/// The host cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The engine refused its settings: the machine lacks what it needs (address space, signals).
    #[error("cannot start the WASM engine: {0}")]
    Engine(String),
    /// No thread for the epoch ticker.
    #[error("cannot start the deadline thread: {0}")]
    Ticker(#[from] std::io::Error),
}

/// A module cannot be used, whatever its configuration. The module's author is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// Larger than the host takes.
    #[error("module has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Bytes of the module.
        size: usize,
        /// [`HostConfig::max_module_bytes`](crate::HostConfig::max_module_bytes).
        limit: usize,
    },
    /// Not a valid WebAssembly component.
    #[error("not a WebAssembly component: {0}")]
    NotAComponent(String),
    /// Exports are missing, too many or of other types.
    #[error("not of a world of penstock:policy@1: {0}")]
    WrongWorld(String),
    /// It imports what `penstock:host` does not have.
    #[error(
        "imports what no policy can have: {}; only interfaces of penstock:host@1 (clock, log, \
         metrics, random, trace) can be imported",
        .0.join(", ")
    )]
    UnknownImports(Vec<String>),
    /// `describe` trapped, ran too long or asked for a capability.
    #[error("describe failed: {0}")]
    Describe(String),
    /// The descriptor's `config-schema` is no JSON Schema object.
    #[error("config-schema is not a JSON Schema object: {0}")]
    ConfigSchema(String),
    /// A compiled module that this engine cannot load.
    #[error("compiled module cannot be loaded: {0}")]
    Artifact(String),
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// JSON Pointer (RFC 6901) into `spec.config`; empty for the whole.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pointer.as_str() {
            "" => f.write_str(&self.message),
            pointer => write!(f, "{pointer}: {}", self.message),
        }
    }
}

/// A filter cannot be made from its module and its configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// No module of that digest is loaded.
    #[error("module {0} is not loaded")]
    ModuleNotFound(String),
    /// The module implements another kind of policy than the filter is used as.
    #[error("module is a {actual} policy, the filter wants {wanted}")]
    WrongWorld {
        /// Kind the filter wants.
        wanted: &'static str,
        /// Kind the module has.
        actual: &'static str,
    },
    /// The module imports interfaces that the WasmFilter does not grant.
    #[error("not granted: {}; add them to spec.grants or use a module that does not import them", .0.join(", "))]
    CapabilityDenied(Vec<String>),
    /// A limit is out of the host's range.
    #[error("limit not possible: {0}")]
    Limits(String),
    /// The configuration is wrong.
    #[error("configuration is wrong: {}", join(.problems))]
    InvalidConfig {
        /// Every problem found, at least one.
        problems: Vec<Problem>,
    },
    /// The policy's plan is wrong: the module's author is at fault.
    #[error("plan is wrong: {}", .0.join("; "))]
    InvalidPlan(Vec<String>),
    /// `configure` or `plan` trapped, ran too long or ran out of memory.
    #[error("{step} failed: {message}")]
    Failed {
        /// `instantiate`, `configure` or `plan`.
        step: &'static str,
        /// What happened.
        message: String,
    },
}

fn join(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}
