//! Sockets: whose a connection is, and which worker gets a new one.

use core::ffi::{c_long, c_void};
use core::ptr::{from_mut, from_ref};

use aya_ebpf::bindings::{__sk_buff, BPF_F_CURRENT_NETNS, BPF_TCP_LISTEN, bpf_sk_lookup};
use aya_ebpf::helpers::generated::{
    bpf_map_lookup_elem, bpf_sk_assign, bpf_sk_release, bpf_skc_lookup_tcp,
};
use penstock_ebpf_common::{MAX_WORKERS, mapped};

use crate::maps::{SOCKETS, has_listener, is_listeners_port, settings, worker};
use crate::packet::{Flow, spread};

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

/// The socket layer has the connection that this packet asks to open: it was closed a moment ago
/// (`TIME_WAIT`), or asked for before. A socket that only listens is not meant.
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

/// Gives a packet that opens a connection to the listening socket of the least loaded worker, among
/// equals to the one of the flow's hash.
#[inline(always)]
pub(crate) fn assign(skb: *mut __sk_buff, flow: &Flow) -> Assigned {
    let workers = settings().workers.min(MAX_WORKERS);
    let Some(index) = choose(workers, flow.hash(), true) else { return Assigned::Nobody };
    match give(skb.cast(), index) {
        None => Assigned::Nobody,
        Some(0) => {
            if let Some(worker) = worker(index) {
                // SAFETY: a live entry of the map. Another CPU may add at the same time, and one of
                // the two be lost: user space corrects the sum.
                unsafe { (*worker).load += 1 };
            }
            Assigned::To(index)
        }
        Some(_) => Assigned::Refused,
    }
}

/// The listening socket for a listener's address, where the kernel looks for one itself: the one of the
/// hash, since what comes here opens no connection that anybody counts. Anything else stays as it is.
#[inline(always)]
pub(crate) fn find(ctx: *mut bpf_sk_lookup) -> u32 {
    const PASS: u32 = 1;
    // SAFETY: the kernel gives the program a live context; the verifier checks each read.
    let (protocol, family, port) = unsafe { ((*ctx).protocol, (*ctx).family, (*ctx).local_port) };
    // The port is in the machine's order.
    let port = port as u16;
    if protocol != TCP || !is_listeners_port(port) {
        return PASS;
    }
    // All of both families, and volatile: else the compiler moves the reads behind the choice, through a
    // computed address, which the verifier refuses. What a family has not is zero.
    // SAFETY: as above; IPv6 addresses word by word, as the verifier has it.
    let (remote_port, source4, source6, destination4, destination6) = unsafe {
        let (local, remote) = (&raw const (*ctx).local_ip6, &raw const (*ctx).remote_ip6);
        let word = |word: *const u32| word.read_volatile();
        let local = local.cast::<u32>();
        (
            (&raw const (*ctx).remote_port).read_volatile(),
            word(&raw const (*ctx).remote_ip4),
            word(remote.cast::<u32>().add(3)),
            word(&raw const (*ctx).local_ip4),
            [word(local), word(local.add(1)), word(local.add(2)), word(local.add(3))],
        )
    };
    let (source, destination) = match family {
        IPV4 => (source4, mapped(destination4.to_ne_bytes())),
        _ => (source6, joined(destination6)),
    };
    if !has_listener(destination, port) {
        return PASS;
    }
    let [.., a, b, c, d] = destination;
    let hash = spread(source, u32::from_ne_bytes([a, b, c, d]), (u16::from_be(remote_port), port));
    if let Some(index) = choose(settings().workers.min(MAX_WORKERS), hash, false) {
        // Where it is refused, the kernel goes on looking.
        let _ = give(ctx.cast(), index);
    }
    PASS
}

/// An IPv6 address from its words.
#[inline(always)]
fn joined(words: [u32; 4]) -> [u8; 16] {
    let mut address = [0; 16];
    address[..4].copy_from_slice(&words[0].to_ne_bytes());
    address[4..8].copy_from_slice(&words[1].to_ne_bytes());
    address[8..12].copy_from_slice(&words[2].to_ne_bytes());
    address[12..].copy_from_slice(&words[3].to_ne_bytes());
    address
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
