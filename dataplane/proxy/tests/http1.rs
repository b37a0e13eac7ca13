//! HTTP/1.1 over real sockets: connections, bodies, fields of the connection.

mod support;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener},
};
use support::{
    Gateway, LOCAL,
    backend::Echo,
    client::{Connection, get},
    config::prefix,
};

fn echoing(echo: &Echo) -> Gateway {
    Gateway::start(|config| {
        let backend = config.backend("echo", &[echo.address]);
        config.route_all(backend);
    })
}

#[test]
fn connections_are_kept_on_both_sides() {
    let echo = Echo::start("echo");
    let gateway = echoing(&echo);
    let mut client = Connection::open(gateway.address());
    for _ in 0..100 {
        assert_eq!(client.get("a", "/").status, 200);
    }
    assert_eq!((echo.requests(), echo.connections()), (100, 1));
}

#[test]
fn rfc9112_9_3_1_a_keep_alive_close_of_the_endpoint_loses_no_request() {
    let echo = Echo::start_closing("echo", 3);
    let gateway = echoing(&echo);
    let mut client = Connection::open(gateway.address());
    for number in 0..200 {
        assert_eq!(client.get("a", "/").status, 200, "request {number}");
    }
    assert!(echo.connections() >= 66, "{} connections", echo.connections());
}

#[test]
fn rfc9110_7_6_1_fields_of_a_connection_stay_on_it() {
    let echo = Echo::start("echo");
    let gateway = echoing(&echo);
    let mut client = Connection::open(gateway.address());
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Mine, close\r\nX-Mine: 1\r\n\
         Keep-Alive: 1\r\nProxy-Connection: x\r\nTE: gzip\r\nExpect: nothing\r\n\r\n",
    );
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    for name in ["connection", "x-mine", "keep-alive", "proxy-connection", "te"] {
        assert_eq!(answer.seen(name), None, "{name}");
    }
    assert_eq!(answer.field("x-hop"), None, "what the endpoint's Connection names");
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(client.ends());
}

#[test]
fn bodies_and_trailers_go_on_with_either_length() {
    let echo = Echo::start("echo");
    let gateway = echoing(&echo);
    let mut client = Connection::open(gateway.address());
    let body = "x".repeat(300_000);
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(&body);
    let answer = client.answer();
    assert!(answer.text().ends_with(&body));
    assert_eq!(answer.seen("content-length").as_deref(), Some("300000"));
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
         5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    let answer = client.answer();
    assert!(answer.text().contains("\nhello world"), "{}", answer.text());
    assert!(answer.text().ends_with("trailer x-sum: 7"), "{}", answer.text());
    assert_eq!(answer.seen("transfer-encoding").as_deref(), Some("chunked"));
}

#[test]
fn rfc9110_10_1_1_expect_is_answered_and_head_has_no_body() {
    let echo = Echo::start("echo");
    let gateway = echoing(&echo);
    let mut client = Connection::open(gateway.address());
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer().status, 100);
    client.send("ok");
    let answer = client.answer();
    assert!(answer.text().ends_with("\nok"), "{}", answer.text());
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.answer_to_head();
    assert_eq!(head.status, 200);
    assert!(head.field("content-length").is_some());
    assert_eq!(client.get("a", "/").status, 200, "the connection goes on");
}

#[test]
fn forms_of_targets() {
    let echo = Echo::start("echo");
    let gateway = echoing(&echo);
    let mut client = Connection::open(gateway.address());
    client.send("GET http://b.org/x?y HTTP/1.1\r\nHost: a.org\r\n\r\n");
    let answer = client.answer();
    assert!(answer.text().contains("GET /x?y HTTP/1.1"), "{}", answer.text());
    assert_eq!(answer.seen("host").as_deref(), Some("b.org"));
    client.send("OPTIONS * HTTP/1.1\r\nHost: a.org\r\n\r\n");
    assert!(client.answer().text().contains("OPTIONS * HTTP/1.1"));
    client.send("CONNECT a.org:443 HTTP/1.1\r\nHost: a.org:443\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("x-penstock-reason")), (501, Some("connect")));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let echo = Echo::start("echo");
    let gateway = echoing(&echo);
    let mut client = Connection::open(gateway.address());
    let all: String = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(all);
    for n in 0..20 {
        let answer = client.answer();
        assert!(answer.text().contains(&format!("GET /{n} ")), "{n}: {}", answer.text());
    }
}

#[test]
fn a_client_that_closed_its_half_gets_its_answer() {
    let echo = Echo::start("echo");
    let gateway = echoing(&echo);
    let mut client = Connection::open(gateway.address());
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Wait-Ms: 100\r\n\r\n");
    client.stream.shutdown(Shutdown::Write).expect("half a close");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn rfc9110_7_8_an_upgraded_connection_carries_bytes_both_ways() {
    let endpoint = TcpListener::bind((LOCAL, 0)).expect("a free port");
    let address = endpoint.local_addr().expect("an address");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = endpoint.accept().expect("a connection");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        stream
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                  Upgrade: websocket\r\nX-Accept: 1\r\n\r\nfirst",
            )
            .expect("an answer");
        let mut got = [0; 4];
        stream.read_exact(&mut got).expect("bytes of the client");
        stream.write_all(&got).expect("the same back");
        String::from_utf8(head).expect("text")
    });
    let gateway = Gateway::start(|config| {
        let backend = config.backend("ws", &[address]);
        config.route_all(backend);
    });
    let mut client = Connection::open(gateway.address());
    client.send(
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n",
    );
    let answer = client.answer();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.field("upgrade"), Some("websocket"));
    assert_eq!(answer.field("connection"), Some("upgrade"));
    assert_eq!(answer.field("x-accept"), Some("1"));
    assert_eq!(client.take(5).as_deref(), Some(&b"first"[..]));
    client.send("ping");
    assert_eq!(client.take(4).as_deref(), Some(&b"ping"[..]));
    assert!(client.ends(), "the endpoint's end is the client's");
    let head = server.join().expect("the endpoint").to_ascii_lowercase();
    assert!(head.contains("connection: upgrade\r\n"), "{head}");
    assert!(head.contains("upgrade: websocket\r\n"), "{head}");
}

