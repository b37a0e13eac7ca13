//! HTTP/2 on both sides, with prior knowledge.

mod support;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use penstock_config::BackendProtocol;
use std::{
    convert::Infallible,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};
use support::{
    Gateway,
    backend::Echo,
    config::prefix,
    h2::{self, Sender},
};

fn echoing(echo: &Echo, protocol: BackendProtocol) -> Gateway {
    Gateway::start(|config| {
        let backend = config.backend_of("echo", &[echo.address], protocol);
        config.route_all(backend);
    })
}

#[test]
fn requests_of_one_connection_are_served_at_once_by_either_protocol() {
    for (echo, protocol, version) in [
        (Echo::start("h1"), BackendProtocol::Http1, "HTTP/1.1"),
        (Echo::start_h2("h2", 100), BackendProtocol::H2c, "HTTP/2.0"),
    ] {
        let gateway = echoing(&echo, protocol);
        h2::run(async {
            let (sender, _) = h2::connect(gateway.address()).await;
            let started = Instant::now();
            let ask = |n: u32| {
                let request = h2::request(&format!("http://a.org:81/{n}?q"))
                    .header("x-wait-ms", "100")
                    .body(h2::empty())
                    .expect("a request");
                h2::send(&sender, request)
            };
            let answers = futures_util::future::join_all((0..50).map(ask)).await;
            assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
            for (n, answer) in answers.into_iter().enumerate() {
                let answer = answer.expect("an answer");
                assert_eq!(answer.status, 200);
                let text = answer.text;
                assert!(text.contains(&format!("/{n}?q {version}")), "{text}");
                let host = if protocol == BackendProtocol::Http1 {
                    text.contains("\nhost: a.org:81\n")
                } else {
                    text.contains("GET http://a.org:81/")
                };
                assert!(host, "s7_04: the authority goes on: {text}");
                assert!(answer.headers.get("x-hop").is_none());
            }
        });
    }
}

#[test]
fn another_connection_is_made_where_streams_are_used_up() {
    let echo = Echo::start_h2("echo", 10);
    let gateway = echoing(&echo, BackendProtocol::H2c);
    h2::run(async {
        let (sender, _) = h2::connect(gateway.address()).await;
        assert_eq!(h2::get(&sender, "http://a/").await.status, 200);
        let ask = |_| {
            let request = h2::request("http://a/").header("x-wait-ms", "300");
            h2::send(&sender, request.body(h2::empty()).expect("a request"))
        };
        for answer in futures_util::future::join_all((0..40).map(ask)).await {
            let answer = answer.expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    });
    assert!((3..=6).contains(&echo.connections()), "{} connections", echo.connections());
    assert_eq!(echo.requests(), 41);
}

#[test]
fn bodies_and_trailers_go_both_ways() {
    let echo = Echo::start_h2("echo", 100);
    let gateway = echoing(&echo, BackendProtocol::H2c);
    h2::run(async {
        let (sender, _) = h2::connect(gateway.address()).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "7".parse().expect("a value"));
        let frames = vec![
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"hello "))),
            Ok(Frame::data(Bytes::from(vec![b'x'; 500_000]))),
            Ok(Frame::trailers(trailers)),
        ];
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let request = h2::request("http://a/").method("POST").header("te", "trailers");
        let answer = h2::send(&sender, request.body(body).expect("a request")).await;
        let text = answer.expect("an answer").text;
        assert!(text.contains("\nte: trailers\n"), "{}", &text[..300]);
        assert!(text.contains("\nhello xxx") && text.len() > 500_000);
        assert!(text.ends_with("\ntrailer x-sum: 7"), "{}", &text[text.len() - 50..]);
    });
}

#[test]
fn rfc9113_8_3_1_a_host_that_differs_from_the_authority_is_400() {
    let echo = Echo::start("echo");
    let gateway = echoing(&echo, BackendProtocol::Http1);
    h2::run(async {
        let (sender, _) = h2::connect(gateway.address()).await;
        let request = h2::request("http://a/").header("host", "b").body(h2::empty());
        let answer = h2::send(&sender, request.expect("a request")).await.expect("an answer");
        assert_eq!(answer.status, 400);
        assert_eq!(answer.headers["x-penstock-reason"], "bad-host");
        assert_eq!(h2::get(&sender, "http://a/").await.status, 200);
    });
}

