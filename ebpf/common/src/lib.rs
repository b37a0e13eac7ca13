//! What the programs in the kernel and user space agree on: the layout of every map, and the numbers
//! that packets are marked with.
//!
//! Each type has a fixed `#[repr(C)]` layout without padding, and is read and written by user space as
//! bytes in the machine's order, so that no side needs `unsafe` to share it. A change of a layout
//! raises [`LAYOUT`]: maps of another layout are never opened.

#![no_std]

mod connection;
mod event;
mod listener;
mod mac;
mod reason;
mod settings;

pub use connection::{Connection, ConnectionKey, LINGER, SYNS, Segment, Verdict};
pub use event::Event;
pub use listener::{ANY_ADDRESS, ListenerKey, Ports, mapped};
pub use mac::{NODE_MAC, POD_GATEWAY, pod_mac};
pub use reason::Reason;
pub use settings::{Settings, Worker};

/// Version of all layouts below. Pinned maps lie in a folder of this name.
pub const LAYOUT: u32 = 2;

/// The bits of a packet's mark that belong to the gateway. Others use other bits: Kubernetes
/// 0x4000 and 0x8000, Cilium 0x0f00 and the upper half, the AWS VPC CNI 0x80.
pub const MARK_MASK: u32 = 0x3000;

/// Mark of a packet that the steering program took: routed to this node, untouched by NAT.
pub const STEERED_MARK: u32 = 0x1000;

/// Mark (`SO_MARK`) of the workers' sockets and so of their answers: untouched by NAT.
pub const ANSWER_MARK: u32 = 0x2000;

/// The most workers of one node.
pub const MAX_WORKERS: u32 = 64;

/// The most (address, port) pairs of one node.
pub const MAX_LISTENERS: u32 = 16_384;

/// The most addresses of the node itself.
pub const MAX_LOCAL: u32 = 1_024;

/// The most pods of one node whose packets are redirected.
pub const MAX_PODS: u32 = 4_096;

/// The most connections between pods that are known; of more, those go to the stack that said nothing
/// for longest. About 8 MiB.
pub const MAX_CONNECTIONS: u32 = 65_536;

/// Size of the ring of sampled events, in bytes; a power of two of pages.
pub const EVENTS_BYTES: u32 = 256 * 1024;

/// Protocol number of TCP (RFC 9293).
pub const TCP: u8 = 6;
