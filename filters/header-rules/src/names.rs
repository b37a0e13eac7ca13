//! Which header names a rule may change.

/// What frames a message or names its target is not a policy's to change: the interface
/// `penstock:policy/types` lists it at `stage.writes`.
const NEVER: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "proxy-connection",
];

/// The name in lower case.
pub(crate) fn check(name: &str) -> Result<String, String> {
    let name = name.to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("`{name}` is no header name (RFC 9110, section 5.1)"));
    }
    if NEVER.contains(&name.as_str()) {
        return Err(format!("`{name}` belongs to the connection or to routing: no filter sets it"));
    }
    Ok(name)
}

/// `tchar` of RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_9110_section_5_1_names_are_tokens_in_any_case() {
        assert_eq!(check("X-User").as_deref(), Ok("x-user"));
        for name in ["", "a b", ":path", "a:b", "é"] {
            assert!(check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_frames_a_message_cannot_be_named() {
        for name in ["Host", "content-length", "Transfer-Encoding", "connection"] {
            assert!(check(name).is_err(), "{name}");
        }
    }
}
