//! A real API server with a real etcd behind it, on loopback, for the tests of one process, and
//! objects for it. No node and no controller is there: a test plays what it needs of them.

pub mod objects;
pub mod server;
