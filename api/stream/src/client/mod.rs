//! The node's end.

mod backoff;
mod connect;
mod modules;
mod node;
mod options;
mod run;
mod saver;
mod store;

pub use modules::LoadModules;
pub use options::{AddressPort, Applied, Apply, ClientOptions, Link};
pub use run::run;
pub use store::{Store, StoreError};
