//! The node agent: loads the steering programs, sets routes and rules, and keeps the listening sockets
//! that outlive proxies.
//!
//! | file | what |
//! |---|---|
//! | `roster` | pure: sockets and proxies, events in, actions out |
//! | `listeners` | pure: configuration to what the kernel is told |
//! | `keeper` | one thread that owns both and the kernel |
//! | `handover` | threads that read what proxies say |
//! | `apply` | what the operator's stream says |
//! | `addresses/` | which pod has which address: the pool, its file, devices, the plugins' socket |
//! | `listening`, `kernel` | sockets, programs, routes |
//! | `neighbours` | pods that reach each other past the node's stack |
//! | `uninstall` | takes all of it away |

mod addresses;
mod admin;
mod apply;
pub mod args;
mod handover;
mod keeper;
mod kernel;
pub mod listeners;
mod listening;
mod neighbours;
mod roster;
mod run;
mod uninstall;

pub use addresses::{
    AddressInput, Clerk, Conflist, Counts, InstallError, Networks, NetworksError, NodeWiring,
    StateFile, Unreadable, Wiring, bind, serve,
};
pub use admin::{AddressHealth, Health};
pub use apply::Configuration;
pub use handover::{listen, refuse};
pub use keeper::{GRACE, Input, Keeper, Status};
pub use kernel::{Kernel, NoKernel, NodeKernel};
pub use listening::{Listening, SocketError};
pub use neighbours::watch_devices;
pub use roster::{Action, Event, MAX_WORKERS, ProxyId, Roster};
pub use run::{probe, run};
pub use uninstall::uninstall;
