//! Limits on what clients may use.

mod support;

use std::time::{Duration, Instant};
use support::{Gateway, backend::Echo, client::Connection, h2};

fn limited(echo: &Echo, change: impl FnOnce(&mut penstock_config::Limits)) -> Gateway {
    Gateway::start(|config| {
        config.limits(change);
        let backend = config.backend("echo", &[echo.address]);
        config.route_all(backend);
    })
}

#[test]
fn a_head_that_does_not_end_costs_the_connection() {
    let echo = Echo::start("echo");
    let gateway = limited(&echo, |limits| limits.header_timeout_ms = 300);
    let started = Instant::now();
    let mut client = Connection::open(gateway.address());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("x-penstock-reason")), (408, Some("header-timeout")));
    assert_eq!(answer.field("connection"), Some("close"), "RFC 9110, section 15.5.9");
    assert!(answer.field("date").is_some_and(|date| date.ends_with(" GMT")), "{answer:?}");
    assert!(client.ends());
    let took = started.elapsed();
    assert!(took > Duration::from_millis(250) && took < Duration::from_secs(3), "{took:?}");
    // Byte by byte is no progress.
    let started = Instant::now();
    let mut client = Connection::open(gateway.address());
    assert_eq!(client.get("a", "/").status, 200);
    let mut sent = 0;
    while started.elapsed() < Duration::from_secs(3) {
        if std::io::Write::write_all(&mut client.stream, b"x").is_err() {
            break;
        }
        sent += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(started.elapsed() < Duration::from_secs(3), "{sent} bytes and still open");
}

#[test]
fn a_connection_without_a_request_is_closed_after_the_idle_timeout() {
    let echo = Echo::start("echo");
    let gateway = limited(&echo, |limits| limits.idle_timeout_ms = 300);
    let mut fresh = Connection::open(gateway.address());
    let mut used = Connection::open(gateway.address());
    used.send("GET / HTTP/1.1\r\nHost: a\r\nX-Wait-Ms: 700\r\n\r\n");
    let started = Instant::now();
    assert!(fresh.ends());
    assert_eq!(used.answer().status, 200, "a request in progress is not idle");
    assert!(used.ends());
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[test]
fn fields_are_limited_in_number_and_size() {
    let echo = Echo::start("echo");
    let gateway = limited(&echo, |limits| {
        limits.max_headers = 10;
        limits.max_header_bytes = 10_000;
    });
    let many: String = (0..10).map(|n| format!("X-{n}: 1\r\n")).collect();
    let mut client = Connection::open(gateway.address());
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"));
    assert_eq!(client.answer().status, 431, "11 fields");
    for (size, status) in [(9_000, 200), (10_001, 431), (60_000, 431)] {
        let mut client = Connection::open(gateway.address());
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(size)));
        assert_eq!(client.answer().status, status, "{size} bytes");
    }
    let mut client = Connection::open(gateway.address());
    client.send(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70_000)));
    let status = client.answer().status;
    assert!([414, 431].contains(&status), "{status}");
}

#[test]
fn fields_are_limited_in_number_and_size_over_http2() {
    let echo = Echo::start("echo");
    let gateway = limited(&echo, |limits| {
        limits.max_headers = 10;
        limits.max_header_bytes = 10_000;
    });
    h2::run(async {
        let (sender, _) = h2::connect(gateway.address()).await;
        let with = |count: usize, size: usize| {
            let mut request = h2::request("http://a/");
            for n in 0..count {
                request = request.header(format!("x-{n}"), "x".repeat(size));
            }
            h2::send(&sender, request.body(h2::empty()).expect("a request"))
        };
        for (count, size, status) in [
            (5, 1, 200),
            (11, 1, 431),
            (1, 9_000, 200),
            (1, 10_001, 431),
            (9, 2_000, 431),
            (5, 1, 200),
        ] {
            let answer = with(count, size).await.expect("an answer, on the same connection");
            assert_eq!(answer.status, status, "{count} fields of {size} bytes");
        }
    });
}

#[test]
fn streams_are_limited_in_number() {
    let echo = Echo::start("echo");
    let gateway = limited(&echo, |limits| limits.max_concurrent_streams = 2);
    h2::run(async {
        let (sender, _) = h2::connect(gateway.address()).await;
        // What SETTINGS says is known with the first answer.
        assert_eq!(h2::get(&sender, "http://a/").await.status, 200);
        let started = Instant::now();
        let ask = |_| {
            let request = h2::request("http://a/").header("x-wait-ms", "100");
            h2::send(&sender, request.body(h2::empty()).expect("a request"))
        };
        for answer in futures_util::future::join_all((0..6).map(ask)).await {
            assert_eq!(answer.expect("an answer").status, 200);
        }
        let took = started.elapsed();
        assert!(took > Duration::from_millis(290), "two at a time, not in {took:?}");
    });
}

#[test]
fn a_body_is_limited_in_size_whether_it_says_so_or_not() {
    let echo = Echo::start("echo");
    let gateway = limited(&echo, |limits| limits.max_body_bytes = 10);
    let mut client = Connection::open(gateway.address());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789");
    assert_eq!(client.answer().status, 200);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("x-penstock-reason")), (413, Some("body-too-large")));
    let mut client = Connection::open(gateway.address());
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         6\r\n012345\r\n6\r\n012345\r\n0\r\n\r\n",
    );
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("x-penstock-reason")), (413, Some("body-too-large")));
}

#[test]
fn a_body_that_does_not_go_on_is_408() {
    let echo = Echo::start("echo");
    let gateway = limited(&echo, |limits| limits.body_timeout_ms = 300);
    let mut client = Connection::open(gateway.address());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234");
    let started = Instant::now();
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("x-penstock-reason")), (408, Some("body-timeout")));
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_client_that_does_not_take_its_answer_is_cut_off() {
    let echo = Echo::start("echo");
    let gateway = limited(&echo, |limits| limits.body_timeout_ms = 300);
    let mut client = Connection::open(gateway.address());
    let body = vec![b'x'; 20 << 20];
    let mut writer = client.stream.try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        std::io::Write::write_all(&mut writer, head.as_bytes()).expect("the head is taken");
        std::io::Write::write_all(&mut writer, &body).expect("the body is taken");
    });
    sender.join().expect("the body is sent");
    // Twenty MiB of an answer do not fit into the buffers in between.
    std::thread::sleep(Duration::from_secs(2));
    assert!(client.try_answer(false).is_none(), "the answer is incomplete");
    assert!(gateway.proxy.metrics_text().contains("client-stuck"));
}

#[test]
fn connections_are_limited_in_number() {
    let echo = Echo::start("echo");
    let gateway = limited(&echo, |limits| limits.max_connections = 2);
    let mut one = Connection::open(gateway.address());
    let mut two = Connection::open(gateway.address());
    assert_eq!(one.get("a", "/").status, 200);
    assert_eq!(two.get("a", "/").status, 200);
    assert!(Connection::open(gateway.address()).ends());
    drop(one);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let mut three = Connection::open(gateway.address());
        let _ = std::io::Write::write_all(&mut three.stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        if three.try_answer(false).is_some_and(|answer| answer.status == 200) {
            break;
        }
        assert!(Instant::now() < deadline, "the place is not given back");
    }
    assert_eq!(two.get("a", "/").status, 200);
}
