//! What a policy declared after `configure`: what it reads, when it acts, what it may change and
//! what the host may do without calling it.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use penstock_config::{OnFailure, OpaqueValues, PolicyKind};

use crate::decision::Edit;
use crate::selector::{Exchange, Predicate, Selector};
use crate::tls::TlsPlan;

/// Most inputs of a stage.
pub(crate) const MAX_INPUTS: usize = 32;
/// Most remembered decisions of a stage and worker.
pub(crate) const MAX_MEMO: u32 = 4096;

/// Names that no policy may change or send: they belong to the connection or decide where the
/// message goes and how it is framed (RFC 9110, section 7.6.1).
const FORBIDDEN: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "proxy-connection",
];

/// The plan of one configured policy.
#[derive(Debug, PartialEq)]
pub struct Plan {
    /// `namespace/name` of the WasmFilter.
    pub filter: Arc<str>,
    /// Kind of policy.
    pub kind: PolicyKind,
    /// Request stage of a header policy, the only stage of a path policy.
    pub request: Option<Stage>,
    /// Response stage of a header policy.
    pub response: Option<Stage>,
    /// When a TLS policy takes part.
    pub tls: Option<TlsPlan>,
    /// What a run-time failure does to the request.
    pub on_failure: OnFailure,
    /// What an input does that is not UTF-8.
    pub opaque_values: OpaqueValues,
}

impl Plan {
    /// Whether the policy takes part in requests.
    pub fn has_request(&self) -> bool {
        self.request.is_some()
    }

    /// Whether the policy takes part in responses.
    pub fn has_response(&self) -> bool {
        self.response.is_some()
    }

    /// The cheapest tier that every decision of the policy can have: the greatest of its stages.
    pub fn tier(&self) -> crate::Tier {
        let stages = self.request.iter().chain(&self.response);
        let stages = stages.map(Stage::tier).max();
        match (&self.tls, stages) {
            (Some(_), _) => crate::Tier::Call,
            (None, tier) => tier.unwrap_or(crate::Tier::GuardMiss),
        }
    }
}

/// What a policy does at one point of an exchange.
#[derive(Debug, PartialEq)]
pub struct Stage {
    /// What each call receives, in this order.
    pub inputs: Vec<Selector>,
    /// All must hold, else the policy has nothing to say.
    pub when: Vec<Predicate>,
    /// What it may change.
    pub writes: WriteSet,
    /// The changes, when they do not depend on the exchange.
    pub constant: Option<Arc<[Edit]>>,
    /// Permission to remember decisions.
    pub memo: Option<MemoPlan>,
}

impl Stage {
    /// Whether every guard holds.
    pub fn applies(&self, exchange: &dyn Exchange) -> bool {
        self.when.iter().all(|predicate| predicate.holds(exchange))
    }

    /// How its decisions come about where the guards hold.
    pub fn tier(&self) -> crate::Tier {
        match (&self.constant, &self.memo) {
            (Some(_), _) => crate::Tier::Constant,
            (None, Some(_)) => crate::Tier::Memo,
            (None, None) => crate::Tier::Call,
        }
    }
}

/// Permission to remember decisions by input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoPlan {
    /// Most remembered decisions for each worker.
    pub max_entries: u32,
    /// How long one may be used; `None` is without end.
    pub ttl: Option<Duration>,
}

/// Header names that a stage may change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteSet {
    names: Vec<HeaderName>,
    prefixes: Vec<Box<str>>,
}

impl WriteSet {
    /// Reads the patterns of a plan: lower-case names, or prefixes that end in `*`.
    ///
    /// # Errors
    /// A sentence for each pattern that is none, or that names what no policy may change.
    pub fn parse(patterns: &[String]) -> Result<Self, Vec<String>> {
        let mut set = Self::default();
        let mut wrong = Vec::new();
        for pattern in patterns {
            if let Some(prefix) = pattern.strip_suffix('*') {
                match prefix.is_empty() || field_name(prefix).is_some() {
                    true => set.prefixes.push(prefix.into()),
                    false => wrong.push(format!("writes: `{pattern}` is no lower-case prefix")),
                }
                continue;
            }
            match field_name(pattern) {
                _ if is_forbidden_name(pattern) => {
                    wrong.push(format!("writes: no policy may change `{pattern}`"));
                }
                Some(name) => set.names.push(name),
                None => wrong.push(format!("writes: `{pattern}` is no lower-case field name")),
            }
        }
        if wrong.is_empty() { Ok(set) } else { Err(wrong) }
    }

    /// The name of this text where the patterns list it; a name that is listed may be changed.
    pub(crate) fn listed(&self, text: &str) -> Option<&HeaderName> {
        self.names.iter().find(|name| name.as_str() == text)
    }

    /// Whether the stage may change a header. Names that no policy may change are never allowed,
    /// also not through a prefix.
    pub fn allows(&self, name: &HeaderName) -> bool {
        let listed = self.names.contains(name)
            || self.prefixes.iter().any(|prefix| name.as_str().starts_with(&**prefix));
        listed && !is_forbidden(name)
    }

    /// The patterns, names first.
    pub fn patterns(&self) -> impl Iterator<Item = String> {
        let names = self.names.iter().map(|name| name.as_str().to_owned());
        names.chain(self.prefixes.iter().map(|prefix| format!("{prefix}*")))
    }
}

/// Whether no policy may change a header of that name.
pub(crate) fn is_forbidden(name: &HeaderName) -> bool {
    is_forbidden_name(name.as_str())
}

pub(crate) fn is_forbidden_name(name: &str) -> bool {
    name.starts_with(':') || FORBIDDEN.contains(&name)
}

/// A field name that is lower-case already.
pub(crate) fn field_name(name: &str) -> Option<HeaderName> {
    let lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    lower.then(|| HeaderName::from_bytes(name.as_bytes()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(patterns: &[&str]) -> WriteSet {
        let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        WriteSet::parse(&patterns).expect("a valid write set")
    }

    #[test]
    fn a_write_set_allows_names_and_prefixes() {
        let set = set(&["x-user", "x-app-*"]);
        for (name, allowed) in [
            ("x-user", true),
            ("x-user-2", false),
            ("x-app-", true),
            ("x-app-id", true),
            ("y", false),
        ] {
            assert_eq!(set.allows(&HeaderName::from_static(name)), allowed, "{name}");
        }
    }

    #[test]
    fn forbidden_names_stay_forbidden_under_a_wildcard() {
        let set = set(&["*"]);
        assert!(set.allows(&HeaderName::from_static("x-anything")));
        for name in FORBIDDEN {
            assert!(!set.allows(&HeaderName::from_static(name)), "{name}");
        }
    }

    #[test]
    fn a_plan_that_asks_for_a_forbidden_or_malformed_name_is_refused() {
        for pattern in ["host", ":path", "X-Upper", "with space", "te", "", "X*", "a b*"] {
            assert!(WriteSet::parse(&[pattern.to_owned()]).is_err(), "{pattern}");
        }
    }
}
