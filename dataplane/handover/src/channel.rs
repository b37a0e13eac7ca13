//! The Unix socket.

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::{Errno, IoSlice, IoSliceMut, retry_on_intr},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
        SocketType, UCred, accept_with, bind, connect, listen, recvmsg, sendmsg, shutdown,
        socket_with, sockopt::socket_peercred,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Bytes of the longest message.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// Sockets that one message can carry: `SCM_MAX_FD` of the kernel.
pub const MAX_SOCKETS: usize = 253;
/// Connections that may wait for the agent.
const BACKLOG: i32 = 16;

/// The channel cannot be used. A retry with a new channel can help, unless the message says not.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The path cannot be used.
    #[error("cannot use the socket {path}: {error}")]
    Path {
        /// Path of the Unix socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The other side, or the system, failed.
    #[error("agent and proxy cannot talk: {0}")]
    Io(#[from] io::Error),
    /// More than [`MAX_MESSAGE`] bytes or [`MAX_SOCKETS`] sockets.
    #[error("a message of agent and proxy is too long; use fewer workers")]
    TooLong,
    /// What came is no message: the two are of versions that do not fit.
    #[error("agent and proxy do not understand each other, install one version of both: {0}")]
    Malformed(serde_json::Error),
}

impl From<Errno> for HandoverError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// One end of a conversation. All calls block; [`Channel::close`] from another thread ends them.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// Connects to the agent.
    ///
    /// # Errors
    /// [`HandoverError::Path`]: there is no agent (yet).
    pub fn connect(path: &Path) -> Result<Self, HandoverError> {
        let failed = |error: Errno| HandoverError::Path { path: path.into(), error: error.into() };
        let socket = unix_socket().map_err(failed)?;
        let address = SocketAddrUnix::new(path).map_err(failed)?;
        retry_on_intr(|| connect(&socket, &address)).map_err(failed)?;
        Ok(Self { socket })
    }

    /// Sends a message, and sockets with it. The receiver gets copies: the sender's stay open.
    ///
    /// # Errors
    /// [`HandoverError`]; nothing of the message was sent.
    pub fn send(
        &self,
        message: &impl Serialize,
        sockets: &[BorrowedFd<'_>],
    ) -> Result<(), HandoverError> {
        let text = serde_json::to_vec(message).map_err(HandoverError::Malformed)?;
        if text.len() > MAX_MESSAGE || sockets.len() > MAX_SOCKETS {
            return Err(HandoverError::TooLong);
        }
        let mut space =
            vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(sockets)) {
            return Err(HandoverError::TooLong);
        }
        let text = [IoSlice::new(&text)];
        retry_on_intr(|| sendmsg(&self.socket, &text, &mut ancillary, SendFlags::NOSIGNAL))?;
        Ok(())
    }

    /// Waits for the next message and the sockets that came with it. `None`: the other side has
    /// ended.
    ///
    /// # Errors
    /// [`HandoverError`]; sockets that came with a bad message are closed.
    pub fn receive<T: DeserializeOwned>(&self) -> Result<Option<(T, Vec<OwnedFd>)>, HandoverError> {
        let mut text = vec![0; MAX_MESSAGE];
        let mut space =
            vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = retry_on_intr(|| {
            let mut into = [IoSliceMut::new(&mut text)];
            recvmsg(&self.socket, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        });
        let received = match received {
            Ok(received) => received,
            Err(Errno::CONNRESET) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut sockets = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                sockets.extend(rights);
            }
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(HandoverError::TooLong);
        }
        let message =
            serde_json::from_slice(&text[..received.bytes]).map_err(HandoverError::Malformed)?;
        Ok(Some((message, sockets)))
    }

    /// Process, user and group of the other side, as the kernel knows them (`SO_PEERCRED`, unix(7)).
    ///
    /// # Errors
    /// The system does not say.
    pub fn peer(&self) -> Result<UCred, HandoverError> {
        Ok(socket_peercred(&self.socket)?)
    }

    /// Ends the conversation: both sides' calls return.
    pub fn close(&self) {
        // It may have ended already.
        let _ = shutdown(&self.socket, rustix::net::Shutdown::Both);
    }
}

/// Where the agent waits for proxies.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    path: PathBuf,
}