#[test]
fn a_drain_ends_http2_connections_after_their_requests() {
    let echo = Echo::start("echo");
    let gateway = echoing(&echo, BackendProtocol::Http1);
    h2::run(async {
        let (sender, connection) = h2::connect(gateway.address()).await;
        let slow = {
            let sender: Sender<_> = sender.clone();
            let request = h2::request("http://a/").header("x-wait-ms", "600").body(h2::empty());
            let request = request.expect("a request");
            tokio::task::spawn_local(async move { h2::send(&sender, request).await })
        };
        tokio::time::sleep(Duration::from_millis(200)).await;
        let drained = std::thread::spawn(move || gateway.proxy.drain());
        let answer = slow.await.expect("no panic").expect("the request ends well");
        assert_eq!(answer.status, 200);
        connection.await.expect("no panic").expect("GOAWAY without an error");
        drained.join().expect("drained");
    });
}

#[test]
fn cve_2023_44487_a_flood_of_resets_costs_the_connection() {
    let echo = Echo::start("echo");
    let gateway = echoing(&echo, BackendProtocol::Http1);
    let mut stream = TcpStream::connect(gateway.address()).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    for n in 0..5_000_u32 {
        let id = (2 * n + 1).to_be_bytes();
        // HEADERS with END_STREAM and END_HEADERS: GET, http, / and `:authority: a`.
        let block = [0x82, 0x86, 0x84, 0x41, 0x01, b'a'];
        bytes.extend_from_slice(&[0, 0, block.len() as u8, 1, 5]);
        bytes.extend_from_slice(&id);
        bytes.extend_from_slice(&block);
        // RST_STREAM with CANCEL.
        bytes.extend_from_slice(&[0, 0, 4, 3, 0]);
        bytes.extend_from_slice(&id);
        bytes.extend_from_slice(&[0, 0, 0, 8]);
    }
    let ended = stream.write_all(&bytes).is_err();
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    let goaway = rest.windows(5).any(|frame| frame[3] == 7);
    assert!(ended || read.is_err() || goaway, "the flood went through");
    assert!(echo.requests() < 1_000, "{} requests went on", echo.requests());
}

#[test]
fn a_stream_that_the_client_does_not_take_costs_the_connection() {
    let echo = Echo::start("echo");
    let gateway = Gateway::start(|config| {
        config.limits(|limits| limits.body_timeout_ms = 400);
        let backend = config.backend("echo", &[echo.address]);
        config.rule(prefix("/"), |rule| rule.backends = vec![backend]);
    });
    h2::run(async {
        let (sender, connection) = h2::connect(gateway.address()).await;
        let body = http_body_util::Full::new(Bytes::from(vec![b'x'; 8 << 20]));
        let request = h2::request("http://a/").method("POST").body(body).expect("a request");
        let response = sender.clone().send_request(request).await.expect("a head");
        assert_eq!(response.status(), 200);
        // The body is held and never read: its window fills up.
        let started = Instant::now();
        let ended = connection.await.expect("no panic");
        assert!(started.elapsed() < Duration::from_secs(20), "{ended:?}");
        drop(response);
        while !gateway.proxy.metrics_text().contains("client-stuck") {
            assert!(started.elapsed() < Duration::from_secs(20), "{ended:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn changes_under_http2_load_fail_no_request() {
    let (one, two) = (Echo::start_h2("one", 100), Echo::start_h2("two", 100));
    let mut gateway = echoing(&one, BackendProtocol::H2c);
    let address = gateway.address();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let load = std::thread::spawn(move || {
        h2::run(async {
            let (sender, _) = h2::connect(address).await;
            let worker = |_| {
                let (sender, stopped) = (sender.clone(), stopped.clone());
                async move {
                    let mut answers = 0;
                    while !*stopped.borrow() {
                        let answer = h2::get(&sender, "http://a/").await;
                        assert_eq!(answer.status, 200, "{}", answer.text);
                        answers += 1;
                    }
                    answers
                }
            };
            let answers = futures_util::future::join_all((0..20).map(worker)).await;
            answers.into_iter().sum::<usize>()
        })
    });
    for round in 0..100 {
        let echo = if round % 2 == 0 { &two } else { &one };
        let ack = gateway.apply(|config| {
            let backend = config.backend_of("echo", &[echo.address], BackendProtocol::H2c);
            config.route_all(backend);
        });
        assert_eq!(ack.refused, []);
        std::thread::sleep(Duration::from_millis(5));
    }
    stop.send(true).expect("the load runs");
    let answers = load.join().expect("no request failed");
    assert!(answers > 500, "{answers} answers");
    assert!(one.requests() > 50 && two.requests() > 50);
}
