//! What header and path policies decide, validated and in the types of the proxy.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

/// One change to an exchange. Changes apply in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Replaces every field of that name by one.
    Set(HeaderName, HeaderValue),
    /// Adds one more field of that name.
    Append(HeaderName, HeaderValue),
    /// Removes every field of that name.
    Remove(HeaderName),
    /// Sets an attribute of the exchange.
    Attribute(Box<str>, Box<str>),
}

/// An answer that a policy gives itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 200 to 599.
    pub status: StatusCode,
    /// In the policy's order; none of the names that policies may never set.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// At most 64 KiB; empty with 204, 205 and 304.
    pub body: Bytes,
}

/// What a header policy decides.
#[derive(Clone, Debug, PartialEq)]
pub enum HeaderDecision {
    /// Nothing.
    Next,
    /// Apply these and go on.
    Edit(Arc<[Edit]>),
    /// Answer at once; in the response stage: replace the response.
    Respond(Arc<Response>),
}

/// How a path changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// The whole path, beginning with `/`, without query.
    Full(Box<str>),
    /// Replaces the prefix that the rule's PathPrefix match matched. Where the rule matched in
    /// another way this is a fault: see [`Worker::fault`](crate::Worker::fault).
    Prefix(Box<str>),
}

/// A changed request target. What is absent stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// New `Host`: a host name or address, with or without port.
    pub host: Option<HeaderValue>,
    /// New path.
    pub path: Option<PathChange>,
    /// New query without `?`; empty removes it.
    pub query: Option<Box<str>>,
}

/// Where the client is sent. What is absent stays as in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// `http` or `https`.
    pub scheme: Option<Box<str>>,
    /// Host without port.
    pub host: Option<Box<str>>,
    /// Port, 1 to 65535.
    pub port: Option<u16>,
    /// New path.
    pub path: Option<PathChange>,
}

/// What a path policy decides.
#[derive(Clone, Debug, PartialEq)]
pub enum PathDecision {
    /// Nothing.
    Next,
    /// Change the target and go on.
    Rewrite(Arc<Rewrite>),
    /// Send the client elsewhere.
    Redirect(Arc<Redirect>),
    /// Use this backendRef of the matched rule: `name`, `name:port` or `namespace/name:port`. A
    /// name that the rule does not have, or that stands for several, is a fault: see
    /// [`Worker::fault`](crate::Worker::fault).
    Backend(Arc<str>),
    /// Answer at once.
    Respond(Arc<Response>),
}
