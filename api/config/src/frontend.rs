//! Where the clients of a Gateway come in.

/// One port of a Gateway in a cluster. Key: `namespace/gateway|port`.
///
/// A connection belongs to it when it was made to [`Frontend::target_port`] of any address, to
/// [`Frontend::port`] of one of [`Frontend::addresses`], or to [`Frontend::node_port`] of a node.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Frontend {
    /// Parent [`crate::Gateway`], `namespace/name`.
    #[prost(string, tag = "1")]
    pub gateway: String,
    /// Port as the client dials it.
    #[prost(uint32, tag = "2")]
    pub port: u32,
    /// Port that no other Gateway and no other port of this one has: what load balancers and
    /// Services send to. In [`TARGET_PORTS`].
    #[prost(uint32, tag = "3")]
    pub target_port: u32,
    /// IP addresses that mean this Gateway, sorted, without repetition.
    #[prost(string, repeated, tag = "4")]
    pub addresses: Vec<String>,
    /// The same port of every node's own addresses; 0: none.
    #[prost(uint32, tag = "5")]
    pub node_port: u32,
    /// Name of the node that answers for [`Frontend::addresses`] on its uplink (RFC 826, RFC 4861).
    /// Empty: nobody does, somebody else (a cloud's load balancer) brings the packets.
    #[prost(string, tag = "6")]
    pub announced_by: String,
}

/// The target ports there are: below the port ranges of node ports (30000) and of the kernel's own
/// choice (32768), above those that servers commonly have.
pub const TARGET_PORTS: std::ops::RangeInclusive<u16> = 20_000..=29_999;
