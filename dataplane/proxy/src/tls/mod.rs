//! TLS of a listener port: which listener and certificate a server name gets, on what terms, and
//! which policies the connection satisfied.
//!
//! A [`TlsPort`] is built from a [`penstock_config::State`] and never changes; a new snapshot makes
//! a new one that takes over everything that is still true of the old one, session ticket keys
//! included. So a rotated certificate or an unrelated change costs no connection and no session.
//!
//! One handshake, in order ([`accept`]):
//! 1. ClientHello → the most specific listener for the server name → its most specific
//!    [`penstock_config::TlsBinding`].
//! 2. Each policy of the binding sees the ClientHello. What they say is combined so that it can
//!    only tighten ([`terms`]).
//! 3. rustls does the handshake. Client certificates are verified against the listener's trust
//!    anchors ([`client_auth`]).
//! 4. Each policy that asks for it sees the certificate, also after a resumption, when possession of
//!    the key is proven. A certificate is public: before the proof nobody knows whose it is, and a
//!    policy must not act on it.
//! 5. The [`TlsSession`] says which policies in which version the connection satisfied;
//!    [`required_satisfied`] is what a request's route asks of it.
//!
//! Tickets are bound to what they were issued under ([`tickets`]): a session of another policy
//! version, profile or set of trust anchors is not resumed but handshaken anew. Early data is off.

mod accept;
mod alert;
mod certificate;
mod client_auth;
mod listener;
mod names;
mod peer;
mod policies;
mod port;
mod session;
mod terms;
mod tickets;

pub use accept::accept;
pub use policies::TlsPolicies;
pub use port::{Refusal, TlsPort};
pub use session::{ClientCert, RejectReason, TlsReject, TlsSession, required_satisfied};
