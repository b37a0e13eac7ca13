//! What a policy can read of an exchange, and the conditions the host evaluates itself.

use std::borrow::Cow;

use http::HeaderName;

/// Something a policy reads (`penstock:policy/types.selector`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// Request method, as sent.
    Method,
    /// `http` or `https`, as the client spoke to the gateway.
    Scheme,
    /// `Host` or `:authority`, as sent, with the port if there was one.
    Authority,
    /// Path of the request target, percent-encoding kept, without the query.
    Path,
    /// Query without the `?`.
    Query,
    /// Status code of the response, in decimal.
    Status,
    /// A request field, several of one name joined by `, ` (RFC 9110, section 5.3).
    Header(HeaderName),
    /// A response field, joined likewise. Never `set-cookie`.
    ResponseHeader(HeaderName),
    /// A cookie of the request by name; the first where a name repeats.
    Cookie(String),
    /// A query parameter by name, percent-decoded; the first where a name repeats.
    QueryParam(String),
    /// The client's address as text.
    ClientAddress,
    /// Server name of the TLS handshake, lower-case.
    TlsSni,
    /// Negotiated application protocol.
    TlsAlpn,
    /// `TLSv1.2` or `TLSv1.3`.
    TlsVersion,
    /// First subject alternative name of a verified client certificate.
    ClientCertSan,
    /// SHA-256 of a verified client certificate, lower-case hexadecimal.
    ClientCertFingerprint,
    /// `namespace/name` of the HTTPRoute that matched.
    RouteName,
    /// `name` of the rule that matched.
    RouteRule,
    /// An attribute set by an earlier policy or by a TLS policy of this connection.
    Attribute(String),
}

impl Selector {
    /// Whether it exists in the response stage alone.
    pub fn is_response_only(&self) -> bool {
        matches!(self, Selector::Status | Selector::ResponseHeader(_))
    }
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Selector::Method => f.write_str("method"),
            Selector::Scheme => f.write_str("scheme"),
            Selector::Authority => f.write_str("authority"),
            Selector::Path => f.write_str("path"),
            Selector::Query => f.write_str("query"),
            Selector::Status => f.write_str("status"),
            Selector::Header(name) => write!(f, "header/{name}"),
            Selector::ResponseHeader(name) => write!(f, "response-header/{name}"),
            Selector::Cookie(name) => write!(f, "cookie/{name}"),
            Selector::QueryParam(name) => write!(f, "query-param/{name}"),
            Selector::ClientAddress => f.write_str("client-address"),
            Selector::TlsSni => f.write_str("tls-sni"),
            Selector::TlsAlpn => f.write_str("tls-alpn"),
            Selector::TlsVersion => f.write_str("tls-version"),
            Selector::ClientCertSan => f.write_str("client-cert-san"),
            Selector::ClientCertFingerprint => f.write_str("client-cert-fingerprint"),
            Selector::RouteName => f.write_str("route-name"),
            Selector::RouteRule => f.write_str("route-rule"),
            Selector::Attribute(name) => write!(f, "attribute/{name}"),
        }
    }
}

/// A condition on one selector (`penstock:policy/types.predicate`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predicate {
    /// The value exists.
    Present(Selector),
    /// The value does not exist.
    Absent(Selector),
    /// The value exists and is equal.
    Equals(Selector, Box<str>),
    /// The value exists and starts with the text.
    Prefix(Selector, Box<str>),
    /// The value exists and is one of the texts.
    OneOf(Selector, Box<[Box<str>]>),
}

impl Predicate {
    /// What it looks at.
    pub fn selector(&self) -> &Selector {
        match self {
            Predicate::Present(selector)
            | Predicate::Absent(selector)
            | Predicate::Equals(selector, _)
            | Predicate::Prefix(selector, _)
            | Predicate::OneOf(selector, _) => selector,
        }
    }

    /// Whether it holds. Values are compared as bytes.
    pub fn holds(&self, exchange: &dyn Exchange) -> bool {
        let value = exchange.read(self.selector());
        let value = value.as_deref();
        match self {
            Predicate::Present(_) => value.is_some(),
            Predicate::Absent(_) => value.is_none(),
            Predicate::Equals(_, text) => value == Some(text.as_bytes()),
            Predicate::Prefix(_, text) => value.is_some_and(|v| v.starts_with(text.as_bytes())),
            Predicate::OneOf(_, texts) => {
                value.is_some_and(|v| texts.iter().any(|text| v == text.as_bytes()))
            }
        }
    }
}

/// The exchange a policy decides on, as the proxy sees it.
pub trait Exchange {
    /// The value of a selector, `None` where it does not exist. Borrows where it can: the host
    /// calls this for each guard and each input.
    fn read<'a>(&'a self, selector: &Selector) -> Option<Cow<'a, [u8]>>;

    /// Whether the exchange is being traced, so that span attributes are worth keeping.
    fn recording(&self) -> bool {
        false
    }

    /// `namespace/name` of the route that matched, for log lines.
    fn route(&self) -> &str;

    /// Trace id in hexadecimal, for log lines.
    fn trace_id(&self) -> Option<&str>;
}
