//! From a pod straight into another one of the node, past the node's stack.

use core::ptr::from_ref;

use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::{bpf_redirect_peer, bpf_skb_store_bytes};
use penstock_ebpf_common::{Connection, ConnectionKey, NODE_MAC, Verdict, pod_mac};

use crate::maps::{CONNECTIONS, device_of_pod, settings};
use crate::packet::Flow;

/// The verdict on a packet that goes straight into a pod; `None`: the stack has it. Only what a pod sends
/// from its own address, to another pod's, as part of a connection that the stack saw nothing of.
#[inline(always)]
pub(crate) fn redirect(skb: *mut __sk_buff, flow: &Flow) -> Option<i32> {
    if settings().pods == 0 || !flow.plain {
        return None;
    }
    // SAFETY: the kernel gives the program a live `__sk_buff`; the verifier checks the read.
    let from = unsafe { (*skb).ifindex };
    let (source, destination) = flow.ipv4();
    if device_of_pod(source)? != from {
        return None;
    }
    let to = device_of_pod(destination)?;
    if to == from || !is_untracked(flow) {
        return None;
    }
    Some(send(skb, to, destination))
}

/// Whether the segment belongs to a connection that the stack saw nothing of, and it is to stay so.
#[inline(always)]
fn is_untracked(flow: &Flow) -> bool {
    let (source, destination) = flow.ipv4();
    let (source, destination) = ((source, flow.source_port), (destination, flow.destination_port));
    let (key, from_low) = ConnectionKey::of(source, destination);
    let Some(connection) = CONNECTIONS.get_ptr_mut(key) else {
        let asked = Connection::asked(&flow.segment, from_low);
        return asked.is_some_and(|asked| CONNECTIONS.insert(key, asked, 0).is_ok());
    };
    // SAFETY: the helper takes nothing and returns a number.
    let now = || unsafe { bpf_ktime_get_ns() };
    // SAFETY: a live entry of the map. The other end's packets may change it on another CPU at the same
    // time; its fields are such that what is lost of it then costs a repetition at most.
    let verdict = unsafe { (*connection).next(&flow.segment, from_low, now) };
    if matches!(verdict, Verdict::RedirectAndForget | Verdict::PassAndForget) {
        // It may be gone by itself.
        let _ = CONNECTIONS.remove(key);
    }
    matches!(verdict, Verdict::Redirect | Verdict::RedirectAndForget)
}

/// Into the pod behind a device, as if the node had forwarded it. Where the device is gone or down, the
/// kernel drops it, as the stack would.
#[inline(always)]
fn send(skb: *mut __sk_buff, device: u32, address: [u8; 4]) -> i32 {
    let mut macs = [0; 12];
    macs[..6].copy_from_slice(&pod_mac(address));
    macs[6..].copy_from_slice(&NODE_MAC);
    // SAFETY: the kernel gives the program a live `__sk_buff`, and the helper reads all of the buffer.
    // Writing by pointers instead would have the kernel copy the head of each packet that comes in.
    unsafe {
        match bpf_skb_store_bytes(skb.cast(), 0, from_ref(&macs).cast(), 12, 0) {
            0 => bpf_redirect_peer(device, 0) as i32,
            // No memory to unshare it.
            _ => TC_ACT_SHOT,
        }
    }
}
