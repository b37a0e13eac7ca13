//! Steers packets to the workers' sockets.
//!
//! A packet to the address and port of a listener is given to a worker's transparent socket, so that
//! the worker sees the client's address and the address that the client dialled. What goes from pod to
//! pod of this node is sent straight there, where the agent says so. Everything else goes on untouched.

#![no_std]
#![no_main]
#![expect(missing_docs, reason = "the macros make functions without documentation beside ours")]

mod maps;
mod packet;
mod redirect;
mod sockets;
mod steer;

use aya_ebpf::bindings::{__sk_buff, bpf_sk_lookup};
use aya_ebpf::macros::{classifier, sk_lookup};
use aya_ebpf::programs::{SkLookupContext, TcContext};

/// For the ingress of a device: what comes in is steered, or goes on to the device's next program.
#[classifier]
pub fn steer(ctx: TcContext) -> i32 {
    let skb: *mut __sk_buff = ctx.skb.skb;
    steer::steer(skb)
}

/// For the namespace of the node, where the kernel looks for a listening socket itself: for a packet of
/// no connection (a worker's socket answers with a reset, or takes it when it carries a SYN cookie), and
/// where a client opens a connection anew whose last one waits here for late packets (`TIME_WAIT`).
///
/// A cookie is right for every socket that had to send some, and under a flood all have: new connections
/// are spread evenly.
#[sk_lookup]
pub fn find(ctx: SkLookupContext) -> u32 {
    let ctx: *mut bpf_sk_lookup = ctx.lookup;
    sockets::find(ctx)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// `bpf_sk_assign` and the others are open to programs of this licence only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
