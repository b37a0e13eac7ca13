//! The admin port on a real socket.

use penstock_telemetry::{
    PageFormat,
    admin::{AdminServer, AdminSource},
};
use serde_json::{Value, json};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

#[derive(Default)]
struct Source {
    ready: AtomicBool,
}

impl AdminSource for Source {
    fn ready(&self) -> Result<(), String> {
        if self.ready.load(Relaxed) { Ok(()) } else { Err("not yet".into()) }
    }

    fn metrics(&self, format: PageFormat) -> String {
        format!("{format:?}\n")
    }

    fn config(&self) -> Value {
        json!({ "version": "abc" })
    }
}

fn start() -> (AdminServer, Arc<Source>) {
    let source = Arc::new(Source::default());
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    (AdminServer::start(address, source.clone()).expect("a server"), source)
}

/// What the server sends for these bytes until it closes the connection.
fn talk(server: &AdminServer, bytes: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    stream.write_all(bytes.as_bytes()).expect("the request is taken");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}

struct Answer {
    head: String,
    body: String,
}

impl Answer {
    /// The first answer in what was sent; everything after its head is its body.
    fn first(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
        Self { head: head.into(), body: body.into() }
    }

    fn status(&self) -> u16 {
        let status = self.head.split(' ').nth(1).expect("a status");
        status.parse().expect("a number")
    }

    fn field(&self, wanted: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.find(|(name, _)| *name == wanted).map(|(_, value)| value)
    }
}

fn ask(server: &AdminServer, method: &str, path: &str, fields: &str) -> Answer {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    Answer::first(&talk(server, &format!("{head}{fields}\r\n")))
}

#[test]
fn health_says_what_is_the_case_and_why_not() {
    let (server, source) = start();
    assert_eq!(ask(&server, "GET", "/livez", "").status(), 200);
    let answer = ask(&server, "GET", "/readyz", "");
    assert_eq!((answer.status(), answer.body.as_str()), (503, "not yet\n"));
    source.ready.store(true, Relaxed);
    let answer = ask(&server, "GET", "/readyz", "");
    assert_eq!((answer.status(), answer.body.as_str()), (200, "ok\n"));
}

#[test]
fn the_page_comes_in_the_format_that_was_asked_for() {
    let (server, _) = start();
    let answer = ask(&server, "GET", "/metrics", "Accept: application/openmetrics-text\r\n");
    assert_eq!(answer.body, "OpenMetrics\n");
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.field("content-type"), Some(kind));
    let answer = ask(&server, "GET", "/metrics?name=x", "");
    assert_eq!(answer.body, "Prometheus\n");
    assert_eq!(answer.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
}

#[test]
fn the_configuration_is_json() {
    let (server, _) = start();
    let answer = ask(&server, "GET", "/config", "");
    assert_eq!(answer.field("content-type"), Some("application/json"));
    let value: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(value, json!({ "version": "abc" }));
}

#[test]
fn what_is_not_there_is_404_and_what_is_not_allowed_405_rfc_9110_15_5() {
    let (server, _) = start();
    let answer = ask(&server, "GET", "/", "");
    assert_eq!(answer.status(), 404);
    assert!(answer.body.contains("/metrics"), "it says what there is");
    assert_eq!(ask(&server, "POST", "/nothing", "Content-Length: 0\r\n").status(), 404);
    let answer = ask(&server, "POST", "/config", "Content-Length: 0\r\n");
    assert_eq!((answer.status(), answer.field("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn head_is_get_without_content_rfc_9110_9_3_2() {
    let (server, _) = start();
    let get = ask(&server, "GET", "/config", "");
    let next = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let both = talk(&server, &format!("HEAD /config HTTP/1.1\r\nHost: x\r\n\r\n{next}"));
    let head = Answer::first(&both);
    assert_eq!((head.status(), head.field("content-length")), (200, get.field("content-length")));
    let next = Answer::first(&head.body);
    assert_eq!((next.status(), next.body.as_str()), (200, "ok\n"), "no content is in the way");
}

#[test]
fn an_occupied_port_is_an_error_and_a_dropped_server_frees_its_own() {
    let (server, source) = start();
    let address = server.address();
    assert!(AdminServer::start(address, source).is_err());
    drop(server);
    TcpListener::bind(address).expect("the port is free again");
}
