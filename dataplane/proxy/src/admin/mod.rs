//! The port for operators and their tools: health, metrics and the configuration in effect.
//!
//! It runs on a thread of its own, so that it answers while workers are busy, and knows the proxy
//! only as an [`AdminSource`]. It has no authentication: bind it to an address that only operators
//! reach. What it shows holds no secret.

mod dump;
mod server;

pub use dump::dump;
pub use server::AdminServer;

use crate::telemetry::PageFormat;

/// What the port shows.
pub trait AdminSource: Send + Sync + 'static {
    /// Whether the process works. What is wrong otherwise: it should be restarted.
    ///
    /// # Errors
    /// A sentence for people.
    fn live(&self) -> Result<(), String> {
        Ok(())
    }

    /// Whether clients should be sent here. Why not otherwise: not yet, or not any more.
    ///
    /// # Errors
    /// A sentence for people.
    fn ready(&self) -> Result<(), String>;

    /// The metrics page as of now.
    fn metrics(&self, format: PageFormat) -> String;

    /// The configuration in effect, without secrets: see [`dump()`].
    fn config(&self) -> serde_json::Value;
}
