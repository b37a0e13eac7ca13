//! The node proxy: TLS, routing, filters and upstream connections, one thread per core.

pub mod routing;
