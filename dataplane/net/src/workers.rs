//! The sockets that the workers accept on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use penstock_ebpf_common::ANSWER_MARK;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::NetError;

/// The longest queue of connections that wait for a worker; the kernel takes less where
/// `net.core.somaxconn` says so.
const BACKLOG: i32 = 4096;

/// A listening socket for one worker, in the network namespace of the calling thread.
///
/// It is transparent (`IP_TRANSPARENT`, ip(7)): what it accepts has the address that the client dialled
/// as its own, whoever that address belongs to. Its answers are marked, so that NAT leaves them alone.
/// It is bound to a loopback address and a port that the kernel picks, so that nobody outside reaches it
/// but by steering; it takes both families where the node has IPv6. `SO_REUSEPORT` is off: the kernel
/// would choose again among the sockets of a group.
///
/// # Errors
/// No CAP_NET_ADMIN (for both the mark and transparency), or no port is left.
pub fn listen() -> Result<TcpListener, NetError> {
    const NO_IPV6: Option<i32> = Some(Errno::AFNOSUPPORT.raw_os_error());
    let socket = match open(Domain::IPV6) {
        Err(error) if error.raw_os_error() == NO_IPV6 => open(Domain::IPV4),
        other => other,
    };
    socket.map(TcpListener::from).map_err(NetError::socket("a worker's listening socket"))
}

fn open(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    let address: SocketAddr = if domain == Domain::IPV6 {
        socket.set_only_v6(false)?;
        socket.set_ip_transparent_v6(true)?;
        // Mapped: one that is bound to `::1` is for IPv6 only, and the kernel finds it for nothing else.
        (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), 0).into()
    } else {
        (Ipv4Addr::LOCALHOST, 0).into()
    };
    // Of both families: an IPv6 socket has the option of each.
    socket.set_ip_transparent_v4(true)?;
    socket.set_mark(ANSWER_MARK)?;
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}
