//! Netlink (RFC 3549, netlink(7)): messages, and a socket that asks and waits.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto,
    socket_with, sockopt,
};

/// Flags of a message (linux/netlink.h).
pub(crate) const CREATE: u16 = 0x400;
pub(crate) const EXCLUSIVE: u16 = 0x200;
pub(crate) const APPEND: u16 = 0x800;
pub(crate) const ACK: u16 = 0x4;
const REQUEST: u16 = 0x1;
const DUMP: u16 = 0x300;

/// Message types of netlink itself.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// Length of a message's header.
const HEADER: usize = 16;
/// The flag of an attribute that contains others.
const NESTED: u16 = 0x8000;
/// How long the kernel may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// A message, or the attributes within one.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A message of this type, with the header of its family after netlink's.
    pub(crate) fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(header);
        let mut message = Self { bytes };
        message.align();
        message
    }

    /// Adds an attribute.
    pub(crate) fn attribute(mut self, kind: u16, payload: &[u8]) -> Self {
        // No attribute of ours is near the limit of 64 KiB; a longer one would be refused as malformed.
        let length = u16::try_from(4 + payload.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(payload);
        self.align();
        self
    }

    /// Adds a string, with the zero at its end.
    pub(crate) fn text(self, kind: u16, text: &str) -> Self {
        let mut payload = text.as_bytes().to_vec();
        payload.push(0);
        self.attribute(kind, &payload)
    }

    /// Adds a number in the machine's order.
    pub(crate) fn number(self, kind: u16, number: u32) -> Self {
        self.attribute(kind, &number.to_ne_bytes())
    }

    /// Adds a number in the order of the wire.
    pub(crate) fn number_be(self, kind: u16, number: u32) -> Self {
        self.attribute(kind, &number.to_be_bytes())
    }

    /// Adds an attribute with attributes in it.
    pub(crate) fn nest(self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let inner = fill(Self { bytes: Vec::new() });
        self.attribute(kind | NESTED, &inner.bytes)
    }

    /// The same with a header before them.
    pub(crate) fn nest_after(
        self,
        kind: u16,
        header: &[u8],
        fill: impl FnOnce(Self) -> Self,
    ) -> Self {
        let inner = fill(Self { bytes: header.to_vec() });
        self.attribute(kind | NESTED, &inner.bytes)
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn wants_answer(&self) -> bool {
        u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) & ACK != 0
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

/// A message from the kernel, without netlink's header.
pub(crate) struct Answer {
    /// The header of its family, then its attributes.
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    /// The attributes after a header of this length.
    pub(crate) fn attributes(&self, header: usize) -> impl Iterator<Item = (u16, &[u8])> {
        attributes(self.bytes.get(header.next_multiple_of(4)..).unwrap_or_default())
    }
}

/// Attributes one after the other; what is malformed ends them.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes([*bytes.first()?, *bytes.get(1)?]));
        let kind = u16::from_ne_bytes([*bytes.get(2)?, *bytes.get(3)?]) & !NESTED;
        let payload = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// A socket to one subsystem of the kernel, in the calling thread's network namespace.
pub(crate) struct Netlink {
    fd: OwnedFd,
}

impl Netlink {
    /// `NETLINK_ROUTE`, protocol number 0: devices, addresses, routes, rules.
    pub(crate) fn route() -> io::Result<Self> {
        Self::open(None)
    }

    /// `NETLINK_NETFILTER`: tables of packet rules.
    pub(crate) fn netfilter() -> io::Result<Self> {
        Self::open(Some(rustix::net::netlink::NETFILTER))
    }

    /// As [`Self::route`], told of what happens in these groups (`RTMGRP_*`, rtnetlink(7)).
    pub(crate) fn listening(groups: u32) -> io::Result<Self> {
        let netlink = Self::route()?;
        bind(&netlink.fd, &SocketAddrNetlink::new(0, groups))?;
        Ok(netlink)
    }

    /// Waits for news, and takes all that there are; whether some came in time.
    pub(crate) fn news(&self) -> io::Result<bool> {
        let mut flags = RecvFlags::empty();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match recv(&self.fd, &mut buffer[..], flags) {
                // What did not fit is lost, and with it only which device it was.
                Ok(_) | Err(Errno::NOBUFS) => flags = RecvFlags::DONTWAIT,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(flags == RecvFlags::DONTWAIT),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        let fd = socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?;
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { fd })
    }

    /// Asks for one change.
    pub(crate) fn change(&self, message: Message) -> io::Result<()> {
        self.batch(vec![message])
    }

    /// Sends messages as one, and waits for an answer to each that wants one.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) fn batch(&self, messages: Vec<Message>) -> io::Result<()> {
        let mut waiting = messages.iter().filter(|message| message.wants_answer()).count();
        self.send(messages)?;
        while waiting > 0 {
            for (kind, answer) in self.receive()? {
                if kind == ERROR {
                    result(&answer.bytes)?;
                    waiting = waiting.saturating_sub(1);
                }
            }
        }
        Ok(())
    }

    /// Asks for one thing.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn ask(&self, message: Message) -> io::Result<Answer> {
        self.send(vec![message])?;
        let (kind, answer) =
            self.receive()?.into_iter().next().ok_or(io::ErrorKind::InvalidData)?;
        if kind == ERROR {
            result(&answer.bytes)?;
        }
        Ok(answer)
    }

    /// Asks for all entries of a kind.
    pub(crate) fn dump(&self, kind: u16, header: &[u8]) -> io::Result<Vec<Answer>> {
        self.dump_of(Message::new(kind, 0, header))
    }

    /// Asks for all entries that a message, which has no flags, describes.
    pub(crate) fn dump_of(&self, mut message: Message) -> io::Result<Vec<Answer>> {
        message.bytes[6..8].copy_from_slice(&(DUMP | REQUEST).to_ne_bytes());
        self.send(vec![message])?;
        let mut all = Vec::new();
        loop {
            for (kind, answer) in self.receive()? {
                match kind {
                    ERROR => result(&answer.bytes)?,
                    DONE => return Ok(all),
                    _ => all.push(answer),
                }
            }
        }
    }

    fn send(&self, messages: Vec<Message>) -> io::Result<()> {
        let numbered = messages.into_iter().zip(1..);
        let bytes: Vec<u8> =
            numbered.flat_map(|(message, sequence)| message.finish(sequence)).collect();
        sendto(&self.fd, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        Ok(())
    }

    fn receive(&self) -> io::Result<Vec<(u16, Answer)>> {
        // A dump comes in pieces of at most 32 KiB.
        let mut buffer = vec![0; 64 * 1024];
        let (length, _) = recv(&self.fd, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        let mut answers = Vec::new();
        while let Some(header) = rest.get(..HEADER) {
            let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
            let kind = u16::from_ne_bytes([header[4], header[5]]);
            let Some(bytes) = rest.get(HEADER..length) else { break };
            answers.push((kind, Answer { bytes: bytes.to_vec() }));
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(answers)
    }
}

/// The result in an error message; zero is success.
fn result(bytes: &[u8]) -> io::Result<()> {
    match bytes.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_aligned_and_nested_attributes_say_so() {
        let message = Message::new(32, ACK, &[2, 0, 0])
            .text(1, "ab")
            .nest(4, |inner| inner.number(1, 7).number_be(2, 7));
        assert!(message.wants_answer());
        let bytes = message.finish(9);
        assert_eq!(bytes.len() as u32, u32::from_ne_bytes(bytes[..4].try_into().unwrap()));
        let answer = Answer { bytes: bytes[HEADER..].to_vec() };
        let all: Vec<_> = answer.attributes(3).collect();
        assert_eq!(all[0], (1, &b"ab\0"[..]));
        let inner: Vec<_> = attributes(all[1].1).collect();
        assert_eq!(inner, [(1, &7u32.to_ne_bytes()[..]), (2, &7u32.to_be_bytes()[..])]);
    }

    #[test]
    fn what_is_cut_short_ends_the_attributes() {
        assert_eq!(attributes(&[8, 0, 1, 0, 1, 2]).count(), 0);
        assert_eq!(attributes(&[2, 0, 1, 0]).count(), 0);
        assert_eq!(attributes(&[]).count(), 0);
    }
}
