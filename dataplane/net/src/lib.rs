//! What the agent sets up in the kernel of its node, so that packets to a Gateway reach the proxy's
//! workers with the client's address:
//!
//! - [`Steering`]: the programs, pinned in a BPF file system, with their maps; they stay when the agent
//!   goes, and a newer agent replaces them without a gap. They also send what goes from pod to pod of the
//!   node straight there ([`Steering::set_pods`]).
//! - [`routes`]: what the programs marked is routed to this node, and what processes of the node send to
//!   a Gateway passes the programs too.
//! - [`nat`]: what the programs marked, and what the workers answer, is kept from NAT; and proxies from
//!   the instance's metadata.
//! - [`announce()`]: which addresses the node answers for on its uplink.
//! - [`pods`]: the wire of each pod, and the route to it; [`uplinks`]: by which device its packets leave;
//!   [`egress`]: which of them leave with an address of the node.
//! - [`workers`]: the sockets that the workers accept on.
//! - [`probe()`]: what the kernel lacks, each thing named.
//!
//! Everything works on the network namespace of the calling thread, and everything but [`Steering`]
//! itself is a plain function: what is there is brought to what is wanted, and a second call changes
//! nothing.

mod announce;
mod attach;
mod devices;
pub mod egress;
mod error;
mod events;
pub mod nat;
mod netlink;
mod nft;
mod pins;
pub mod pods;
mod probe;
mod program;
mod redirect;
pub mod routes;
mod steering;
mod uninstall;
pub mod uplinks;
mod watch;
pub mod workers;

pub use announce::{Announced, announce};
pub use attach::Hook;
pub use devices::{Device, addresses, devices};
pub use error::NetError;
pub use events::{Events, SteeringEvent};
pub use penstock_ebpf_common::Reason;
pub use probe::{Feature, LEAST_KERNEL, Missing, probe};
pub use steering::{Changes, Counters, ListenAddress, Steering};
pub use uninstall::uninstall;
pub use watch::DeviceWatch;
