//! Names of resources.

use crate::shared_map::{MapKey, ends_chunk};
use std::fmt;

/// The kind of a resource. The order is the order of application: parents before children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// [`crate::Gateway`]
    Gateway = 0,
    /// [`crate::Certificate`]
    Certificate = 1,
    /// [`crate::Listener`]
    Listener = 2,
    /// [`crate::Filter`]
    Filter = 3,
    /// [`crate::TlsBinding`]
    TlsBinding = 4,
    /// [`crate::Backend`]
    Backend = 5,
    /// [`crate::Endpoints`]
    Endpoints = 6,
    /// [`crate::Rule`]
    Rule = 7,
    /// [`crate::Frontend`]
    Frontend = 8,
}

impl Kind {
    /// Short lower-case name, as it appears in logs and errors.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Gateway => "gateway",
            Kind::Certificate => "certificate",
            Kind::Listener => "listener",
            Kind::Filter => "filter",
            Kind::TlsBinding => "tls-binding",
            Kind::Backend => "backend",
            Kind::Endpoints => "endpoints",
            Kind::Rule => "rule",
            Kind::Frontend => "frontend",
        }
    }
}

/// What a resource is: its kind and a name unique in that kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message)]
pub struct Key {
    /// The kind.
    #[prost(enumeration = "Kind", tag = "1")]
    pub kind: i32,
    /// The name; its form is documented at each resource.
    #[prost(string, tag = "2")]
    pub name: String,
}

impl Key {
    /// A key from its parts.
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind: kind as i32, name: name.into() }
    }
}

impl MapKey for Key {
    fn ends_chunk(&self) -> bool {
        let kind = u8::try_from(self.kind).map(char::from).unwrap_or_default();
        ends_chunk(&[kind.encode_utf8(&mut [0; 4]), &self.name])
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind().name(), self.name)
    }
}
