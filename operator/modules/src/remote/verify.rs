//! Content is what was asked for.

use crate::Failure;
use penstock_filter_host::digest;
use penstock_gateway::FilterReason;

/// Compares content with the digest that it was asked by.
///
/// # Errors
/// They differ.
pub(crate) fn verify(wanted: &str, content: &[u8]) -> Result<(), Failure> {
    let found = digest(content);
    if found == wanted {
        return Ok(());
    }
    Err(Failure::new(
        FilterReason::DigestMismatch,
        format!(
            "the server sent content of digest {found} instead of {wanted}; nothing of it is used: \
             correct the digest if the change was meant, look into the server if not"
        ),
    ))
}
