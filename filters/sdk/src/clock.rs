//! Time. Grant: `clock`. In native tests it is the machine's.

#[cfg(target_family = "wasm")]
use crate::capabilities::clock as host;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub fn now_unix_ms() -> u64 {
    #[cfg(target_family = "wasm")]
    return host::now_unix_ms();
    #[cfg(not(target_family = "wasm"))]
    return std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64);
}

/// Nanoseconds since an arbitrary start; never goes back.
pub fn monotonic_ns() -> u64 {
    #[cfg(target_family = "wasm")]
    return host::monotonic_ns();
    #[cfg(not(target_family = "wasm"))]
    {
        use std::sync::OnceLock;
        use std::time::Instant;
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }
}
