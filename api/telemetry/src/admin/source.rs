//! What a process has to say of itself.

use crate::page::PageFormat;

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

    /// The configuration in effect, without secrets: see [`dump()`](super::dump()).
    fn config(&self) -> serde_json::Value;
}
