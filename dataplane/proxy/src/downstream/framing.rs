//! Where HTTP/1 messages begin and end in a client's bytes.
//!
//! hyper reads a request with both `Transfer-Encoding` and `Content-Length` as RFC 9112 section 6.3
//! allows, and does not say that it did. RFC 9112 section 6.1 lets a server refuse such a request,
//! and a gateway should: it is how requests are smuggled. So this looks at the bytes as they come
//! in, only so closely as it takes to find the heads.

use crate::worker::Pulse;

/// Longest part of a line that is kept from one read to the next: enough for the two fields.
const KEPT: usize = 256;

/// Follows the messages of one connection.
#[derive(Debug, Default)]
pub(super) struct Framing {
    state: State,
    /// The beginning of a line that came in parts.
    line: Vec<u8>,
    /// Requests so far, the one whose head is coming included.
    requests: u64,
    chunked: bool,
    length: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the request line; empty lines are skipped (RFC 9112, section 2.2).
    #[default]
    Start,
    /// In the header section.
    Fields,
    /// In a body of so many more bytes.
    Body(u64),
    /// At the size of a chunk.
    ChunkSize,
    /// In a chunk of so many more bytes, its line end included.
    Chunk(u64),
    /// In the trailer section.
    Trailers,
    /// Out of step; hyper refuses what is here.
    Lost,
}

impl Framing {
    /// Takes the next bytes. Heads and ambiguous lengths go to `pulse`.
    pub(super) fn feed(&mut self, mut bytes: &[u8], pulse: &Pulse, tick: u32) {
        while !bytes.is_empty() {
            match self.state {
                State::Lost => return,
                State::Body(left) | State::Chunk(left) => {
                    let taken = left.min(bytes.len() as u64);
                    bytes = &bytes[taken as usize..];
                    self.state = match (self.state, left - taken) {
                        (State::Body(_), 0) => State::Start,
                        (State::Body(_), left) => State::Body(left),
                        (_, 0) => State::ChunkSize,
                        (_, left) => State::Chunk(left),
                    };
                }
                _ => {
                    let begins = self.state == State::Start && self.line.is_empty();
                    if begins && !matches!(bytes[0], b'\r' | b'\n') {
                        pulse.head(Some(tick));
                    }
                    let Some(end) = memchr::memchr(b'\n', bytes) else {
                        self.keep(bytes);
                        return;
                    };
                    let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
                    bytes = rest;
                    if self.line.is_empty() {
                        self.take(line, pulse);
                    } else {
                        self.keep(line);
                        let line = std::mem::take(&mut self.line);
                        self.take(&line, pulse);
                    }
                }
            }
        }
    }

    fn keep(&mut self, part: &[u8]) {
        let room = KEPT.saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn take(&mut self, line: &[u8], pulse: &Pulse) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.state = match self.state {
            State::Start if line.is_empty() => State::Start,
            State::Start => {
                self.requests += 1;
                (self.chunked, self.length) = (false, None);
                State::Fields
            }
            State::Fields if line.is_empty() => self.end_of_head(pulse),
            State::Fields => self.field(line),
            State::ChunkSize => match chunk_size(line) {
                Some(0) => State::Trailers,
                Some(size) => State::Chunk(size.saturating_add(2)),
                None => State::Lost,
            },
            State::Trailers if line.is_empty() => State::Start,
            state => state,
        };
    }

    fn field(&mut self, line: &[u8]) -> State {
        // Few fields begin so; the others are not looked at.
        match line.first() {
            Some(b't' | b'T') if field_value(line, b"transfer-encoding").is_some() => {
                self.chunked = true;
            }
            Some(b'c' | b'C') => {
                if let Some(value) = field_value(line, b"content-length") {
                    match std::str::from_utf8(value.trim_ascii()).map(str::parse) {
                        Ok(Ok(length)) => self.length = Some(length),
                        _ => return State::Lost,
                    }
                }
            }
            _ => {}
        }
        State::Fields
    }

    fn end_of_head(&mut self, pulse: &Pulse) -> State {
        pulse.head(None);
        match (self.chunked, self.length) {
            (true, Some(_)) => {
                pulse.ambiguous(self.requests);
                State::ChunkSize
            }
            (true, None) => State::ChunkSize,
            (false, None | Some(0)) => State::Start,
            (false, Some(length)) => State::Body(length),
        }
    }
}

fn field_value<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    // hyper refuses a space before the colon; it must not hide the field here either.
    let value = rest.trim_ascii_start().strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name).then_some(value)
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let digits = std::str::from_utf8(&line[..digits]).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const LENGTH: &str =
        "POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\nTransfer-Encoding: chunked\r\n\r\n";
    const CHUNKED: &str =
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX: y\r\n\r\n";
    const BOTH: &str = "POST / HTTP/1.1\r\ncontent-length: 5\r\nX: y\r\nTRANSFER-ENCODING: chunked\r\n\r\n0\r\n\r\n";

    /// Which requests are ambiguous, with the bytes cut into pieces of `size`.
    fn first_ambiguous(messages: &[&str], size: usize) -> Option<u64> {
        let (mut framing, pulse) = (Framing::default(), Pulse::default());
        for piece in messages.concat().as_bytes().chunks(size) {
            framing.feed(piece, &pulse, 0);
        }
        (1..=messages.len() as u64).find(|request| pulse.is_ambiguous(*request))
    }

    #[test]
    fn rfc9112_6_1_both_lengths_are_found_wherever_the_bytes_are_cut() {
        for size in 1..200 {
            assert_eq!(first_ambiguous(&[BOTH], size), Some(1), "pieces of {size}");
            let later = [PLAIN, LENGTH, CHUNKED, "\r\n", BOTH];
            assert_eq!(first_ambiguous(&later, size), Some(4), "pieces of {size}");
        }
    }

    #[test]
    fn bodies_are_not_taken_for_heads() {
        for size in 1..200 {
            assert_eq!(first_ambiguous(&[LENGTH, CHUNKED, PLAIN], size), None, "pieces of {size}");
        }
    }

    #[test]
    fn a_head_is_coming_from_its_first_byte_to_its_empty_line() {
        let (mut framing, pulse) = (Framing::default(), Pulse::default());
        framing.feed(b"\r\n", &pulse, 7);
        assert!(!pulse.in_head());
        framing.feed(b"G", &pulse, 7);
        assert!(pulse.in_head());
        framing.feed(b"ET / HTTP/1.1\r\nHost: a\r\n", &pulse, 7);
        assert!(pulse.in_head());
        framing.feed(b"\r\n", &pulse, 7);
        assert!(!pulse.in_head());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let (mut framing, pulse) = (Framing::default(), Pulse::default());
            framing.feed(&bytes, &pulse, 0);
        }
    }
}
