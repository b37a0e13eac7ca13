//! Malformed HTTP/1.1 (RFC 9112): each case is answered with an error, or goes on re-serialised where
//! the RFC permits it. `docs/reference/malformed-http.md` is made from this table;
//! `PENSTOCK_UPDATE=1` writes it.

mod support;

use std::{fmt::Write, path::PathBuf};
use support::{
    Gateway,
    backend::Echo,
    client::{Answer, Connection},
};

/// What becomes of a request.
#[derive(Clone, Copy)]
enum Becomes {
    /// Answered with this status, and the connection is closed.
    Refused(u16),
    /// Answered with this status; the connection can go on.
    Answered(u16),
    /// Goes on; the endpoint gets a message with this in it.
    Forwarded(&'static str),
}
use Becomes::{Answered, Forwarded, Refused};

struct Case {
    section: &'static str,
    what: &'static str,
    bytes: &'static [u8],
    becomes: Becomes,
}

const fn case(
    section: &'static str,
    what: &'static str,
    bytes: &'static [u8],
    becomes: Becomes,
) -> Case {
    Case { section, what, bytes, becomes }
}

const CASES: &[Case] = &[
    case("2.2", "empty line before the request line", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Forwarded("GET / HTTP/1.1")),
    case("2.2", "lines that end in a bare LF", b"GET / HTTP/1.1\nHost: a\nX: 1\n\n", Forwarded("x: 1\n")),
    case("2.2", "bare CR in a field value", b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r2\r\n\r\n", Refused(400)),
    case("2.2", "bare CR in the request line", b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("2.2", "space before the first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", Refused(400)),
    case("2.3", "version in lower case", b"GET / http/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("2.3", "version 1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", Refused(400)),
    case("2.3", "version 2.0 without its preface", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", Refused(400)),
    case("3", "no version (HTTP/0.9)", b"GET /\r\n\r\n", Refused(400)),
    case("3", "two spaces in the request line", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("3", "tab in the request line", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("3.1", "method that is no token", b"GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("3.2", "space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("3.2", "NUL in the target", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    case("3.2", "target that is no path", b"GET x HTTP/1.1\r\nHost: a\r\n\r\n", Answered(400)),
    case("3.2.2", "Host that differs from an absolute target", b"GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", Forwarded("host: b\n")),
    case("3.2.4", "`*` without OPTIONS", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", Answered(400)),
    case("3.2", "no Host", b"GET / HTTP/1.1\r\n\r\n", Answered(400)),
    case("3.2", "two Host fields", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Answered(400)),
    case("3.2", "two equal Host fields", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Answered(400)),
    case("3.2", "space in Host", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Answered(400)),
    case("3.2", "user information in Host", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Answered(400)),
    case("5.1", "space before the colon", b"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", Refused(400)),
    case("5.1", "space before the colon of Content-Length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello", Refused(400)),
    case("5.1", "empty field name", b"GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n", Refused(400)),
    case("5.1", "field name with a control", b"GET / HTTP/1.1\r\nHost: a\r\nX\x01: 1\r\n\r\n", Refused(400)),
    case("5.1", "field without a colon", b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", Refused(400)),
    case("5.2", "folded field (obs-fold)", b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", Refused(400)),
    case("5.5", "NUL in a field value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", Refused(400)),
    case("5.5", "bytes above 127 in a field value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe4\r\n\r\n", Forwarded("x: \u{fffd}\n")),
    case("6.1", "Transfer-Encoding with Content-Length", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", Refused(400)),
    case("6.1", "Content-Length with Transfer-Encoding", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    case("6.1", "Transfer-Encoding in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    case("6.1", "a transfer coding beside chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Answered(501)),
    case("6.3", "chunked that is not the last coding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", Refused(400)),
    case("6.3", "a coding that is only like chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", Refused(400)),
    case("6.3", "a control before chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", Refused(400)),
    case("7.1", "chunked twice", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Answered(501)),
    case("6.2", "two different Content-Length fields", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", Refused(400)),
    case("6.3", "two equal Content-Length fields", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Forwarded("content-length: 5\nx-")),
    case("6.3", "a list of equal lengths in one field", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", Refused(400)),
    case("6.2", "a sign before the length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", Refused(400)),
    case("6.2", "a negative length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", Refused(400)),
    case("6.2", "a length in hexadecimal", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", Refused(400)),
    case("6.2", "an empty length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", Refused(400)),
    case("6.2", "a length beyond 64 bits", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nhello", Refused(400)),
    case("7.1", "a chunk size that is no number", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5g\r\nhello\r\n0\r\n\r\n", Refused(400)),
    case("7.1", "a negative chunk size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", Refused(400)),
    case("7.1", "a chunk size with 0x", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", Refused(400)),
    case("7.1", "a chunk size beyond 64 bits", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n", Refused(400)),
    case("7.1", "an empty chunk size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n", Refused(400)),
    case("7.1", "a chunk longer than its size", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n", Refused(400)),
    case("7.1", "a chunk size line that ends in a bare LF", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", Refused(400)),
    case("7.1", "a bare CR in a chunk extension", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\rb\r\nhello\r\n0\r\n\r\n", Refused(400)),
    case("7.1.1", "a chunk extension", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n", Forwarded("\n\nhello")),
    case("7.1.2", "an undeclared trailer field", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n", Forwarded("transfer-encoding: chunked\n")),
    case("9.6", "HTTP/1.0 without Host", b"GET / HTTP/1.0\r\n\r\n", Forwarded("host: \n")),
];

/// What a second, smuggled request would look like; a refused connection never answers it.
const SECOND: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

fn gateway(echo: &Echo) -> Gateway {
    Gateway::start(|config| {
        let backend = config.backend("echo", &[echo.address]);
        config.route_all(backend);
    })
}

#[test]
fn rfc9112_every_case_becomes_what_the_table_says() {
    let echo = Echo::start("echo");
    let gateway = gateway(&echo);
    let mut wrong = String::new();
    for case in CASES {
        let mut client = Connection::open(gateway.address());
        client.send(case.bytes);
        let answer = client.try_answer(false);
        let status = answer.as_ref().map(|answer| answer.status);
        let fits = match case.becomes {
            Answered(expected) => status == Some(expected),
            Refused(expected) => status == Some(expected) && client.ends(),
            Forwarded(part) => answer.as_ref().is_some_and(|answer| has(answer, part)),
        };
        if !fits {
            let text = answer.map(|answer| answer.text()).unwrap_or_default();
            writeln!(wrong, "{} {}: {status:?} {text}", case.section, case.what)
                .expect("a string grows");
        }
    }
    assert_eq!(wrong, "");
}

fn has(answer: &Answer, part: &str) -> bool {
    answer.status == 200 && answer.text().contains(part)
}

#[test]
fn rfc9112_a_refused_connection_serves_nothing_after_it() {
    let echo = Echo::start("echo");
    let gateway = gateway(&echo);
    for case in CASES.iter().filter(|case| matches!(case.becomes, Refused(_))) {
        let before = echo.requests();
        let mut client = Connection::open(gateway.address());
        let mut bytes = case.bytes.to_vec();
        bytes.extend_from_slice(SECOND);
        client.send(bytes);
        let answer = client.try_answer(false);
        assert!(answer.is_none_or(|answer| answer.status == 400), "{}", case.what);
        assert!(client.try_answer(false).is_none(), "{}: a second answer", case.what);
        // A body that turns out malformed has begun to go on; never the request after it.
        assert!(echo.requests() <= before + 1, "{}", case.what);
    }
}

#[test]
fn the_documented_table_is_this_one() {
    let mut text = String::from(
        "# Malformed HTTP/1.1\n\
         What the proxy does with requests that violate RFC 9112, or that it permits reluctantly. Made \
         from the table in `dataplane/proxy/tests/malformed.rs`, which sends each of them.\n\n\
         *Refused* also closes the connection. What goes on is always re-serialised: an endpoint \
         never sees a byte of framing that the client wrote.\n\n\
         | RFC 9112 | request | becomes |\n|---|---|---|\n",
    );
    for case in CASES {
        let becomes = match case.becomes {
            Refused(status) => format!("refused, {status}"),
            Answered(status) => format!("answered {status}"),
            Forwarded(_) => "goes on".to_owned(),
        };
        writeln!(text, "| {} | {} | {becomes} |", case.section, case.what).expect("a string grows");
    }
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/malformed-http.md");
    if std::env::var_os("PENSTOCK_UPDATE").is_some() {
        std::fs::write(&path, &text).expect("the page is written");
    }
    let written = std::fs::read_to_string(&path).expect("the page");
    assert_eq!(written, text, "run this test with PENSTOCK_UPDATE=1");
}
