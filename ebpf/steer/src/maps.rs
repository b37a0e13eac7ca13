//! The maps, and how they are read.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, SockMap};
use aya_ebpf::helpers::{bpf_get_prandom_u32, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_map;
use penstock_ebpf_common::{
    ANY_ADDRESS, Connection, ConnectionKey, EVENTS_BYTES, Event, ListenerKey, MAX_CONNECTIONS,
    MAX_LISTENERS, MAX_LOCAL, MAX_PODS, MAX_WORKERS, Ports, Reason, Settings, Worker,
};

use crate::packet::Flow;

#[btf_map]
static LISTENERS: HashMap<
    ListenerKey,
    u32,
    { MAX_LISTENERS as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

#[btf_map]
static PORTS: Array<Ports, 1> = Array::new();

/// The node's own addresses: only these may a listener without an address take.
#[btf_map]
static LOCAL: HashMap<[u8; 16], u32, { MAX_LOCAL as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

#[btf_map]
static SETTINGS: Array<Settings, 1> = Array::new();

#[btf_map]
static WORKERS: Array<Worker, { MAX_WORKERS as usize }> = Array::new();

/// The listening socket of each worker, by the index of [`WORKERS`].
#[btf_map]
pub(crate) static SOCKETS: SockMap<{ MAX_WORKERS as usize }> = SockMap::new();

/// The node's end of the wire of each pod, by index, by the pod's IPv4 address.
#[btf_map]
static PODS: HashMap<[u8; 4], u32, { MAX_PODS as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Connections from pod to pod that pass the stack by.
#[btf_map]
pub(crate) static CONNECTIONS: LruHashMap<ConnectionKey, Connection, { MAX_CONNECTIONS as usize }> =
    LruHashMap::new();

#[btf_map]
static COUNTERS: PerCpuArray<u64, { Reason::COUNT as usize }> = PerCpuArray::new();

#[btf_map]
static EVENTS: RingBuf<Event, { EVENTS_BYTES as usize }> = RingBuf::new();

/// Whether there is any listener at this port.
#[inline(always)]
pub(crate) fn is_listeners_port(port: u16) -> bool {
    PORTS.get(0).is_some_and(|ports| ports.of(port) != 0)
}

/// Whether a listener has this address and port: one of its own, or one for every address of the node.
#[inline(always)]
pub(crate) fn has_listener(address: [u8; 16], port: u16) -> bool {
    let Some(ports) = PORTS.get(0) else { return false };
    let kinds = ports.of(port);
    if kinds & Ports::ADDRESS != 0 && LISTENERS.get_ptr(ListenerKey::tcp(address, port)).is_some() {
        return true;
    }
    kinds & Ports::ANY != 0
        && LISTENERS.get_ptr(ListenerKey::tcp(ANY_ADDRESS, port)).is_some()
        && LOCAL.get_ptr(address).is_some()
}

/// The settings, once user space has made them.
#[inline(always)]
pub(crate) fn settings() -> Settings {
    SETTINGS.get(0).copied().unwrap_or_default()
}

/// The device of the pod with this address.
#[inline(always)]
pub(crate) fn device_of_pod(address: [u8; 4]) -> Option<u32> {
    // SAFETY: a word, whole at any time; it is copied at once.
    unsafe { PODS.get(address) }.copied()
}

/// The worker of this index.
#[inline(always)]
pub(crate) fn worker(index: u32) -> Option<*mut Worker> {
    WORKERS.get_ptr_mut(index)
}

/// Counts a packet.
#[inline(always)]
pub(crate) fn count(reason: Reason) {
    if let Some(counter) = COUNTERS.get_ptr_mut(reason as u32) {
        // SAFETY: the kernel gives this CPU its own live entry, and a program is not interrupted by
        // another one of its kind on the same CPU.
        unsafe { *counter += 1 };
    }
}

/// Tells of a packet, where sampling has it so; a full ring drops it.
#[inline(always)]
pub(crate) fn tell(settings: Settings, flow: &Flow, device: u32, reason: Reason, worker: u32) {
    // SAFETY: the helper takes nothing and returns a number.
    if settings.sample == 0 || unsafe { bpf_get_prandom_u32() } % settings.sample != 0 {
        return;
    }
    let Some(mut slot) = EVENTS.reserve(0) else { return };
    slot.write(Event {
        // SAFETY: the helper takes nothing and returns a number.
        time: unsafe { bpf_ktime_get_ns() },
        source: flow.source,
        destination: flow.destination,
        source_port: flow.source_port.to_be_bytes(),
        destination_port: flow.destination_port.to_be_bytes(),
        device,
        reason: reason as u32,
        worker,
    });
    slot.submit(0);
}
