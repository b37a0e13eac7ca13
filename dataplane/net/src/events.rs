//! The ring of sampled events.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, RingBuf};
use penstock_ebpf_common::{Event, Reason};

/// A sampled packet to a listener that asked for a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SteeringEvent {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// The client.
    pub client: SocketAddr,
    /// What it dialled.
    pub listener: SocketAddr,
    /// Index of the device that it came in by.
    pub device: u32,
    /// What became of it.
    pub reason: Reason,
    /// The worker that got it.
    pub worker: Option<u32>,
}

/// The reading end of the ring: one reader at a time. Events that nobody reads in time are dropped by
/// the kernel, the newest first.
pub struct Events {
    ring: RingBuf<MapData>,
}

impl Events {
    pub(crate) const fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring }
    }

    /// What is in the ring; does not wait.
    pub fn drain(&mut self) -> Vec<SteeringEvent> {
        let mut events = Vec::new();
        while let Some(item) = self.ring.next() {
            events.extend(Event::from_bytes(&item).and_then(read));
        }
        events
    }
}

/// Readable when there are events.
impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

fn read(event: Event) -> Option<SteeringEvent> {
    let address = |ip, port| {
        let ip: IpAddr = Ipv6Addr::from(ip).to_canonical();
        SocketAddr::new(ip, u16::from_be_bytes(port))
    };
    Some(SteeringEvent {
        time: event.time,
        client: address(event.source, event.source_port),
        listener: address(event.destination, event.destination_port),
        device: event.device,
        reason: Reason::from_number(event.reason)?,
        worker: (event.worker != u32::MAX).then_some(event.worker),
    })
}
