//! The operator's end.

mod artifact;
mod auth;
mod fleet;
mod listen;
mod mailboxes;
mod node;
mod options;
mod router;

pub use artifact::{ArtifactError, Artifacts};
pub use auth::{AuthError, Authenticate};
pub use fleet::Fleet;
pub use listen::ServeError;
pub use mailboxes::Mailboxes;
pub use options::ServeOptions;
pub use router::{Router, router};
