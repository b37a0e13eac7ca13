//! What the server allows.

use std::time::Duration;

/// Limits of the server.
#[derive(Clone, Copy, Debug)]
pub struct ServeOptions {
    /// Connections at a time. More wait to be accepted.
    pub max_connections: usize,
    /// For a TLS handshake, and then for a valid token.
    pub proof_timeout: Duration,
    /// After that a node has to open a new stream, and so to prove itself again.
    pub stream_age: Duration,
    /// For streams to end after the server was told to.
    pub drain_timeout: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            proof_timeout: Duration::from_secs(10),
            stream_age: Duration::from_secs(3600),
            drain_timeout: Duration::from_secs(5),
        }
    }
}
