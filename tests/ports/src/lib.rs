//! Ports for servers that a test starts later.
//!
//! A port that the kernel chose and that was closed again can be gone when the server binds it: the
//! kernel gives the same range to outgoing connections and to the next test that asks. So these come
//! from below that range, each one once in a process.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU16, Ordering::Relaxed},
};

/// Below Linux's default `ip_local_port_range`, above the ports that people know by heart.
const FIRST: u16 = 12_000;
/// How many there are.
const COUNT: u16 = 18_000;

/// A port on 127.0.0.1 that nobody listens on, and that this process has not handed out before.
///
/// # Panics
/// When all are taken: a test cannot go on then.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run at the same time begin at different places.
    let start = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    for _ in 0..COUNT {
        let step = u32::from(NEXT.fetch_add(1, Relaxed));
        let port = FIRST + u16::try_from((start + step) % u32::from(COUNT)).unwrap_or(0);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("every port from {FIRST} on is taken");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_handed_out_twice_and_none_that_is_taken() {
        let first = free_port();
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).expect("it is free");
        let mut seen = vec![first];
        for _ in 0..200 {
            let port = free_port();
            assert!(!seen.contains(&port) && (FIRST..FIRST + COUNT).contains(&port));
            seen.push(port);
        }
    }
}
