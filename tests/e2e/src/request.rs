//! One request on a connection of its own.

use anyhow::{Context as _, Result};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// For a connection to be made, and for bytes of the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// The head as text, field names as sent.
    pub head: String,
    /// The body as text.
    pub body: String,
}

impl Answer {
    /// The first field of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// `GET path` with a Host, on a connection that is closed afterwards.
///
/// # Errors
/// When there is no complete answer within ten seconds.
pub fn get(address: SocketAddr, host: &str, path: &str) -> Result<Answer> {
    get_at(address, host, path, "")
}

/// As [`get`], with more field lines, each ended by CRLF.
///
/// # Errors
/// As [`get`].
pub fn get_at(address: SocketAddr, host: &str, path: &str, fields: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&bytes)
}

/// A complete answer on a connection that was closed after it.
///
/// # Errors
/// When it is none.
pub fn parse(bytes: &[u8]) -> Result<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").context("no complete head")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}
