//! What the operator calls itself at the API server.

/// The name under which it writes fields (server-side apply).
pub const FIELD_MANAGER: &str = "penstock-operator";
/// Secret with the CA of the stream.
pub(crate) const AUTHORITY: &str = "penstock-stream-ca";
/// ConfigMap with whom nodes trust.
pub(crate) const TRUST: &str = "penstock-trust";
