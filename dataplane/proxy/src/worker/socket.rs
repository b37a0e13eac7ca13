//! Listening sockets.

use socket2::{Domain, Protocol, Socket, Type};
use std::{
    fmt, io,
    net::{IpAddr, SocketAddr, TcpListener},
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A listening address: which port of the configuration it serves and where it is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bound {
    /// The serving port.
    pub port: u32,
    /// Where it is bound.
    pub address: SocketAddr,
}

/// Where connections come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entrance {
    /// A socket of the proxy's own, for one serving port.
    Bound(Bound),
    /// A socket that the agent handed over, named by its own port. Its connections keep the address
    /// that the client dialled, which says the serving port
    /// ([`Frontends`](crate::snapshot::Frontends)).
    Steered(u16),
}

impl fmt::Display for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entrance::Bound(bound) => bound.address.fmt(f),
            Entrance::Steered(name) => write!(f, "steered socket {name}"),
        }
    }
}

/// An address that cannot be bound. Nothing of the proxy is at fault; a retry helps when the cause is
/// gone.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The listener's port and the offset together are no port.
    #[error(
        "port {port} with the offset {offset} is not a port; use a smaller --port-offset or \
         another listener port"
    )]
    NoPort {
        /// Port of the listener.
        port: u32,
        /// Offset added to it.
        offset: u16,
    },
    /// Somebody else has it.
    #[error(
        "{0} is in use by another process; stop that process (`ss -ltnp` shows it), or use \
         --port-offset or another listener port"
    )]
    InUse(SocketAddr),
    /// Ports below 1024 need a privilege.
    #[error(
        "not allowed to bind {0}; use --port-offset (for example 8000), allow it with `sysctl \
         net.ipv4.ip_unprivileged_port_start={port}`, or give the binary CAP_NET_BIND_SERVICE",
        port = .0.port()
    )]
    NotAllowed(SocketAddr),
    /// The machine has no such address.
    #[error("{0} is not an address of this machine; use another --bind")]
    NoAddress(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {0}: {1}")]
    Other(SocketAddr, io::Error),
}

impl BindError {
    /// Bounded reason.
    pub fn reason(&self) -> &'static str {
        match self {
            BindError::NoPort { .. } | BindError::NotAllowed(_) | BindError::InUse(_) => {
                "PortUnavailable"
            }
            BindError::NoAddress(_) | BindError::Other(..) => "AddressNotUsable",
        }
    }

    fn of(address: SocketAddr, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse(address),
            io::ErrorKind::PermissionDenied => BindError::NotAllowed(address),
            io::ErrorKind::AddrNotAvailable => BindError::NoAddress(address),
            _ => BindError::Other(address, error),
        }
    }
}

/// Binds a port once for each worker, all in one SO_REUSEPORT group.
///
/// # Errors
/// [`BindError`]; nothing is left bound.
pub fn bind(
    ip: IpAddr,
    port: u32,
    offset: u16,
    workers: usize,
) -> Result<(Bound, Vec<TcpListener>), BindError> {
    let actual = u16::try_from(port)
        .ok()
        .filter(|port| *port > 0)
        .and_then(|port| port.checked_add(offset))
        .ok_or(BindError::NoPort { port, offset })?;
    let address = SocketAddr::new(ip, actual);
    let failed = |error| BindError::of(address, error);
    // Another process of this user that also set SO_REUSEPORT would share the port unnoticed: half
    // of the connections would end up there. So try first without.
    open(address, false).map_err(failed)?;
    let sockets = (0..workers.max(1))
        .map(|_| open(address, true).and_then(listen))
        .collect::<io::Result<Vec<_>>>()
        .map_err(failed)?;
    Ok((Bound { port, address }, sockets))
}

fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // IPv4 has its own socket where it is wanted.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn an_occupied_port_is_refused_with_a_remedy_even_where_its_owner_shares() {
        let other = open(SocketAddr::new(LOCAL, 0), true).and_then(listen).expect("a free port");
        let port = other.local_addr().expect("an address").port();
        let error = bind(LOCAL, port.into(), 0, 2).expect_err("the port is in use");
        assert!(matches!(error, BindError::InUse(_)), "{error}");
        assert!(error.to_string().contains("--port-offset"), "{error}");
        drop(other);
        let (bound, sockets) = bind(LOCAL, port.into(), 0, 2).expect("the port is free again");
        assert_eq!((bound.address.port(), sockets.len()), (port, 2));
    }

    #[test]
    fn a_port_out_of_range_is_refused_with_a_remedy() {
        for (port, offset) in [(0, 0), (65_535, 1), (70_000, 0)] {
            let error = bind(LOCAL, port, offset, 1).expect_err("no such port");
            assert!(matches!(error, BindError::NoPort { .. }), "{error}");
        }
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        let ip = IpAddr::from([192, 0, 2, 1]);
        let error = bind(ip, 8080, 0, 1).expect_err("a documentation address");
        assert!(matches!(error, BindError::NoAddress(_)), "{error}");
    }
}
