//! Signed artifacts: what a proxy maps comes from its operator, unchanged, for the module that it asked
//! for and the engine that it has.
//!
//! ```text
//! 8 bytes   name and version of the format
//! 64 bytes  Ed25519 signature (RFC 8032) over what the artifact is for and its SHA-256
//! the rest  the artifact
//! ```

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

/// The engine of this build: artifacts of another one are refused by it.
pub const ENGINE: &str = concat!("penstock-", env!("CARGO_PKG_VERSION"), "-wasmtime-48");
/// The processor that modules are compiled for by this build: the least that a node must have.
pub const TARGET: &str = if cfg!(target_arch = "x86_64") {
    "x86-64-v2-linux"
} else if cfg!(target_arch = "aarch64") {
    "aarch64-linux"
} else {
    "other"
};

/// First bytes of a signed artifact: name and version of the format.
const MAGIC: &[u8; 8] = b"penstks\x01";
/// Bytes of a signature.
const SIGNATURE: usize = 64;
/// What no other signature of the same key begins with.
const CONTEXT: &[u8] = b"penstock module artifact\0";

/// What an artifact is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// Digest of the module, as [`crate::digest`] gives it.
    pub digest: &'a str,
    /// The engine that it was compiled for: [`ENGINE`] of its process.
    pub engine: &'a str,
    /// The processor that it was compiled for: [`TARGET`] of its process.
    pub target: &'a str,
}

/// Bytes that are not to be trusted. Whoever sent them is at fault; asking again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// They have another form.
    #[error("not a signed artifact of this format")]
    Format,
    /// Another key, another module, another engine, or changed on the way.
    #[error(
        "the signature does not fit: it was made by another operator, for another module or \
             engine, or the artifact was changed"
    )]
    Signature,
}

/// Signs an artifact.
pub fn sign(artifact: &[u8], subject: Subject<'_>, key: &Ed25519KeyPair) -> Vec<u8> {
    let signature = key.sign(&message(artifact, subject));
    [MAGIC, signature.as_ref(), artifact].concat()
}

/// The artifact in what was signed. `key`: the 32 bytes of an Ed25519 public key.
///
/// # Errors
/// [`SignatureError`]; nothing of it may be used then.
pub fn verify<'a>(
    signed: &'a [u8],
    subject: Subject<'_>,
    key: &[u8],
) -> Result<&'a [u8], SignatureError> {
    let rest = signed.strip_prefix(MAGIC).ok_or(SignatureError::Format)?;
    let (signature, artifact) = rest.split_at_checked(SIGNATURE).ok_or(SignatureError::Format)?;
    UnparsedPublicKey::new(&ED25519, key)
        .verify(&message(artifact, subject), signature)
        .map_err(|_| SignatureError::Signature)?;
    Ok(artifact)
}

/// What is signed. Each part has its length before it, so that no two subjects read the same.
fn message(artifact: &[u8], subject: Subject<'_>) -> Vec<u8> {
    let mut message = CONTEXT.to_vec();
    for part in [subject.digest, subject.engine, subject.target] {
        message.extend_from_slice(&(part.len() as u64).to_le_bytes());
        message.extend_from_slice(part.as_bytes());
    }
    message.extend_from_slice(&Sha256::digest(artifact));
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::KeyPair as _;

    const SUBJECT: Subject<'_> = Subject { digest: "sha256:1", engine: ENGINE, target: TARGET };

    fn key() -> Ed25519KeyPair {
        Ed25519KeyPair::generate().expect("a key")
    }

    #[test]
    fn what_was_signed_is_read_again() {
        let key = key();
        let signed = sign(b"code", SUBJECT, &key);
        assert_eq!(verify(&signed, SUBJECT, key.public_key().as_ref()), Ok(&b"code"[..]));
    }

    #[test]
    fn another_key_module_engine_target_or_content_is_refused() {
        let key = key();
        let public = key.public_key().as_ref().to_vec();
        let signed = sign(b"code", SUBJECT, &key);
        let refused = |signed: &[u8], subject, key: &[u8]| {
            assert_eq!(verify(signed, subject, key), Err(SignatureError::Signature));
        };
        refused(&signed, SUBJECT, self::key().public_key().as_ref());
        refused(&signed, SUBJECT, b"no key");
        refused(&signed, Subject { digest: "sha256:2", ..SUBJECT }, &public);
        refused(&signed, Subject { engine: "other", ..SUBJECT }, &public);
        refused(&signed, Subject { target: "other", ..SUBJECT }, &public);
        let moved = Subject { digest: "sha256:", engine: &format!("1{ENGINE}"), ..SUBJECT };
        refused(&signed, moved, &public);
        for at in MAGIC.len()..signed.len() {
            let mut changed = signed.clone();
            changed[at] ^= 1;
            refused(&changed, SUBJECT, &public);
        }
    }

    #[test]
    fn bytes_of_another_form_are_refused_before_anything_is_computed() {
        for bytes in [&b""[..], b"penstk\x00\x01code", &MAGIC[..], &[&MAGIC[..], b"short"].concat()]
        {
            assert_eq!(verify(bytes, SUBJECT, &[0; 32]), Err(SignatureError::Format), "{bytes:?}");
        }
    }
}
