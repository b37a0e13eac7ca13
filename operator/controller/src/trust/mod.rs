//! What nodes and operator trust each other by: a CA of the operator's own, the certificate that the
//! stream is served with, and the key that compiled modules are signed with.

mod authority;
mod keeper;

pub use authority::{Authority, ServingCertificate, TrustError};
pub use keeper::{Keeper, KeeperOptions, Trust};
