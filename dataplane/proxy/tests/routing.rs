//! Requests over real sockets reach the backend that the configuration names.

mod support;

use penstock_config::{BackendChoice, Failure, HttpMatch, PathMatch};
use support::{
    Gateway,
    backend::Echo,
    client::{Connection, get},
    config::{prefix, weighted},
};

#[test]
fn a_request_reaches_the_backend_of_its_rule() {
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let gateway = Gateway::start(|config| {
        let one = config.backend("one", &[one.address]);
        let two = config.backend("two", &[two.address]);
        config.route_all(one);
        config.rule(prefix("/two"), |rule| rule.backends = vec![two]);
    });
    let answer = get(gateway.port, "a.org:80", "/x?y=1");
    assert_eq!((answer.status, answer.field("x-backend")), (200, Some("one")));
    assert!(answer.text().contains("GET /x?y=1 HTTP/1.1"), "{}", answer.text());
    assert_eq!(answer.seen("host").as_deref(), Some("a.org:80"), "s7_04: Host goes on unmodified");
    assert_eq!(get(gateway.port, "a.org", "/two/x").field("x-backend"), Some("two"));
}

#[test]
fn s7_06_no_match_is_404() {
    let gateway = Gateway::start(|config| {
        config.rule(PathMatch::Exact("/only".into()), |_| {});
    });
    let answer = get(gateway.port, "a.org", "/else");
    assert_eq!((answer.status, answer.field("x-penstock-reason")), (404, Some("no-route")));
}

#[test]
fn s7_07_and_08_statuses_of_backends() {
    let echo = Echo::start("good");
    let gateway = Gateway::start(|config| {
        config.rule(prefix("/none"), |_| {});
        let empty = config.backend("empty", &[]);
        config.rule(prefix("/empty"), |rule| rule.backends = vec![empty]);
        let good = config.backend("good", &[echo.address]);
        let failure = Failure { reason: "BackendNotFound".into(), message: "secret".into() };
        let bad = BackendChoice { weight: 1, failure: Some(failure), ..Default::default() };
        config.rule(prefix("/half"), |rule| rule.backends = vec![good.clone(), bad]);
        config.rule(prefix("/zero"), |rule| rule.backends = vec![weighted(good, 0)]);
    });
    let mut client = Connection::open(gateway.address());
    assert_eq!(client.get("a", "/none").status, 500);
    assert_eq!(client.get("a", "/empty").status, 503);
    assert_eq!(client.get("a", "/zero").status, 500, "s7_09: no weight, no traffic");
    let mut counts = [0; 2];
    for _ in 0..20 {
        let answer = client.get("a", "/half");
        counts[usize::from(answer.status == 500)] += 1;
        assert!(!answer.text().contains("secret"), "nothing of the inside");
    }
    assert_eq!(counts, [10, 10], "s7_08: only the weight share of the invalid reference");
}

#[test]
fn s7_09_weights_are_exact() {
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let gateway = Gateway::start(|config| {
        let one = config.backend("one", &[one.address]);
        let two = config.backend("two", &[two.address]);
        config.rule(prefix("/"), |rule| {
            rule.backends = vec![weighted(one, 9), weighted(two, 1)];
        });
    });
    let mut client = Connection::open(gateway.address());
    for _ in 0..50 {
        assert_eq!(client.get("a", "/").status, 200);
    }
    assert_eq!((one.requests(), two.requests()), (45, 5));
}

#[test]
fn s7_21_a_listener_without_a_route_has_no_fallback() {
    let echo = Echo::start("any");
    let gateway = Gateway::start(|config| {
        let any = config.backend("any", &[echo.address]);
        config.listener("own", "own.example.com");
        config.route_all(any);
    });
    assert_eq!(get(gateway.port, "other.example.com", "/").status, 200);
    assert_eq!(get(gateway.port, "own.example.com", "/").status, 404);
}

#[test]
fn methods_headers_and_queries_decide() {
    let echo = Echo::start("match");
    let gateway = Gateway::start(|config| {
        let backend = config.backend("match", &[echo.address]);
        config.rule(prefix("/"), |rule| {
            rule.matches = vec![HttpMatch { method: "POST".into(), ..HttpMatch::default() }];
            rule.backends = vec![backend];
        });
    });
    let mut client = Connection::open(gateway.address());
    assert_eq!(client.get("a", "/").status, 404);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    assert!(answer.text().ends_with("\nhello"), "{}", answer.text());
}
