//! Waiting with an end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks until the answer is yes.
///
/// # Errors
/// The answer is an error, or still no when the time is over.
pub fn until(what: &str, patience: Duration, mut ask: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + patience;
    while !ask()? {
        if Instant::now() > end {
            bail!("waited {} s in vain until {what}", patience.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
