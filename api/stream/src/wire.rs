//! The messages, as they travel. gRPC service `penstock.stream.v1.Nodes`; field numbers are never
//! reused.
//!
//! ```text
//! service Nodes {
//!   rpc Stream(stream NodeMessage) returns (stream OperatorMessage);
//!   rpc Artifact(ArtifactRequest) returns (stream Chunk);
//! }
//! ```

use crate::{Refused, Role};
use bytes::Bytes;
pub use penstock_config::address::wire::{AddressReport, Addresses};
use penstock_config::{Key, Resource, Version, Versioned};

/// Bytes of one message from a node. A [`Hello`] with 100,000 resources has less than that.
pub const MAX_NODE_MESSAGE: usize = 16 << 20;

/// Bytes of one message from the operator: a part of an update with one very large resource.
pub const MAX_OPERATOR_MESSAGE: usize = 16 << 20;

/// Bytes after which an update is continued in a next part.
pub const PART_BYTES: usize = 512 << 10;

/// Bytes of one update, all parts together.
pub const MAX_UPDATE_BYTES: usize = 512 << 20;

/// Bytes of a compiled module.
pub const MAX_ARTIFACT_BYTES: u64 = 256 << 20;

/// Bytes of one [`Chunk`].
pub const CHUNK_BYTES: usize = 256 << 10;

/// Resources that a node may refuse at a time.
pub const MAX_REFUSALS: usize = 10_000;

/// Bytes of a name of a node, a pod, an engine or a target.
pub const MAX_NAME: usize = 256;

/// From a node.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeMessage {
    /// What is said; one that this version does not know is absent, and only proves life.
    #[prost(oneof = "FromNode", tags = "1, 2, 3, 4, 5, 6")]
    pub said: Option<FromNode>,
}

/// What a node says.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum FromNode {
    /// Always first, and only then.
    #[prost(message, tag = "1")]
    Hello(Hello),
    /// To an update.
    #[prost(message, tag = "2")]
    Answer(Answer),
    /// Each second.
    #[prost(message, tag = "3")]
    Heartbeat(Heartbeat),
    /// Unasked.
    #[prost(message, tag = "4")]
    Report(Report),
    /// Last.
    #[prost(message, tag = "5")]
    Goodbye(Goodbye),
    /// By an agent whose pods get their addresses from it: first, and whenever it changed.
    #[prost(message, tag = "6")]
    Addresses(AddressReport),
}

/// Who a node process is and what it has.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    /// Name of the Node; that of the token.
    #[prost(string, tag = "1")]
    pub node: String,
    /// Name of the pod; that of the token.
    #[prost(string, tag = "2")]
    pub pod: String,
    /// [`Role::number`].
    #[prost(uint32, tag = "3")]
    pub role: u32,
    /// Which engine compiled modules must fit; empty where none are run.
    #[prost(string, tag = "4")]
    pub engine: String,
    /// Which processor they must fit.
    #[prost(string, tag = "5")]
    pub target: String,
    /// What the node has. Empty: everything is sent.
    #[prost(message, repeated, tag = "6")]
    pub known: Vec<Known>,
    /// The version of all of it, as it serves. Empty: it serves nothing.
    #[prost(bytes = "vec", tag = "7")]
    pub version: Vec<u8>,
}

/// A resource that a node has.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Known {
    /// What it is.
    #[prost(message, optional, tag = "1")]
    pub key: Option<Key>,
    /// In which version.
    #[prost(bytes = "vec", tag = "2")]
    pub version: Vec<u8>,
}

/// The node has swapped to an update.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Answer {
    /// That of the update.
    #[prost(uint64, tag = "1")]
    pub nonce: u64,
    /// The version of all that the node has now.
    #[prost(bytes = "vec", tag = "2")]
    pub version: Vec<u8>,
    /// All that it cannot use now, whenever it came.
    #[prost(message, repeated, tag = "3")]
    pub refused: Vec<Refusal>,
}

/// A resource that a node cannot use.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Refusal {
    /// The resource.
    #[prost(message, optional, tag = "1")]
    pub key: Option<Key>,
    /// See [`Refused::reason`].
    #[prost(string, tag = "2")]
    pub reason: String,
    /// See [`Refused::message`].
    #[prost(string, tag = "3")]
    pub message: String,
    /// See [`Refused::kept`].
    #[prost(bool, tag = "4")]
    pub kept: bool,
}

/// The node lives.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Heartbeat {}

/// The node ends on purpose, and serves no more. A stream that ends without it was cut off.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Goodbye {}

