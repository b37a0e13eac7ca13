//! Sockets: whose a connection is, and which worker gets a new one.

use core::ffi::{c_long, c_void};
use core::ptr::{from_mut, from_ref};

use aya_ebpf::bindings::{__sk_buff, BPF_F_CURRENT_NETNS, BPF_TCP_LISTEN, bpf_sk_lookup};
use aya_ebpf::helpers::generated::{
    bpf_map_lookup_elem, bpf_sk_assign, bpf_sk_release, bpf_skc_lookup_tcp, bpf_tcp_check_syncookie,
};
use penstock_ebpf_common::{MAX_WORKERS, mapped};

use crate::maps::{SOCKETS, has_listener, settings, worker};
use crate::packet::{Flow, ip_header, tcp_header};

/// `AF_INET` of Linux.
const IPV4: u32 = 2;
/// `IPPROTO_TCP`.
const TCP: u32 = penstock_ebpf_common::TCP as u32;

/// What comes of a socket that was assigned, or was not.
pub(crate) enum Assigned {
    /// The packet is this worker's.
    To(u32),
    /// No worker is open.
    Nobody,
    /// The kernel refused the socket.
    Refused,
}

/// The socket layer knows the connection of this packet: it is established, or being opened, or closed
/// a moment ago. A socket that only listens is not meant.
#[inline(always)]
pub(crate) fn is_known(skb: *mut __sk_buff, flow: &Flow) -> bool {
    if flow.ipv4 {
        let (source, destination) = flow.ipv4();
        look_up(skb, Tuple { source, destination, ports: ports(flow) })
    } else {
        let Flow { source, destination, .. } = *flow;
        look_up(skb, Tuple { source, destination, ports: ports(flow) })
    }
}

/// Gives a packet to a worker's listening socket: one that opens a connection to the least loaded
/// worker, among equals the one of the flow's hash; one that answers a SYN cookie to the worker that
/// sent it; any other to the worker of the hash.
#[inline(always)]
pub(crate) fn assign(skb: *mut __sk_buff, flow: &Flow) -> Assigned {
    let workers = settings().workers.min(MAX_WORKERS);
    if !flow.opens
        && let Some(assigned) = by_cookie(skb, flow, workers)
    {
        return assigned;
    }
    let Some(index) = choose(workers, flow.hash(), flow.opens) else { return Assigned::Nobody };
    match give(skb.cast(), index) {
        None => Assigned::Nobody,
        Some(0) => {
            if flow.opens
                && let Some(worker) = worker(index)
            {
                // SAFETY: a live entry of the map. Another CPU may add at the same time, and one of
                // the two be lost: user space corrects the sum.
                unsafe { (*worker).load += 1 };
            }
            Assigned::To(index)
        }
        Some(_) => Assigned::Refused,
    }
}

/// The listening socket for an address of a listener, where the kernel looks for one itself.
/// Anything else stays as it is.
#[inline(always)]
pub(crate) fn reopen(ctx: *mut bpf_sk_lookup) -> u32 {
    const PASS: u32 = 1;
    // SAFETY: the kernel gives the program a live context; the verifier checks each read.
    let (protocol, family, port, remote_port) =
        unsafe { ((*ctx).protocol, (*ctx).family, (*ctx).local_port, (*ctx).remote_port) };
    if protocol != TCP {
        return PASS;
    }
    let destination = if family == IPV4 {
        // SAFETY: as above.
        mapped(unsafe { (*ctx).local_ip4 }.to_ne_bytes())
    } else {
        // SAFETY: as above; word by word, as the verifier has it.
        let words = unsafe {
            let ip = &raw const (*ctx).local_ip6;
            [(*ip)[0], (*ip)[1], (*ip)[2], (*ip)[3]]
        };
        let mut address = [0; 16];
        address[..4].copy_from_slice(&words[0].to_ne_bytes());
        address[4..8].copy_from_slice(&words[1].to_ne_bytes());
        address[8..12].copy_from_slice(&words[2].to_ne_bytes());
        address[12..].copy_from_slice(&words[3].to_ne_bytes());
        address
    };
    if !has_listener(destination, port as u16) {
        return PASS;
    }
    let workers = settings().workers.min(MAX_WORKERS);
    if let Some(index) = choose(workers, u32::from(remote_port).wrapping_mul(0x9e37_79b1), false) {
        let _ = give(ctx.cast(), index);
    }
    PASS
}

