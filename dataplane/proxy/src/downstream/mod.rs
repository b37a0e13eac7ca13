//! Client connections and the requests on them.

mod accept;
mod body;
mod connection;
mod forwarded;
mod framing;
mod guard;
mod head;
mod late;
mod ongoing;
mod respond;
mod service;
mod upgrade;

pub use accept::accept;
pub use body::Body;
pub use connection::Connection;
