//! A sampled event.

/// A packet to a listener, as the ring of events tells it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Nanoseconds since boot, without the time that the machine slept (`CLOCK_MONOTONIC`).
    pub time: u64,
    /// Where it came from: IPv6, or IPv4 [`crate::mapped`].
    pub source: [u8; 16],
    /// Where it was sent to, likewise.
    pub destination: [u8; 16],
    /// Port that it came from, in the order of the wire.
    pub source_port: [u8; 2],
    /// Port that it was sent to, likewise.
    pub destination_port: [u8; 2],
    /// Index of the device that it came in by.
    pub device: u32,
    /// [`crate::Reason`] by number.
    pub reason: u32,
    /// Index of the worker that got it, or `u32::MAX`.
    pub worker: u32,
}

impl Event {
    /// Size in the ring.
    pub const SIZE: usize = 56;

    /// As the ring held it; `None` for anything of another size.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::SIZE] = bytes.try_into().ok()?;
        let [mut source, mut destination] = [[0; 16]; 2];
        source.copy_from_slice(&bytes[8..24]);
        destination.copy_from_slice(&bytes[24..40]);
        let word = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let mut time = [0; 8];
        time.copy_from_slice(&bytes[..8]);
        Some(Self {
            time: u64::from_ne_bytes(time),
            source,
            destination,
            source_port: [bytes[40], bytes[41]],
            destination_port: [bytes[42], bytes[43]],
            device: word(44),
            reason: word(48),
            worker: word(52),
        })
    }
}