/// `struct bpf_sock_tuple` of one family.
#[repr(C)]
struct Tuple<A> {
    source: A,
    destination: A,
    ports: [[u8; 2]; 2],
}

#[inline(always)]
fn ports(flow: &Flow) -> [[u8; 2]; 2] {
    [flow.source_port.to_be_bytes(), flow.destination_port.to_be_bytes()]
}

#[inline(always)]
fn look_up<A>(skb: *mut __sk_buff, mut tuple: Tuple<A>) -> bool {
    // SAFETY: the helper reads the whole tuple, whose size tells the family; what it returns is
    // released on every path.
    unsafe {
        let socket = bpf_skc_lookup_tcp(
            skb.cast(),
            from_mut(&mut tuple).cast(),
            size_of::<Tuple<A>>() as u32,
            BPF_F_CURRENT_NETNS as i64 as u64,
            0,
        );
        if socket.is_null() {
            return false;
        }
        let state = (*socket).state;
        bpf_sk_release(socket.cast());
        state != BPF_TCP_LISTEN
    }
}

/// A worker under a flood keeps no half-open connections: the client's next packet proves by a cookie
/// that it asked, and only the socket that sends cookies takes it. Rare, so all are asked.
#[inline(always)]
fn by_cookie(skb: *mut __sk_buff, flow: &Flow, workers: u32) -> Option<Assigned> {
    let tcp = tcp_header(skb, flow)?;
    if flow.ipv4 {
        find_cookie(skb, &ip_header::<20>(skb)?, &tcp, workers)
    } else {
        find_cookie(skb, &ip_header::<40>(skb)?, &tcp, workers)
    }
}

#[inline(always)]
fn find_cookie<const N: usize>(
    skb: *mut __sk_buff,
    ip: &[u8; N],
    tcp: &[u8; 20],
    workers: u32,
) -> Option<Assigned> {
    for index in 0..MAX_WORKERS {
        if index >= workers {
            break;
        }
        // SAFETY: both headers have the lengths that are said; the socket is released on every path.
        unsafe {
            let socket = socket(index);
            if socket.is_null() {
                continue;
            }
            let (ip, tcp) = (ip.as_ptr().cast_mut().cast(), tcp.as_ptr().cast_mut().cast());
            if bpf_tcp_check_syncookie(socket, ip, N as u32, tcp, 20) == 0 {
                let result = bpf_sk_assign(skb.cast(), socket, 0);
                bpf_sk_release(socket);
                return Some(if result == 0 { Assigned::To(index) } else { Assigned::Refused });
            }
            bpf_sk_release(socket);
        }
    }
    None
}

/// An open worker, among the first so many: the least loaded one, or the next from the hash on.
#[inline(always)]
fn choose(workers: u32, hash: u32, by_load: bool) -> Option<u32> {
    if workers == 0 {
        return None;
    }
    let first = hash % workers;
    let mut best = None;
    let mut lowest = u64::MAX;
    for step in 0..MAX_WORKERS {
        if step >= workers {
            break;
        }
        let index = if first + step >= workers { first + step - workers } else { first + step };
        let Some(worker) = worker(index) else { break };
        // SAFETY: a live entry of the map; both are words, whole at any time.
        let (load, open) = unsafe { ((*worker).load, (*worker).open) };
        if open == 0 {
            continue;
        }
        if !by_load {
            return Some(index);
        }
        if load < lowest {
            lowest = load;
            best = Some(index);
        }
    }
    best
}

/// Assigns a worker's socket to a packet or a lookup; `None` where the slot is empty.
#[inline(always)]
fn give(ctx: *mut c_void, index: u32) -> Option<c_long> {
    // SAFETY: what is found is released.
    unsafe {
        let socket = socket(index);
        if socket.is_null() {
            return None;
        }
        let result = bpf_sk_assign(ctx, socket, 0);
        bpf_sk_release(socket);
        Some(result)
    }
}

/// A worker's listening socket, to be released; null where the slot is empty.
///
/// # Safety
/// Whoever gets a socket must release it.
#[inline(always)]
unsafe fn socket(index: u32) -> *mut c_void {
    // SAFETY: a map of sockets, and an index of its key's size.
    unsafe { bpf_map_lookup_elem(from_ref(&SOCKETS).cast_mut().cast(), from_ref(&index).cast()) }
}
