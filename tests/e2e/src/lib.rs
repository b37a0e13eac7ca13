//! What tests of whole processes share: the gateway as a process, backends, and a client that never
//! retries.

mod backend;
mod gateway;
mod load;
mod request;

pub use backend::Backend;
pub use gateway::{Gateway, filters_folder, penstock, repository};
pub use load::{Load, Shape, Tally};
pub use request::{Answer, get, get_at};
