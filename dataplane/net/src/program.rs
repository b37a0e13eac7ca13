//! The embedded object, and what is in it by its name.

use aya::Ebpf;

use crate::error::NetError;

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
pub(crate) const PODS: &str = "PODS";
pub(crate) const CONNECTIONS: &str = "CONNECTIONS";
pub(crate) const COUNTERS: &str = "COUNTERS";
pub(crate) const EVENTS: &str = "EVENTS";

/// All maps.
pub(crate) const MAPS: [&str; 10] =
    [LISTENERS, PORTS, LOCAL, SETTINGS, WORKERS, SOCKETS, PODS, CONNECTIONS, COUNTERS, EVENTS];

/// A program of the embedded object.
pub(crate) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, NetError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    use aya::programs::ProgramError;
    ebpf.program_mut(name)
        .ok_or(ProgramError::UnexpectedProgramType)
        .and_then(TryInto::try_into)
        .map_err(NetError::program("a program of the embedded object"))
}
