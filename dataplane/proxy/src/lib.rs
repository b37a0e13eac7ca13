//! The node proxy: TLS, routing, filters and upstream connections, one thread per core.
//!
//! A [`Proxy`] has N worker threads. Each is a current-thread runtime with its own listening sockets,
//! upstream connections, live policies and metric cells; they share only the snapshot of the
//! configuration, which nobody changes.
//!
//! | module | holds |
//! |---|---|
//! | [`snapshot`] | a configuration compiled for requests |
//! | [`routing`] | which rule a request belongs to |
//! | [`filters`] | what the steps of a rule do |
//! | [`downstream`] | client connections and the life of a request |
//! | [`upstream`] | endpoints and the connections to them |
//! | [`worker`] | the threads, and how a change reaches them |
//! | [`tls`] | handshakes and the policies on them |
//! | [`telemetry`] | metrics, traces, access log |
//! | `node` | the process on a node of a cluster |

pub mod downstream;
pub mod filters;
#[cfg(feature = "node")]
pub mod node;
mod options;
mod proxy;
mod reason;
pub mod routing;
pub mod snapshot;
mod stream;
pub mod telemetry;
pub mod tls;
pub mod upstream;
pub mod worker;

pub use options::ProxyOptions;
pub use proxy::{Ack, BoundPort, Proxy, StartError};
pub use reason::Reason;
pub use tls::Refusal;