#[test]
fn an_endpoint_that_is_not_there_is_503_and_another_one_is_tried() {
    let echo = Echo::start("echo");
    let gone = TcpListener::bind((LOCAL, 0)).and_then(|l| l.local_addr()).expect("a free port");
    let gateway = Gateway::start(|config| {
        let none = config.backend("none", &[gone]);
        let both = config.backend("both", &[gone, echo.address]);
        config.rule(prefix("/none"), |rule| rule.backends = vec![none]);
        config.rule(prefix("/both"), |rule| rule.backends = vec![both]);
    });
    let answer = get(gateway.port, "a", "/none");
    assert_eq!((answer.status, answer.field("x-penstock-reason")), (503, Some("upstream-connect")));
    let mut client = Connection::open(gateway.address());
    for _ in 0..10 {
        assert_eq!(client.get("a", "/both").status, 200);
    }
}

#[test]
fn s7_17_timeouts_are_504() {
    let echo = Echo::start("echo");
    let gateway = Gateway::start(|config| {
        let backend = config.backend("echo", &[echo.address]);
        config.rule(prefix("/whole"), |rule| {
            rule.request_timeout_ms = 100;
            rule.backends = vec![backend.clone()];
        });
        config.rule(prefix("/try"), |rule| {
            rule.backend_timeout_ms = 100;
            rule.backends = vec![backend];
        });
    });
    for path in ["/whole", "/try"] {
        let mut client = Connection::open(gateway.address());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Wait-Ms: 5000\r\n\r\n"));
        let answer = client.answer();
        assert_eq!(answer.field("x-penstock-reason"), Some("upstream-timeout"), "{path}");
        assert_eq!(answer.status, 504);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.answer().status, 200, "{path}: the client's connection goes on");
    }
}

#[test]
fn load_goes_to_the_endpoint_with_the_fewest_requests() {
    let (slow, fast) = (Echo::start("slow"), Echo::start("fast"));
    let gateway = Gateway::start(|config| {
        let backend = config.backend("two", &[slow.address, fast.address]);
        config.route_all(backend);
    });
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut client = Connection::open(gateway.address());
        client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Wait-Ms: 700\r\n\r\n");
        waiting.push(client);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!((slow.requests(), fast.requests()), (1, 1), "in turn while equal");
    for mut client in waiting {
        assert_eq!(client.answer().status, 200);
    }
}

/// An endpoint that closes its first connection when it has read a second request there, and
/// answers everything else. It ends with its listener and gives how many requests it read.
fn closing_at_the_second(listener: TcpListener, connections: usize) -> usize {
    let mut heads = 0;
    for number in 0..connections {
        let (mut stream, _) = listener.accept().expect("a connection");
        for nth in 0.. {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                head.push(byte[0]);
            }
            if head.is_empty() {
                break;
            }
            heads += 1;
            if number == 0 && nth == 1 {
                break;
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).expect("the answer is taken");
        }
    }
    heads
}

#[test]
fn rfc9112_9_3_1_a_request_that_may_have_been_acted_upon_is_sent_again_only_where_that_is_safe() {
    for (method, status, heads, connections) in [("GET", 200, 3, 2), ("POST", 502, 2, 1)] {
        let listener = TcpListener::bind((LOCAL, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let endpoint = std::thread::spawn(move || closing_at_the_second(listener, connections));
        let gateway = Gateway::start(|config| {
            let backend = config.backend("closing", &[address]);
            config.route_all(backend);
        });
        let mut client = Connection::open(gateway.address());
        assert_eq!(client.get("a", "/").status, 200);
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(client.answer().status, status, "{method}");
        drop(gateway);
        assert_eq!(endpoint.join().expect("the endpoint"), heads, "{method}");
    }
}
