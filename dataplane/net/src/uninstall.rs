//! The end of steering.

use std::path::Path;

use crate::attach;
use crate::error::NetError;
use crate::pins::Pins;

/// Ends the steering that is pinned in this folder: programs leave the devices of the calling thread's
/// network namespace, and their maps go. Routes, rules and sockets are not part of it.
///
/// # Errors
/// A pin was not removed; the rest may be gone.
pub fn uninstall(dir: &Path) -> Result<(), NetError> {
    if !dir.exists() {
        return Ok(());
    }
    let pins = Pins::open(dir)?;
    for pin in pins.list() {
        attach::remove(&pins, pin)?;
    }
    pins.remove_all()
}
