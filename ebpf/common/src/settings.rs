//! What user space tells the programs beside the listeners.

/// The one entry of the settings map.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// How many of the first workers are considered; at most [`crate::MAX_WORKERS`].
    pub workers: u32,
    /// One event for about this many packets that open a connection; zero: none.
    pub sample: u32,
    /// 1: there are pods to redirect to; 0: nobody looks for one.
    pub pods: u32,
}

impl Settings {
    /// Size in the map.
    pub const SIZE: usize = 12;

    /// As the map holds it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&self.workers.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.sample.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.pods.to_ne_bytes());
        bytes
    }

    /// As the map held it.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        let word = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self { workers: word(0), sample: word(4), pods: word(8) }
    }
}

/// An entry of the map of workers.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Worker {
    /// What user space last said of its connections, and one for each given to it since.
    pub load: u64,
    /// 1: takes new connections; 0: does not.
    pub open: u64,
}

impl Worker {
    /// As the map holds it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.load.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.open.to_ne_bytes());
        bytes
    }

    /// As the map held it.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let [mut load, mut open] = [[0; 8]; 2];
        load.copy_from_slice(&bytes[..8]);
        open.copy_from_slice(&bytes[8..]);
        Self { load: u64::from_ne_bytes(load), open: u64::from_ne_bytes(open) }
    }
}
