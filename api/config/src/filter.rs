//! Policies.

/// One configured policy (`WasmFilter`). Key: `namespace/name`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Filter {
    /// `namespace/name` of the WasmFilter.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Which of the `penstock:policy` interfaces the module exports.
    #[prost(enumeration = "PolicyKind", tag = "2")]
    pub kind: i32,
    /// The module: `sha256:` and 64 hexadecimal digits over the component.
    #[prost(string, tag = "3")]
    pub module: String,
    /// `spec.config` as JSON, keys sorted; `null` when absent.
    #[prost(string, tag = "4")]
    pub config_json: String,
    /// `metadata.generation`.
    #[prost(uint64, tag = "5")]
    pub generation: u64,
    /// Granted interfaces of `penstock:host`, sorted: `clock`, `log`, `metrics`, `random`, `trace`.
    #[prost(string, repeated, tag = "6")]
    pub grants: Vec<String>,
    /// Linear memory an instance may have, in bytes.
    #[prost(uint64, tag = "7")]
    pub memory_bytes: u64,
    /// Time for one call, in microseconds.
    #[prost(uint64, tag = "8")]
    pub deadline_us: u64,
    /// Calls after which an instance is replaced; 0 is "the host's default".
    #[prost(uint64, tag = "9")]
    pub max_invocations: u64,
    /// What a run-time failure does to the request.
    #[prost(enumeration = "OnFailure", tag = "10")]
    pub on_failure: i32,
    /// What an input does that is not UTF-8.
    #[prost(enumeration = "OpaqueValues", tag = "11")]
    pub opaque_values: i32,
}

/// The interface that a module exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum PolicyKind {
    /// `penstock:policy/headers`
    Headers = 0,
    /// `penstock:policy/paths`
    Paths = 1,
    /// `penstock:policy/tls`
    Tls = 2,
}

impl PolicyKind {
    /// Lower-case name as in the interface.
    pub fn name(self) -> &'static str {
        match self {
            PolicyKind::Headers => "headers",
            PolicyKind::Paths => "paths",
            PolicyKind::Tls => "tls",
        }
    }
}

/// What a run-time failure does to the request. A filter that cannot be loaded is never skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum OnFailure {
    /// The request fails.
    Closed = 0,
    /// The filter is skipped.
    Open = 1,
}

/// What happens when a declared input is not valid UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum OpaqueValues {
    /// The request is answered 400.
    Reject = 0,
    /// Invalid bytes arrive as U+FFFD.
    Lossy = 1,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module's kind is told from the interfaces that it exports.
    #[test]
    fn kinds_are_called_as_the_interfaces() {
        let kinds = [PolicyKind::Headers, PolicyKind::Paths, PolicyKind::Tls];
        assert_eq!(kinds.map(PolicyKind::name), ["headers", "paths", "tls"]);
    }
}
