//! What the operator calls itself at the API server.

/// The name under which it writes fields (server-side apply).
pub const FIELD_MANAGER: &str = "penstock-operator";
