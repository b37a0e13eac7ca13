//! What tests of whole processes share: the gateway as a process, backends, and a client that never
//! retries.

mod backend;
mod fleet;
mod gateway;
mod load;
pub mod node;
mod otlp;
mod request;
mod scenarios;
mod site;
mod steady;
mod tls;
mod vpc;

pub use backend::Backend;
pub use fleet::Pod;
pub use gateway::{Gateway, edge_on, filters_folder, free_address, guest, penstock, repository};
pub use load::{Load, Shape, Tally};
pub use otlp::Receiver;
pub use request::{Answer, get, get_at, parse};
pub use scenarios::{Scenario, play};
pub use site::{Site, edge, eventually};
pub use steady::Steady;
pub use tls::{Authority, Client, Identity, Requests};
pub use vpc::VpcSite;
