//! Listening sockets that go from the agent to the proxy and back, over a Unix socket.
//!
//! The transparent sockets, one for each worker, live in the namespace of the node and are made by
//! the agent, which has the privilege; the proxy, which has none, accepts on them. Both hold the same
//! open sockets, so a queue outlives either process: a new proxy takes over while the old one
//! drains, and a restarted agent gets the sockets back from the proxy.
//!
//! The conversation, each message one packet of a `SOCK_SEQPACKET` socket (unix(7)) with the sockets
//! as `SCM_RIGHTS` beside it:
//!
//! 1. proxy → agent: [`ToAgent::Hello`], with the sockets that it holds from an earlier agent.
//! 2. agent → proxy: [`ToProxy::Sockets`], whenever the set changes.
//! 3. proxy → agent: [`ToAgent::Serving`], once a configuration serves and the sockets are accepted
//!    on; [`ToAgent::Leaving`] before it drains. A closed channel means the same.

mod channel;
mod message;

pub use channel::{Channel, HandoverError, Listener, MAX_MESSAGE, MAX_SOCKETS};
pub use message::{Socket, ToAgent, ToProxy};