/// What a node refuses has changed although its configuration has not: a module arrived late.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Report {
    /// The version of all that the node has.
    #[prost(bytes = "vec", tag = "1")]
    pub version: Vec<u8>,
    /// All that it cannot use now.
    #[prost(message, repeated, tag = "2")]
    pub refused: Vec<Refusal>,
}

/// From the operator.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OperatorMessage {
    /// What is said; one that this version does not know is absent.
    #[prost(oneof = "FromOperator", tags = "1, 2")]
    pub said: Option<FromOperator>,
}

/// What the operator says.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum FromOperator {
    /// A change, or a part of it.
    #[prost(message, tag = "1")]
    Update(Update),
    /// All that the node is told of its addresses; not acknowledged, the node's next report says what
    /// it has seen.
    #[prost(message, tag = "2")]
    Addresses(Addresses),
}

/// A change, in one or more parts that are applied together.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Update {
    /// Names the change on this stream; that of all its parts.
    #[prost(uint64, tag = "1")]
    pub nonce: u64,
    /// New or changed, parents first.
    #[prost(message, repeated, tag = "2")]
    pub upserts: Vec<Upsert>,
    /// Gone.
    #[prost(message, repeated, tag = "3")]
    pub removals: Vec<Key>,
    /// The version of all that the node has after it.
    #[prost(bytes = "vec", tag = "4")]
    pub version: Vec<u8>,
    /// Whether this is the last part.
    #[prost(bool, tag = "5")]
    pub last: bool,
    /// The span at the operator that ends when all nodes have acknowledged (W3C Trace Context); in the
    /// last part, and only where the change is traced.
    #[prost(string, tag = "6")]
    pub traceparent: String,
}

/// A resource with its name and version as the operator knows them: a node that is older may not
/// understand all of the content, and still says truly what it has.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Upsert {
    /// What it is.
    #[prost(message, optional, tag = "1")]
    pub key: Option<Key>,
    /// Hash of its content.
    #[prost(bytes = "vec", tag = "2")]
    pub version: Vec<u8>,
    /// The content.
    #[prost(message, optional, tag = "3")]
    pub resource: Option<Resource>,
}

/// Asks for a compiled module.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ArtifactRequest {
    /// The module: `sha256:` and 64 hexadecimal digits over the component.
    #[prost(string, tag = "1")]
    pub digest: String,
    /// See [`Hello::engine`].
    #[prost(string, tag = "2")]
    pub engine: String,
    /// See [`Hello::target`].
    #[prost(string, tag = "3")]
    pub target: String,
}

/// A piece of a compiled module.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Chunk {
    /// Bytes of all pieces together; the same in each.
    #[prost(uint64, tag = "1")]
    pub total: u64,
    /// The bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
}

impl Hello {
    /// What the node process is.
    pub fn role(&self) -> Option<Role> {
        Role::from_number(self.role)
    }
}

impl ArtifactRequest {
    /// Whether it can name a module: the digest is one, the rest is of bounded size.
    pub fn is_well_formed(&self) -> bool {
        let digits = self.digest.strip_prefix("sha256:");
        digits.is_some_and(|d| {
            d.len() == 64 && d.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        }) && self.engine.len() <= MAX_NAME
            && self.target.len() <= MAX_NAME
    }
}

impl From<FromNode> for NodeMessage {
    fn from(said: FromNode) -> Self {
        Self { said: Some(said) }
    }
}

impl From<Update> for OperatorMessage {
    fn from(update: Update) -> Self {
        Self { said: Some(FromOperator::Update(update)) }
    }
}

impl From<Addresses> for OperatorMessage {
    fn from(told: Addresses) -> Self {
        Self { said: Some(FromOperator::Addresses(told)) }
    }
}

impl From<&Versioned> for Upsert {
    fn from(resource: &Versioned) -> Self {
        Self {
            key: Some(resource.key.clone()),
            version: resource.version.0.to_vec(),
            resource: Some(Resource { kind: Some((*resource.content).clone()) }),
        }
    }
}

impl From<&Refused> for Refusal {
    fn from(refused: &Refused) -> Self {
        Self {
            key: Some(refused.key.clone()),
            reason: refused.reason.clone(),
            message: refused.message.clone(),
            kept: refused.kept,
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let kept = refusal.kept;
        let refused =
            Refused::new(refusal.key.unwrap_or_default(), refusal.reason, refusal.message);
        Refused { kept, ..refused }
    }
}

/// The version in a field; `None` where it has another size.
pub fn version(field: &[u8]) -> Option<Version> {
    field.try_into().ok().map(Version)
}

/// The refusals of a message, as many as may be reported at a time.
pub fn refusals(refused: &[Refused]) -> Vec<Refusal> {
    refused.iter().take(MAX_REFUSALS).map(Refusal::from).collect()
}
