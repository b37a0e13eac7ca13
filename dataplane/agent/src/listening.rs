//! Transparent listening sockets.
//!
//! Made by [`penstock_net::workers::listen`]: each is bound to a port of its own on a loopback address,
//! which is its name, and no packet ever carries it.

use penstock_handover::Socket as Name;
use socket2::{Domain, Protocol, Socket};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// A listening socket of one worker.
#[derive(Debug)]
pub struct Listening {
    /// Its name on the node.
    pub name: Name,
    socket: Socket,
}

/// A socket cannot be made, or is none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// What a proxy gave back is not what an agent makes.
    #[error("the socket of port {port} that a proxy gave back cannot be used: {why}")]
    Foreign {
        /// What the proxy called it.
        port: u16,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The system makes none: `CAP_NET_ADMIN` is missing, for example.
    #[error(transparent)]
    Net(#[from] penstock_net::NetError),
    /// The node cannot steer, so there is no use for one.
    #[error("{0}")]
    Unsupported(String),
    /// The system does not say where it is bound.
    #[error("a listening socket has no address: {0}")]
    Unknown(io::Error),
}

impl Listening {
    /// Makes a socket in the network namespace of this thread.
    ///
    /// # Errors
    /// [`SocketError::Net`].
    pub fn make() -> Result<Self, SocketError> {
        let socket = Socket::from(penstock_net::workers::listen()?);
        let port = port_of(&socket).map_err(SocketError::Unknown)?;
        Ok(Self { name: Name { port }, socket })
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
        Ok(Self { name, socket })
    }

    /// The descriptor, for the handover and for steering.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
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
            Err(error) => return eprintln!("not run, needs CAP_NET_ADMIN: {error}"),
            Ok(made) => made,
        };
        let copy = made.fd().try_clone_to_owned().expect("a copy");
        let back = Listening::adopt(made.name, copy).expect("it is one of ours");
        assert_eq!(back.name, made.name);
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
        let silent = Socket::new(Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        let error = Listening::adopt(Name { port: 0 }, silent.into()).expect_err("silent");
        assert!(error.to_string().contains("does not listen"), "{error}");
    }
}
