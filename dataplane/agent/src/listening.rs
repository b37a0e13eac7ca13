//! Transparent listening sockets.
//!
//! Each is bound to a port of its own on a loopback address, and no packet ever names it: the steering
//! program assigns it to packets for a Gateway's address. Its connections have that address as their
//! own, for which it must be transparent (`IP_TRANSPARENT`, ip(7): `CAP_NET_ADMIN`). One socket takes
//! IPv4 and IPv6.

use penstock_handover::Socket as Name;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
};

/// Connections that may wait for a worker; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A listening socket of one worker.
#[derive(Debug)]
pub struct Listening {
    /// Its name on the node.
    pub name: Name,
    /// It is for IPv6 too.
    pub dual_stack: bool,
    socket: Socket,
}

/// A socket cannot be made, or is none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// `CAP_NET_ADMIN` is missing.
    #[error(
        "not allowed to make transparent sockets: give the agent CAP_NET_ADMIN (the chart does)"
    )]
    NotAllowed,
    /// What a proxy gave back is not what an agent makes.
    #[error("the socket of port {port} that a proxy gave back cannot be used: {why}")]
    Foreign {
        /// What the proxy called it.
        port: u16,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Anything else.
    #[error("cannot make a listening socket: {0}")]
    Other(#[from] io::Error),
}

impl Listening {
    /// Makes a socket in the network namespace of this thread.
    ///
    /// # Errors
    /// [`SocketError::NotAllowed`] or [`SocketError::Other`].
    pub fn make() -> Result<Self, SocketError> {
        let made = match dual_stack() {
            // A node without IPv6.
            Err(error) if no_ipv6(&error) => ipv4().map(|socket| (socket, false)),
            other => other.map(|socket| (socket, true)),
        };
        let (socket, dual_stack) = made.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => SocketError::NotAllowed,
            _ => SocketError::Other(error),
        })?;
        let port = port_of(&socket)?;
        Ok(Self { name: Name { port }, dual_stack, socket })
    }

    /// Takes a socket back that a proxy held, if it is one that an agent of this node made: nothing
    /// else must come into steering from a process without privileges.
    ///
    /// # Errors
    /// [`SocketError::Foreign`].
    pub fn adopt(name: Name, fd: OwnedFd) -> Result<Self, SocketError> {
        let socket = Socket::from(fd);
        let foreign = |why| SocketError::Foreign { port: name.port, why };
        if socket.protocol().ok().flatten() != Some(Protocol::TCP) {
            return Err(foreign("it is not TCP"));
        }
        if !socket.is_listener().unwrap_or(false) {
            return Err(foreign("it does not listen"));
        }
        if port_of(&socket).ok() != Some(name.port) {
            return Err(foreign("it has another port"));
        }
        let dual_stack = socket.domain().ok() == Some(Domain::IPV6);
        let transparent = match dual_stack {
            true => socket.ip_transparent_v6(),
            false => socket.ip_transparent_v4(),
        };
        if !transparent.unwrap_or(false) {
            return Err(foreign("it is not transparent"));
        }
        Ok(Self { name, dual_stack, socket })
    }

    /// The descriptor, for the handover and for steering.
    pub fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.socket)
    }
}

fn dual_stack() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    socket.set_ip_transparent_v6(true)?;
    // What it is for IPv4 is a setting of its own.
    socket.set_ip_transparent_v4(true)?;
    listen(socket, (Ipv6Addr::LOCALHOST, 0).into())
}

fn ipv4() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_ip_transparent_v4(true)?;
    listen(socket, (Ipv4Addr::LOCALHOST, 0).into())
}

fn listen(socket: Socket, address: SocketAddr) -> io::Result<Socket> {
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn no_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT)
    )
}

fn port_of(socket: &Socket) -> io::Result<u16> {
    let address = socket.local_addr()?.as_socket();
    address.map(|address| address.port()).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_socket_of_an_agent_comes_back_as_what_it_was() {
        let made = match Listening::make() {
            Err(SocketError::NotAllowed) => return eprintln!("not run: needs CAP_NET_ADMIN"),
            made => made.expect("a socket"),
        };
        let copy = made.fd().try_clone_to_owned().expect("a copy");
        let back = Listening::adopt(made.name, copy).expect("it is one of ours");
        assert_eq!((back.name, back.dual_stack), (made.name, made.dual_stack));
        let copy = made.fd().try_clone_to_owned().expect("a copy");
        let other = Name { port: made.name.port ^ 1 };
        let error = Listening::adopt(other, copy).expect_err("another name");
        assert!(error.to_string().contains("another port"), "{error}");
    }

    #[test]
    fn what_no_agent_makes_is_not_taken() {
        let plain = TcpListener::bind("127.0.0.1:0").expect("a port");
        let name = Name { port: plain.local_addr().expect("an address").port() };
        let error = Listening::adopt(name, plain.into()).expect_err("not transparent");
        assert!(error.to_string().contains("not transparent"), "{error}");
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let error = Listening::adopt(Name { port: 1 }, udp.into()).expect_err("not TCP");
        assert!(error.to_string().contains("not TCP"), "{error}");
        let silent = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let error = Listening::adopt(Name { port: 0 }, silent.into()).expect_err("silent");
        assert!(error.to_string().contains("does not listen"), "{error}");
    }
}
