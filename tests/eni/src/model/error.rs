//! Errors, as EC2 names them.

/// An error of EC2: code and message, as its API reference has them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Ec2Error {
    /// `InsufficientFreeAddressesInSubnet`, ...
    pub code: &'static str,
    /// In words.
    pub message: String,
}

impl Ec2Error {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}
