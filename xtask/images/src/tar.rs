//! The few fields of a tar file (POSIX.1-1988, ustar) that archives of known files need: no owner,
//! no time, so that the same files give the same bytes.

use anyhow::{Result, ensure};

const BLOCK: usize = 512;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    /// A file with its content.
    File(&'a [u8]),
    /// A folder; its path ends in `/`.
    Folder,
}

/// Appends one entry to a tar file that is being made.
///
/// # Errors
/// The path is longer than the 100 bytes of a plain header.
pub(crate) fn append(tar: &mut Vec<u8>, path: &str, mode: u32, entry: Entry<'_>) -> Result<()> {
    ensure!(path.len() <= 100, "{path}: longer than a tar header's 100 bytes");
    let (kind, content): (u8, &[u8]) = match entry {
        Entry::File(content) => (b'0', content),
        Entry::Folder => (b'5', &[]),
    };
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    put(0, path);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000"); // user
    put(116, "0000000"); // group
    put(124, &format!("{:011o}", content.len()));
    put(136, "00000000000"); // time of the last change
    put(148, "        "); // the checksum is taken over spaces in its own place
    put(257, "ustar\x0000");
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());

    tar.extend_from_slice(&header);
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    Ok(())
}

/// Ends a tar file: two empty blocks.
pub(crate) fn finish(tar: &mut Vec<u8>) {
    tar.resize(tar.len() + 2 * BLOCK, 0);
}
