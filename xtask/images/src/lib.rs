//! Container images without a registry and without a builder: an OCI archive of one binary
//! each, the same bytes for the same binary. Made for `cargo xtask images` and for test clusters.

mod archive;
mod binary;
mod tar;

pub use archive::{File, Image, write};
pub use binary::{Binary, Profile, TARGET, build, root};
