//! An HTTP/1.1 client that sends bytes as they are and never tries again.

use super::LOCAL;
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Bytes of the trailer section.
    pub trailers: String,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A field that the backend got.
    pub fn seen(&self, name: &str) -> Option<String> {
        let text = self.text();
        let start = format!("{name}: ");
        text.lines().find_map(|line| line.strip_prefix(&start).map(str::to_owned))
    }
}

pub struct Connection {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, buffer: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the request is taken");
    }

    pub fn get(&mut self, host: &str, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        self.answer()
    }

    pub fn answer(&mut self) -> Answer {
        self.try_answer(false).expect("an answer")
    }

    pub fn answer_to_head(&mut self) -> Answer {
        self.try_answer(true).expect("an answer")
    }

    /// An answer; `None` where the connection ends before there is one.
    pub fn try_answer(&mut self, to_head: bool) -> Option<Answer> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            if !self.more() {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let fields: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer { status, fields, ..Answer::default() };
        if to_head || status == 204 || status == 304 || status < 200 {
            return Some(answer);
        }
        if answer.field("transfer-encoding") == Some("chunked") {
            self.chunked(&mut answer)?;
        } else if let Some(length) = answer.field("content-length") {
            let length: usize = length.parse().ok()?;
            answer.body = self.take(length)?;
        } else {
            while self.more() {}
            answer.body = std::mem::take(&mut self.buffer);
        }
        Some(answer)
    }

    fn chunked(&mut self, answer: &mut Answer) -> Option<()> {
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            if size == 0 {
                loop {
                    let line = self.line()?;
                    if line.is_empty() {
                        return Some(());
                    }
                    answer.trailers.push_str(&line);
                    answer.trailers.push('\n');
                }
            }
            answer.body.extend(self.take(size)?);
            self.take(2)?;
        }
    }

    fn line(&mut self) -> Option<String> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                break end;
            }
            if !self.more() {
                return None;
            }
        };
        let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 2);
        Some(line)
    }

    pub fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.more() {
                return None;
            }
        }
        Some(self.buffer.drain(..length).collect())
    }

    /// Whether the other side ends the connection, without anything more.
    pub fn ends(&mut self) -> bool {
        self.buffer.is_empty() && !self.more()
    }

    fn more(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(read) => {
                self.buffer.extend_from_slice(&bytes[..read]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("the other side neither answers nor ends: {error}"),
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// One request on a connection of its own.
pub fn get(port: u16, host: &str, path: &str) -> Answer {
    Connection::open(SocketAddr::new(LOCAL, port)).get(host, path)
}
