//! Names of namespaced objects.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use penstock_config::{MapKey, ends_chunk};
use std::fmt;

/// Namespace and name of an object. Shown as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Name {
    /// A name from its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl MapKey for Name {
    fn ends_chunk(&self) -> bool {
        ends_chunk(&[&self.namespace, &self.name])
    }
}

/// `metadata.creationTimestamp` in seconds since 1970. Objects from files have none: 0.
pub(crate) fn created(metadata: &ObjectMeta) -> i64 {
    metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second())
}
