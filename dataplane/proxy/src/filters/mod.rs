//! What the steps of a rule do to requests and responses.

mod edit;
mod exchange;
mod run;
mod target;

pub use edit::{apply, apply_decided};
pub use exchange::{Exchange, Parts};
pub use run::{Flow, on_request, on_response, response_fields};
pub use target::{location, replace_path, with_path};
