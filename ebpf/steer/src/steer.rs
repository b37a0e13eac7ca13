//! What becomes of a packet.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_OK, TC_ACT_UNSPEC};
use penstock_ebpf_common::{MARK_MASK, Reason, STEERED_MARK};

use crate::maps::{count, has_listener, settings, tell};
use crate::packet::{Flow, flow};
use crate::redirect::redirect;
use crate::sockets::{Assigned, assign, is_known};

/// No worker.
const NOBODY: u32 = u32::MAX;

/// Steers or passes one packet, and counts it.
#[inline(always)]
pub(crate) fn steer(skb: *mut __sk_buff) -> i32 {
    let flow = match flow(skb) {
        Ok(flow) => flow,
        Err(reason) => return pass(reason),
    };
    if !has_listener(flow.destination, flow.destination_port) {
        let Some(verdict) = redirect(skb, &flow) else { return pass(Reason::NoListener) };
        count(Reason::Redirected);
        return verdict;
    }
    // What opens no connection the socket layer finds its connection for by itself, once it is routed
    // to this node; where there is none, `find` gives it a worker's socket to be answered by. So only
    // what opens one costs a look at sockets here: first at the connection that there may be.
    if !flow.opens || is_known(skb, &flow) {
        return take(skb, Reason::Continued);
    }
    let (reason, worker) = match assign(skb, &flow) {
        Assigned::To(worker) => (Reason::Steered, worker),
        Assigned::Nobody => (Reason::NoWorker, NOBODY),
        Assigned::Refused => (Reason::Refused, NOBODY),
    };
    event(skb, &flow, reason, worker);
    match worker {
        NOBODY => pass(reason),
        _ => take(skb, reason),
    }
}

/// To this node, past everybody who comes after us.
#[inline(always)]
fn take(skb: *mut __sk_buff, reason: Reason) -> i32 {
    count(reason);
    // SAFETY: the kernel gives the program a live `__sk_buff`, whose mark it may write.
    unsafe { (*skb).mark = (*skb).mark & !MARK_MASK | STEERED_MARK };
    TC_ACT_OK
}

/// To the next program of the device, or the stack.
#[inline(always)]
fn pass(reason: Reason) -> i32 {
    count(reason);
    TC_ACT_UNSPEC
}

#[inline(always)]
fn event(skb: *mut __sk_buff, flow: &Flow, reason: Reason, worker: u32) {
    // SAFETY: the kernel gives the program a live `__sk_buff`; the verifier checks the read.
    let device = unsafe { (*skb).ifindex };
    tell(settings(), flow, device, reason, worker);
}
