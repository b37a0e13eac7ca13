//! Policies.

/// How much of a digest people are shown: the algorithm and the first digits, as with commits.
const DIGEST_SHOWN: usize = "sha256:".len() + 12;

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

/// An earlier generation cannot serve on while a later one is refused: grants that it has were
/// withdrawn. The filter's author is at fault or wants it so; a retry does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{generation} does not serve on: spec.grants no longer lists {grants}, which it has")]
pub struct Withdrawn {
    generation: String,
    grants: String,
}

/// A digest as people are shown it: enough to tell modules apart.
pub fn short_digest(digest: &str) -> &str {
    digest.get(..DIGEST_SHOWN).unwrap_or(digest)
}

impl Filter {
    /// This generation as it serves on while a later one of the same filter is refused: as it was,
    /// but for what the host alone obeys, which no module can refuse.
    ///
    /// # Errors
    /// [`Withdrawn`] where it has a grant that is not among `granted`: what is withdrawn is withdrawn
    /// at once.
    pub fn serving_on(
        &self,
        granted: &[impl AsRef<str>],
        on_failure: OnFailure,
        opaque_values: OpaqueValues,
    ) -> Result<Filter, Withdrawn> {
        let withdrawn = |grant: &&str| !granted.iter().any(|granted| granted.as_ref() == *grant);
        let withdrawn: Vec<_> = self.grants.iter().map(String::as_str).filter(withdrawn).collect();
        if !withdrawn.is_empty() {
            let (generation, grants) = (self.generation_label(), withdrawn.join(", "));
            return Err(Withdrawn { generation, grants });
        }
        Ok(Filter {
            on_failure: on_failure as i32,
            opaque_values: opaque_values as i32,
            ..self.clone()
        })
    }

    /// Names this generation for people: its number, and the first digits of its module's digest.
    pub fn generation_label(&self) -> String {
        format!("generation {} (module {})", self.generation, short_digest(&self.module))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serving() -> Filter {
        Filter {
            module: format!("sha256:0123456789abcdef{}", "0".repeat(48)),
            generation: 4,
            grants: vec!["clock".into(), "log".into()],
            deadline_us: 7,
            on_failure: OnFailure::Open as i32,
            opaque_values: OpaqueValues::Lossy as i32,
            ..Filter::default()
        }
    }

    #[test]
    fn a_generation_serves_on_as_it_was_but_for_what_the_host_obeys() {
        let granted = ["clock", "log", "random"];
        let on = serving().serving_on(&granted, OnFailure::Closed, OpaqueValues::Reject);
        let expected = Filter { on_failure: 0, opaque_values: 0, ..serving() };
        assert_eq!(on, Ok(expected));
        let on = serving().serving_on(&granted, OnFailure::Open, OpaqueValues::Lossy);
        assert_eq!(on, Ok(serving()));
    }

    #[test]
    fn a_generation_with_a_withdrawn_grant_does_not_serve_on() {
        let serving = serving();
        let on = |granted: &[&str]| {
            let on = serving.serving_on(granted, OnFailure::Open, OpaqueValues::Lossy);
            on.expect_err("withdrawn").to_string()
        };
        assert_eq!(
            on(&["log"]),
            "generation 4 (module sha256:0123456789ab) does not serve on: spec.grants no longer \
             lists clock, which it has"
        );
        assert!(on(&[]).contains(" clock, log,"));
    }

    #[test]
    fn a_generation_is_named_by_number_and_module() {
        assert_eq!(serving().generation_label(), "generation 4 (module sha256:0123456789ab)");
        let short = Filter { module: "sha256:1".into(), ..serving() };
        assert_eq!(short.generation_label(), "generation 4 (module sha256:1)");
    }

    /// A module's kind is told from the interfaces that it exports.
    #[test]
    fn kinds_are_called_as_the_interfaces() {
        let kinds = [PolicyKind::Headers, PolicyKind::Paths, PolicyKind::Tls];
        assert_eq!(kinds.map(PolicyKind::name), ["headers", "paths", "tls"]);
    }
}
