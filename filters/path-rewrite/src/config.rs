//! What the policy is configured with.

use penstock_filter::{Condition, config};

/// Ordered rules on where requests go. The first that matches decides.
#[config]
pub struct Config {
    /// The rules.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) rules: Vec<Rule>,
    /// How many decisions each worker of the gateway remembers by their inputs; 0 is none.
    #[serde(default = "remember")]
    #[schemars(range(max = 4096))]
    pub(crate) remember: u32,
}

fn remember() -> u32 {
    1024
}

/// What a path must be, and what happens then. Exactly one of `rewrite`, `redirect`, `backend`.
#[config]
pub(crate) struct Rule {
    /// Which paths; all where absent.
    #[serde(default, rename = "match")]
    pub(crate) pattern: Option<Pattern>,
    /// Conditions that must hold, too.
    #[serde(default)]
    pub(crate) when: Vec<Condition>,
    /// Changes the request's target.
    pub(crate) rewrite: Option<Rewrite>,
    /// Sends the client elsewhere.
    pub(crate) redirect: Option<Redirect>,
    /// Sends the request to this backend of the HTTPRoute's rule: a template that makes `name`,
    /// `name:port` or `namespace/name:port`.
    pub(crate) backend: Option<String>,
}

/// Which paths a rule is for.
#[config]
pub(crate) enum Pattern {
    /// The path itself.
    Exact(String),
    /// Whole segments at the beginning: `/a` is for `/a` and `/a/b`, not for `/ab`. The remainder
    /// is `{match.rest}`.
    Prefix(String),
    /// A regular expression, which is searched in the path: begin with `^` and end with `$` to mean
    /// the whole. Groups are `{match.1}` or `{match.NAME}`.
    Regex(String),
}

/// A new request target, as templates. What is absent stays.
#[config]
pub(crate) struct Rewrite {
    /// New host.
    pub(crate) host: Option<String>,
    /// New path.
    pub(crate) path: Option<String>,
    /// Replaces the prefix that the HTTPRoute's PathPrefix match matched.
    pub(crate) prefix: Option<String>,
    /// New query without `?`; empty removes it.
    pub(crate) query: Option<String>,
}

/// Where the client is sent, as templates. What is absent stays as in the request.
#[config]
pub(crate) struct Redirect {
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "found")]
    pub(crate) status: u16,
    /// `http` or `https`.
    pub(crate) scheme: Option<String>,
    /// Host without port.
    pub(crate) host: Option<String>,
    /// Port.
    pub(crate) port: Option<u16>,
    /// New path.
    pub(crate) path: Option<String>,
    /// Replaces the prefix that the HTTPRoute's PathPrefix match matched.
    pub(crate) prefix: Option<String>,
}

fn found() -> u16 {
    302
}