impl Listener {
    /// Listens at a path, in place of a socket that an earlier agent left there. The owner and the
    /// group of the folder may connect.
    ///
    /// # Errors
    /// [`HandoverError::Path`].
    pub fn bind(path: &Path) -> Result<Self, HandoverError> {
        let failed = |error: io::Error| HandoverError::Path { path: path.into(), error };
        // Renamed into place, so that a proxy never meets a path without a listener.
        let fresh = path.with_extension("new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let socket = unix_socket().map_err(|error| failed(error.into()))?;
        let address = SocketAddrUnix::new(&fresh).map_err(|error| failed(error.into()))?;
        bind(&socket, &address).map_err(|error| failed(error.into()))?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o660)).map_err(failed)?;
        listen(&socket, BACKLOG).map_err(|error| failed(error.into()))?;
        fs::rename(&fresh, path).map_err(failed)?;
        Ok(Self { socket, path: path.into() })
    }

    /// Waits for the next proxy.
    ///
    /// # Errors
    /// [`HandoverError::Path`].
    pub fn accept(&self) -> Result<Channel, HandoverError> {
        let socket =
            retry_on_intr(|| accept_with(&self.socket, SocketFlags::CLOEXEC)).map_err(|error| {
                HandoverError::Path { path: self.path.clone(), error: error.into() }
            })?;
        Ok(Channel { socket })
    }

    /// Ends [`Listener::accept`], also on another thread.
    pub fn close(&self) {
        let _ = shutdown(self.socket.as_fd(), rustix::net::Shutdown::Both);
    }
}

fn unix_socket() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Socket, ToAgent, ToProxy};
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        os::fd::AsFd,
        thread,
    };

    fn pair() -> (Channel, Channel, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("proxy.sock");
        let listener = Listener::bind(&path).expect("listens");
        let proxy = Channel::connect(&path).expect("connects");
        (listener.accept().expect("accepts"), proxy, dir)
    }

    #[test]
    fn a_connection_that_waits_is_served_by_who_gets_the_socket() {
        let (agent, proxy, _dir) = pair();
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        let mut client = TcpStream::connect(address).expect("waits in the queue");
        let sockets = ToProxy::Sockets(vec![Socket { port: address.port() }]);
        agent.send(&sockets, &[socket.as_fd()]).expect("sent");
        drop(socket);

        let (message, mut fds) = proxy.receive::<ToProxy>().expect("received").expect("a message");
        assert_eq!(message, sockets);
        let taken = TcpListener::from(fds.pop().expect("a socket"));
        let (mut served, _) = taken.accept().expect("the connection from before");
        served.write_all(b"hello").expect("written");
        drop(served);
        let mut text = String::new();
        client.read_to_string(&mut text).expect("read");
        assert_eq!(text, "hello");
    }

    #[test]
    fn as_many_sockets_as_the_kernel_allows_and_no_more() {
        let (agent, proxy, _dir) = pair();
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let fds = vec![socket.as_fd(); MAX_SOCKETS];
        agent.send(&ToProxy::Sockets(vec![]), &fds).expect("sent");
        let (_, received) = proxy.receive::<ToProxy>().expect("received").expect("a message");
        assert_eq!(received.len(), MAX_SOCKETS);
        let fds = vec![socket.as_fd(); MAX_SOCKETS + 1];
        let error = agent.send(&ToProxy::Sockets(vec![]), &fds).expect_err("too many");
        assert!(matches!(error, HandoverError::TooLong));
    }

    #[test]
    fn the_end_of_the_other_side_is_seen_and_so_is_ones_own() {
        let (agent, proxy, _dir) = pair();
        drop(proxy);
        assert!(agent.receive::<ToAgent>().expect("received").is_none());
        let (agent, _proxy, _dir) = pair();
        thread::scope(|scope| {
            let waits = scope.spawn(|| agent.receive::<ToAgent>().expect("received").is_none());
            agent.close();
            assert!(waits.join().expect("ends"));
        });
    }

    #[test]
    fn a_message_of_another_version_is_an_error_with_a_remedy() {
        let (agent, proxy, _dir) = pair();
        proxy.send(&serde_json::json!({ "farewell": 1 }), &[]).expect("sent");
        let error = agent.receive::<ToAgent>().expect_err("unknown");
        assert!(error.to_string().contains("one version of both"), "{error}");
        let long = "x".repeat(MAX_MESSAGE);
        assert!(matches!(proxy.send(&long, &[]), Err(HandoverError::TooLong)));
    }

    #[test]
    fn the_peer_is_known_by_the_kernel_and_no_agent_is_named_by_its_path() {
        let (agent, _proxy, dir) = pair();
        let peer = agent.peer().expect("known");
        assert_eq!(peer.pid.as_raw_pid() as u32, std::process::id());
        let error = Channel::connect(&dir.path().join("absent.sock")).expect_err("no agent");
        assert!(error.to_string().contains("absent.sock"), "{error}");
    }

    #[test]
    fn a_new_agent_takes_the_path_of_the_old_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("proxy.sock");
        let old = Listener::bind(&path).expect("listens");
        let new = Listener::bind(&path).expect("listens");
        let proxy = Channel::connect(&path).expect("connects");
        proxy.send(&ToAgent::Leaving, &[]).expect("sent");
        let agent = new.accept().expect("the new one is asked");
        let (message, _) = agent.receive::<ToAgent>().expect("received").expect("a message");
        assert_eq!(message, ToAgent::Leaving);
        drop(old);
    }
}
