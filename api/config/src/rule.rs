//! Rules of routes.

/// One rule of an HTTPRoute. Key: `namespace/route/id`, where id is the rule's `name` or else a hash
/// of its matches: reordering rules renames nothing.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Rule {
    /// `namespace/name` of the HTTPRoute.
    #[prost(string, tag = "1")]
    pub route: String,
    /// The id part of the key.
    #[prost(string, tag = "2")]
    pub id: String,
    /// `name` of the rule; empty when it has none.
    #[prost(string, tag = "3")]
    pub name: String,
    /// The listeners that serve it, and for which names.
    #[prost(message, repeated, tag = "4")]
    pub attachments: Vec<Attachment>,
    /// Creation time of the route, seconds since 1970: the first tie-break.
    #[prost(int64, tag = "5")]
    pub created: i64,
    /// Position within the route: the last tie-break.
    #[prost(uint32, tag = "6")]
    pub position: u32,
    /// Any of these must match; at least one.
    #[prost(message, repeated, tag = "7")]
    pub matches: Vec<HttpMatch>,
    /// What is done with the request, in order.
    #[prost(message, repeated, tag = "8")]
    pub filters: Vec<Step>,
    /// Keys of TLS filters that the connection must have satisfied, in their current version.
    /// On a listener without TLS a rule with TLS filters answers 421.
    #[prost(string, repeated, tag = "9")]
    pub tls_filters: Vec<String>,
    /// Where requests go. Empty without a redirect or an answer: 500.
    #[prost(message, repeated, tag = "10")]
    pub backends: Vec<BackendChoice>,
    /// `timeouts.request` in milliseconds; 0 is none.
    #[prost(uint64, tag = "11")]
    pub request_timeout_ms: u64,
    /// `timeouts.backendRequest` in milliseconds; 0 is none.
    #[prost(uint64, tag = "12")]
    pub backend_timeout_ms: u64,
}

/// A listener that serves a rule.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Attachment {
    /// Key of the [`crate::Listener`].
    #[prost(string, tag = "1")]
    pub listener: String,
    /// Where the route's hostnames meet the listener's, lower-case; an empty string is "any". A
    /// name may begin with `*.`.
    #[prost(string, repeated, tag = "2")]
    pub hostnames: Vec<String>,
}

/// A match. All parts must hold.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HttpMatch {
    /// Path; absent is any.
    #[prost(oneof = "PathMatch", tags = "1, 2, 3")]
    pub path: Option<PathMatch>,
    /// Request fields, names lower-case, each name once.
    #[prost(message, repeated, tag = "4")]
    pub headers: Vec<ValueMatch>,
    /// Query parameters, each name once.
    #[prost(message, repeated, tag = "5")]
    pub query: Vec<ValueMatch>,
    /// Method; empty is any.
    #[prost(string, tag = "6")]
    pub method: String,
}

/// How a path is matched.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum PathMatch {
    /// Equal, case-sensitive.
    #[prost(string, tag = "1")]
    Exact(String),
    /// By path element; a trailing `/` is ignored.
    #[prost(string, tag = "2")]
    Prefix(String),
    /// Regular expression (RE2 syntax) over the whole path.
    #[prost(string, tag = "3")]
    Regex(String),
}

/// A match on a named value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ValueMatch {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Test; always present.
    #[prost(oneof = "ValueTest", tags = "2, 3")]
    pub test: Option<ValueTest>,
}

/// How a value is matched.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ValueTest {
    /// Equal.
    #[prost(string, tag = "2")]
    Exact(String),
    /// Regular expression over the whole value.
    #[prost(string, tag = "3")]
    Regex(String),
}

/// One step of a rule or of a backend.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Step {
    /// What it does; always present.
    #[prost(oneof = "StepAction", tags = "1, 2, 3, 4, 5, 6")]
    pub action: Option<StepAction>,
}

/// What a step does.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum StepAction {
    /// RequestHeaderModifier.
    #[prost(message, tag = "1")]
    RequestHeaders(HeaderEdit),
    /// ResponseHeaderModifier.
    #[prost(message, tag = "2")]
    ResponseHeaders(HeaderEdit),
    /// RequestRedirect.
    #[prost(message, tag = "3")]
    Redirect(Redirect),
    /// URLRewrite.
    #[prost(message, tag = "4")]
    Rewrite(Rewrite),
    /// A header or path policy: key of the [`crate::Filter`].
    #[prost(string, tag = "5")]
    Policy(String),
    /// Something that cannot be resolved: the request is answered 500.
    #[prost(message, tag = "6")]
    Failure(Failure),
}

/// Why requests are answered with an error by configuration.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Failure {
    /// Bounded reason, equal to the one in the status: `InvalidFilter`, `BackendNotFound`, ...
    #[prost(string, tag = "1")]
    pub reason: String,
    /// For log and `explain`; never sent to the client.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// Changes to header fields: `set`, then `add`, then `remove`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HeaderEdit {
    /// Replaces.
    #[prost(message, repeated, tag = "1")]
    pub set: Vec<Header>,
    /// Appends.
    #[prost(message, repeated, tag = "2")]
    pub add: Vec<Header>,
    /// Removes, names lower-case.
    #[prost(string, repeated, tag = "3")]
    pub remove: Vec<String>,
}

/// A header field, name lower-case.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Header {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// RequestRedirect. What is empty or 0 stays as in the request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Redirect {
    /// `http` or `https`.
    #[prost(string, tag = "1")]
    pub scheme: String,
    /// Host without port.
    #[prost(string, tag = "2")]
    pub hostname: String,
    /// Port; where 0, the well-known one of a given scheme, else the listener's.
    #[prost(uint32, tag = "3")]
    pub port: u32,
    /// 301, 302, 303, 307 or 308.
    #[prost(uint32, tag = "4")]
    pub status: u32,
    /// New path.
    #[prost(oneof = "PathEdit", tags = "5, 6")]
    pub path: Option<PathEdit>,
}

/// URLRewrite.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Rewrite {
    /// New Host; empty keeps it.
    #[prost(string, tag = "1")]
    pub hostname: String,
    /// New path.
    #[prost(oneof = "PathEdit", tags = "5, 6")]
    pub path: Option<PathEdit>,
}

/// How a path changes.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum PathEdit {
    /// ReplaceFullPath.
    #[prost(string, tag = "5")]
    Full(String),
    /// ReplacePrefixMatch: replaces what the rule's PathPrefix matched.
    #[prost(string, tag = "6")]
    Prefix(String),
}

/// One `backendRef`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BackendChoice {
    /// Key of the [`crate::Backend`]; empty where `failure` is set.
    #[prost(string, tag = "1")]
    pub backend: String,
    /// Weight; 0 gets no traffic.
    #[prost(uint32, tag = "2")]
    pub weight: u32,
    /// What is done with requests that go there, after the rule's steps.
    #[prost(message, repeated, tag = "3")]
    pub filters: Vec<Step>,
    /// The reference cannot be resolved: its share of requests is answered 500.
    #[prost(message, optional, tag = "4")]
    pub failure: Option<Failure>,
    /// `namespace/name:port` as written, by which a path policy may name it.
    #[prost(string, tag = "5")]
    pub reference: String,
}
