//! Addresses of this node's pods.
//!
//! ```text
//! operator ─ stream ─→ ┌───────┐ ←─ socket ─ plugins (penstock-cni)
//!          ←─ report ─ │ clerk │ ──→ file (before anybody hears of a change)
//!                      └───────┘ ──→ devices, rules, routes (wiring)
//! ```

mod clerk;
mod install;
mod networks;
mod run;
mod server;
mod state;
mod wiring;

pub use clerk::{Clerk, Counts, Input as AddressInput};
pub use install::{Conflist, InstallError};
pub use networks::{Networks, NetworksError};
pub(crate) use run::Addresses;
pub use server::{bind, serve};
pub use state::{StateFile, Unreadable};
pub use wiring::{NodeWiring, Wiring};
