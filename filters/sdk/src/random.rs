//! Random numbers from the process's cryptographic generator. Grant: `random`. In native tests
//! they are those of the standard library's hash seeds.

#[cfg(target_family = "wasm")]
use crate::capabilities::random as host;

/// Sixty-four random bits.
pub fn next() -> u64 {
    #[cfg(target_family = "wasm")]
    return host::next();
    #[cfg(not(target_family = "wasm"))]
    {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(0_u8)
    }
}

/// `length` random bytes, at most 4096; more is a trap.
pub fn bytes(length: u32) -> Vec<u8> {
    #[cfg(target_family = "wasm")]
    return host::bytes(length);
    #[cfg(not(target_family = "wasm"))]
    {
        assert!(length <= 4096, "at most 4096 random bytes at once");
        let words = std::iter::repeat_with(next).flat_map(u64::to_le_bytes);
        words.take(length as usize).collect()
    }
}
