//! Resources and their versions.

use crate::{
    Backend, Certificate, Endpoints, Filter, Frontend, Gateway, Key, Kind, Listener, Rule,
    TlsBinding,
    shared_map::{MapKey, Sum},
};
use prost::Message;
use sha2::{Digest, Sha256};
use std::{fmt, sync::Arc};

/// One resource, as it travels.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Resource {
    /// The content; always present in a valid message.
    #[prost(oneof = "ResourceKind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub kind: Option<ResourceKind>,
}

/// The content of a resource.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ResourceKind {
    /// See [`Gateway`].
    #[prost(message, tag = "1")]
    Gateway(Gateway),
    /// See [`Certificate`].
    #[prost(message, tag = "2")]
    Certificate(Certificate),
    /// See [`Listener`].
    #[prost(message, tag = "3")]
    Listener(Listener),
    /// See [`Filter`].
    #[prost(message, tag = "4")]
    Filter(Filter),
    /// See [`TlsBinding`].
    #[prost(message, tag = "5")]
    TlsBinding(TlsBinding),
    /// See [`Backend`].
    #[prost(message, tag = "6")]
    Backend(Backend),
    /// See [`Endpoints`].
    #[prost(message, tag = "7")]
    Endpoints(Endpoints),
    /// See [`Rule`].
    #[prost(message, tag = "8")]
    Rule(Rule),
    /// See [`Frontend`].
    #[prost(message, tag = "9")]
    Frontend(Frontend),
}

impl ResourceKind {
    /// The key under which the resource is kept.
    pub fn key(&self) -> Key {
        match self {
            ResourceKind::Gateway(r) => Key::new(Kind::Gateway, &r.name),
            ResourceKind::Certificate(r) => Key::new(Kind::Certificate, &r.name),
            ResourceKind::Listener(r) => {
                Key::new(Kind::Listener, format!("{}/{}", r.gateway, r.section))
            }
            ResourceKind::Filter(r) => Key::new(Kind::Filter, &r.name),
            ResourceKind::TlsBinding(r) => {
                Key::new(Kind::TlsBinding, format!("{}|{}", r.listener, r.hostname))
            }
            ResourceKind::Backend(r) => Key::new(Kind::Backend, &r.name),
            ResourceKind::Endpoints(r) => Key::new(Kind::Endpoints, &r.backend),
            ResourceKind::Rule(r) => Key::new(Kind::Rule, format!("{}/{}", r.route, r.id)),
            ResourceKind::Frontend(r) => {
                Key::new(Kind::Frontend, format!("{}|{}", r.gateway, r.port))
            }
        }
    }
}

/// A hash of a resource's content: the first 16 bytes of SHA-256 over its canonical encoding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub [u8; 16]);

impl Version {
    /// The version of a content.
    pub fn of(kind: &ResourceKind) -> Self {
        Self::of_bytes(&Resource { kind: Some(kind.clone()) }.encode_to_vec())
    }

    /// The version of a whole configuration, from the keys in order and their versions: equal
    /// configurations have equal versions on every replica.
    ///
    /// It is the hash over the hashes of its chunks, each of which ends behind a key that
    /// [ends one](MapKey::ends_chunk): so it can be told in the time that a change takes.
    pub fn of_all<'a>(resources: impl IntoIterator<Item = (&'a Key, &'a Version)>) -> Self {
        let (mut sums, mut chunk) = (Vec::new(), Vec::new());
        for (key, version) in resources {
            chunk.push((key, version));
            if key.ends_chunk() {
                sums.push(sum_of(chunk.drain(..)));
            }
        }
        if !chunk.is_empty() {
            sums.push(sum_of(chunk.into_iter()));
        }
        Self::of_sums(sums.into_iter())
    }

    /// From the hashes of all chunks.
    pub(crate) fn of_sums(sums: impl Iterator<Item = Sum>) -> Self {
        let mut hash = Sha256::new();
        sums.for_each(|sum| hash.update(sum));
        Self::of_digest(&hash.finalize())
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        Self::of_digest(&Sha256::digest(bytes))
    }

    fn of_digest(digest: &[u8]) -> Self {
        let mut version = [0; 16];
        version.copy_from_slice(&digest[..16]);
        Self(version)
    }
}

/// The hash of one chunk of a configuration.
pub(crate) fn sum_of<'a>(resources: impl Iterator<Item = (&'a Key, &'a Version)>) -> Sum {
    let (mut hash, mut encoded) = (Sha256::new(), Vec::new());
    for (key, version) in resources {
        encoded.clear();
        // A vector takes everything.
        let _ = key.encode_length_delimited(&mut encoded);
        hash.update(&encoded);
        hash.update(version.0);
    }
    Version::of_digest(&hash.finalize()).0
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A resource with its key and version. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned {
    /// What it is.
    pub key: Key,
    /// Hash of the content.
    pub version: Version,
    /// The content.
    pub content: Arc<ResourceKind>,
}

impl From<ResourceKind> for Versioned {
    fn from(content: ResourceKind) -> Self {
        Self { key: content.key(), version: Version::of(&content), content: Arc::new(content) }
    }
}
