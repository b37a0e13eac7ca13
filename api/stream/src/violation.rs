//! How a node can break the protocol.

use crate::Role;
use penstock_config::Version;

/// A node broke the protocol. Its stream is ended with the reason; the node, or what pretends to be
/// it, is at fault. It may connect again at once and is told the difference to what it then says it
/// has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The first message was another one.
    #[error("the first message of a stream is Hello")]
    HelloExpected,
    /// A second one.
    #[error("Hello is the first message of a stream and comes once")]
    HelloRepeated,
    /// Nothing came.
    #[error("no Hello came within {0} seconds of the stream's beginning")]
    HelloMissing(u64),
    /// Neither proxy nor agent.
    #[error("Hello names role number {0}, which is neither proxy (1) nor agent (2)")]
    UnknownRole(u32),
    /// The token's ServiceAccount plays another role.
    #[error("Hello says {said}, the token is that of the ServiceAccount of a {proven}")]
    WrongRole {
        /// What Hello says.
        said: Role,
        /// What the token proves.
        proven: Role,
    },
    /// The token is bound to another node.
    #[error("Hello says node {said:?}, the token is bound to node {proven:?}")]
    WrongNode {
        /// What Hello says.
        said: String,
        /// What the token proves.
        proven: String,
    },
    /// The token is bound to another pod.
    #[error("Hello says pod {said:?}, the token is bound to pod {proven:?}")]
    WrongPod {
        /// What Hello says.
        said: String,
        /// What the token proves.
        proven: String,
    },
    /// A name beyond bounds.
    #[error("a name in Hello is longer than {0} bytes")]
    NameTooLong(usize),
    /// A resource without key, or a version that is no hash.
    #[error("a {0} in the message is missing or malformed")]
    Malformed(&'static str),
    /// Addresses are an agent's.
    #[error("a {0} reports addresses, which only an agent does")]
    AddressesOf(Role),
    /// An answer where no update is under way.
    #[error("the answer names update {0}, and none is under way")]
    UnexpectedAnswer(u64),
    /// An answer to another update.
    #[error("the answer names update {said}, under way is {expected}")]
    WrongNonce {
        /// What the answer says.
        said: u64,
        /// What was sent.
        expected: u64,
    },
    /// An answer before the update was sent to its end.
    #[error("the answer to update {0} came before the update was sent")]
    EarlyAnswer(u64),
    /// The node says that it has something else than it was sent.
    #[error("the answer says version {said}, the update led to {expected}")]
    WrongVersion {
        /// What the answer says.
        said: Version,
        /// What was sent.
        expected: Version,
    },
    /// More refusals than resources can sensibly be.
    #[error("{0} refusals in one message, at most 10000 are read")]
    TooManyRefusals(usize),
    /// A message beyond bounds.
    #[error("a message of more than {0} bytes")]
    MessageTooLarge(usize),
    /// A message that is none.
    #[error("{0}")]
    Undecodable(String),
    /// Nothing was heard.
    #[error("nothing was heard for {0} seconds; a node says something each second")]
    Silent(u64),
}

impl Violation {
    /// Which one, as a name: fit for a metric label.
    pub fn reason(&self) -> &'static str {
        match self {
            Violation::HelloExpected => "HelloExpected",
            Violation::HelloRepeated => "HelloRepeated",
            Violation::HelloMissing(_) => "HelloMissing",
            Violation::UnknownRole(_) => "UnknownRole",
            Violation::WrongRole { .. } => "WrongRole",
            Violation::WrongNode { .. } => "WrongNode",
            Violation::WrongPod { .. } => "WrongPod",
            Violation::NameTooLong(_) => "NameTooLong",
            Violation::Malformed(_) => "Malformed",
            Violation::AddressesOf(_) => "AddressesOf",
            Violation::UnexpectedAnswer(_) => "UnexpectedAnswer",
            Violation::WrongNonce { .. } => "WrongNonce",
            Violation::EarlyAnswer(_) => "EarlyAnswer",
            Violation::WrongVersion { .. } => "WrongVersion",
            Violation::TooManyRefusals(_) => "TooManyRefusals",
            Violation::MessageTooLarge(_) => "MessageTooLarge",
            Violation::Undecodable(_) => "Undecodable",
            Violation::Silent(_) => "Silent",
        }
    }
}
