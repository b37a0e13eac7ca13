//! What a policy reads, when it acts, what it may change and what the host may do without it.

use crate::bindings::types::{Memo, Stage as WitStage};
use crate::decision::{Edit, Edits};

pub use crate::bindings::types::{Predicate, Selector};

/// One point of an exchange at which a policy takes part.
#[derive(Debug, Clone, PartialEq, Default)]
#[must_use = "a stage does nothing until it is returned"]
pub struct Stage {
    inputs: Vec<Selector>,
    when: Vec<Predicate>,
    writes: Vec<String>,
    constant: Option<Vec<Edit>>,
    memo: Option<(u32, u32)>,
}

/// Where the value of an input will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(usize);

impl Slot {
    pub(crate) fn at(position: usize) -> Slot {
        Slot(position)
    }

    pub(crate) fn index(self) -> usize {
        self.0
    }
}

impl Stage {
    /// A stage that reads nothing and may change nothing.
    pub fn new() -> Stage {
        Stage::default()
    }

    /// Declares an input. One that is declared already keeps its slot.
    pub fn input(&mut self, selector: Selector) -> Slot {
        let known = self.inputs.iter().position(|known| *known == selector);
        Slot(known.unwrap_or_else(|| {
            self.inputs.push(selector);
            self.inputs.len() - 1
        }))
    }

    /// Declares the input of a function's parameter, one for each parameter; a required one also
    /// guards the stage.
    pub fn parameter(mut self, selector: Selector, required: bool) -> Stage {
        if required && !always_exists(&selector) {
            self = self.when(Predicate::Present(selector.clone()));
        }
        self.inputs.push(selector);
        self
    }

    /// Acts only where this holds, too.
    pub fn when(mut self, predicate: Predicate) -> Stage {
        if !self.when.contains(&predicate) {
            self.when.push(predicate);
        }
        self
    }

    /// May change fields of that name: lower-case, or a prefix that ends in `*`.
    pub fn writes(mut self, name: impl Into<String>) -> Stage {
        let name = name.into();
        if !self.writes.contains(&name) {
            self.writes.push(name);
        }
        self
    }

    /// Makes these changes, without a call, wherever the stage acts.
    pub fn constant(mut self, edits: Edits) -> Stage {
        self.constant = Some(edits.into());
        self
    }

    /// The host may remember this many decisions for each worker, at most 4096, without end. A
    /// promise that a decision depends on the inputs and the configuration alone.
    pub fn memo(self, entries: u32) -> Stage {
        self.memo_for(entries, 0)
    }

    /// As [`memo`](Stage::memo), each for at most `ttl_ms` milliseconds (0: without end).
    pub fn memo_for(mut self, entries: u32, ttl_ms: u32) -> Stage {
        self.memo = Some((entries.min(4096), ttl_ms));
        self
    }

    /// What the stage reads.
    pub fn inputs(&self) -> &[Selector] {
        &self.inputs
    }

    /// When it acts.
    pub fn guards(&self) -> &[Predicate] {
        &self.when
    }

    /// The changes that need no call.
    pub fn constant_edits(&self) -> Option<&[Edit]> {
        self.constant.as_deref()
    }
}

impl From<Stage> for WitStage {
    fn from(stage: Stage) -> WitStage {
        WitStage {
            inputs: stage.inputs,
            when: stage.when,
            writes: stage.writes,
            constant: stage.constant,
            memo: stage.memo.map(|(max_entries, ttl_ms)| Memo { max_entries, ttl_ms }),
        }
    }
}

/// What every exchange has needs no guard.
fn always_exists(selector: &Selector) -> bool {
    use Selector::{Authority, ClientAddress, Method, Path, RouteName, Scheme};
    matches!(selector, Method | Scheme | Authority | Path | ClientAddress | RouteName)
}

macro_rules! plain_selectors {
    ($($(#[$doc:meta])* $name:ident => $variant:ident),* $(,)?) => {$(
        $(#[$doc])*
        pub fn $name() -> Selector {
            Selector::$variant
        }
    )*};
}

macro_rules! named_selectors {
    ($($(#[$doc:meta])* $name:ident => $variant:ident),* $(,)?) => {$(
        $(#[$doc])*
        pub fn $name(name: impl Into<String>) -> Selector {
            Selector::$variant(name.into())
        }
    )*};
}

plain_selectors! {
    /// Request method, as sent.
    method => Method,
    /// `http` or `https`, as the client spoke to the gateway.
    scheme => Scheme,
    /// `Host` or `:authority`, as sent, with the port if there was one.
    authority => Authority,
    /// Path of the request target, percent-encoding kept, without the query.
    path => Path,
    /// Query without the `?`; absent when there is none.
    query => Query,
    /// Status code of the response, in decimal. Response stage only.
    status => Status,
    /// The client's address, after the Gateway's trusted hops were taken off.
    client_address => ClientAddress,
    /// Server name of the TLS handshake; absent without TLS.
    tls_sni => TlsSni,
    /// Negotiated application protocol, for example `h2`.
    tls_alpn => TlsAlpn,
    /// `TLSv1.2` or `TLSv1.3`.
    tls_version => TlsVersion,
    /// First subject alternative name of the client's verified certificate, as `dns:…`, `uri:…`,
    /// `email:…` or `ip:…`.
    client_cert_san => ClientCertSan,
    /// SHA-256 of the client's verified certificate, lower-case hexadecimal.
    client_cert_fingerprint => ClientCertFingerprint,
    /// `namespace/name` of the HTTPRoute that matched.
    route_name => RouteName,
    /// `name` of the rule that matched; absent when the rule has none.
    route_rule => RouteRule,
}

named_selectors! {
    /// A request field by lower-case name; several of a name are joined by `, `.
    header => Header,
    /// A response field by lower-case name, joined likewise. Response stage only.
    response_header => ResponseHeader,
    /// A cookie of the request by name.
    cookie => Cookie,
    /// A query parameter by name, percent-decoded.
    query_param => QueryParam,
    /// An attribute set by an earlier policy or by a TLS policy of this connection.
    attribute => Attribute,
}

/// The value exists.
pub fn present(selector: Selector) -> Predicate {
    Predicate::Present(selector)
}

/// The value does not exist.
pub fn absent(selector: Selector) -> Predicate {
    Predicate::Absent(selector)
}

/// The value exists and is equal.
pub fn equals(selector: Selector, value: impl Into<String>) -> Predicate {
    Predicate::Equals((selector, value.into()))
}

/// The value exists and starts with the text.
pub fn starts_with(selector: Selector, prefix: impl Into<String>) -> Predicate {
    Predicate::Prefix((selector, prefix.into()))
}

/// The value exists and is one of the texts.
pub fn one_of<T: Into<String>>(
    selector: Selector,
    values: impl IntoIterator<Item = T>,
) -> Predicate {
    Predicate::OneOf((selector, values.into_iter().map(Into::into).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_declared_twice_keeps_its_slot() {
        let mut stage = Stage::new();
        let user = stage.input(header("x-user"));
        let path = stage.input(path());
        assert_eq!(stage.input(header("x-user")), user);
        assert_ne!(user, path);
        assert_eq!(stage.inputs().len(), 2);
    }

    #[test]
    fn a_required_parameter_guards_unless_it_always_exists() {
        let stage = Stage::new().parameter(path(), true).parameter(header("x-key"), true);
        assert_eq!(stage.guards(), [present(header("x-key"))]);
        assert_eq!(stage.inputs(), [path(), header("x-key")]);
    }
}
