//! From files to objects, with the place of everything that is wrong.
//!
//! [`files::read`] is the only part that touches the file system; [`load`] is a function of what
//! was read. Every finding is a [`Diagnostic`] with file, line, column, field, cause and remedy.

mod diagnostic;
mod files;
mod node;
mod objects;
mod scalar;
mod values;
mod yaml;

pub(crate) use diagnostic::Diagnostic;
#[cfg(test)]
pub(crate) use files::SourceFile;
pub(crate) use files::{Snapshot, read};
pub(crate) use objects::{Located, Source, diagnose_config, load};
pub(crate) use values::check_values;
