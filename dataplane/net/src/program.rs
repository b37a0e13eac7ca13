//! The embedded object, and the names in it.

/// The object, as aligned as its headers want it.
pub(crate) static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("PENSTOCK_STEER"));

/// The program for the ingress of devices.
pub(crate) const STEER: &str = "steer";
/// The program for the namespace.
pub(crate) const FIND: &str = "find";

pub(crate) const LISTENERS: &str = "LISTENERS";
pub(crate) const PORTS: &str = "PORTS";
pub(crate) const LOCAL: &str = "LOCAL";
pub(crate) const SETTINGS: &str = "SETTINGS";
pub(crate) const WORKERS: &str = "WORKERS";
pub(crate) const SOCKETS: &str = "SOCKETS";
pub(crate) const COUNTERS: &str = "COUNTERS";
pub(crate) const EVENTS: &str = "EVENTS";

/// All maps.
pub(crate) const MAPS: [&str; 8] =
    [LISTENERS, PORTS, LOCAL, SETTINGS, WORKERS, SOCKETS, COUNTERS, EVENTS];
