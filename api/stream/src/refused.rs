//! What a node could not use.

use penstock_config::Key;

/// Bytes of a reason; a condition's reason may have 1024, a metric label should not.
const MAX_REASON: usize = 64;

/// Bytes of a message; a condition's message may have 32768, and several are joined in one.
const MAX_MESSAGE: usize = 1024;

/// The reason in place of one that is no name.
const UNNAMED: &str = "Refused";

/// One resource that a node has and cannot use. The rest of the configuration is in use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Refused {
    /// The resource.
    pub key: Key,
    /// Why, as a name: fit for a metric label and a condition.
    pub reason: String,
    /// Why, in words for a person.
    pub message: String,
    /// Whether what it had before of this resource serves on, so that whoever uses it is served.
    pub kept: bool,
}

impl Refused {
    /// A refusal within bounds: a reason that is no CamelCase name is replaced, a message that is
    /// too long is cut.
    pub fn new(key: Key, reason: impl Into<String>, message: impl Into<String>) -> Self {
        let (reason, mut message) = (reason.into(), message.into());
        let named = reason.len() <= MAX_REASON
            && reason.starts_with(|c: char| c.is_ascii_uppercase())
            && reason.chars().all(|c| c.is_ascii_alphanumeric());
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        Self { key, reason: if named { reason } else { UNNAMED.into() }, message, kept: false }
    }

    /// The same, of a resource whose last good generation serves on.
    #[must_use]
    pub fn kept(self) -> Self {
        Self { kept: true, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_config::Kind;

    #[test]
    fn a_refusal_is_fit_for_a_label_and_a_condition_whatever_a_node_says() {
        let refused = |reason: &str, message: &str| {
            Refused::new(Key::new(Kind::Listener, "n/gw/http"), reason, message)
        };
        assert_eq!(refused("PortUnavailable", "in use").reason, "PortUnavailable");
        for reason in ["", "in use", "lower", "A\n", "Ä", &"A".repeat(65)] {
            assert_eq!(refused(reason, "").reason, "Refused", "{reason:?}");
        }
        assert_eq!(refused(&"A".repeat(64), "").reason.len(), 64);
        let long = "é".repeat(600);
        assert_eq!(refused("A", &long).message, "é".repeat(512));
        assert_eq!(refused("A", &format!("x{long}")).message.len(), 1023, "no half characters");
    }
}
