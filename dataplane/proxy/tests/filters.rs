//! Native steps on requests and responses over real sockets.

mod support;

use penstock_config::{Failure, HeaderEdit, PathEdit, Redirect, Rewrite, StepAction};
use support::{
    Gateway,
    backend::Echo,
    client::{Connection, get},
    config::{add, header, prefix, set, step},
};

#[test]
fn s7_12_header_modifiers_in_listed_order_and_responses_in_reverse() {
    let echo = Echo::start("echo");
    let gateway = Gateway::start(|config| {
        let mut backend = config.backend("echo", &[echo.address]);
        backend.filters = vec![
            step(StepAction::RequestHeaders(add("x-order", "backend"))),
            step(StepAction::ResponseHeaders(add("x-order", "backend"))),
        ];
        config.rule(prefix("/"), |rule| {
            rule.filters = vec![
                step(StepAction::RequestHeaders(HeaderEdit {
                    set: vec![header("x-set", "new")],
                    add: vec![header("x-order", "one")],
                    remove: vec!["x-gone".into()],
                })),
                step(StepAction::RequestHeaders(add("x-order", "two"))),
                step(StepAction::ResponseHeaders(add("x-order", "one"))),
                step(StepAction::ResponseHeaders(add("x-order", "two"))),
            ];
            rule.backends = vec![backend];
        });
    });
    let mut client = Connection::open(gateway.address());
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Set: old\r\nX-Set: older\r\nX-Gone: 1\r\n\r\n");
    let answer = client.answer();
    let text = answer.text();
    let order: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("x-order: ")).collect();
    assert_eq!(order, ["one", "two", "backend"]);
    assert_eq!(answer.seen("x-set").as_deref(), Some("new"));
    assert_eq!(answer.seen("x-gone"), None);
    let order: Vec<&str> = answer
        .fields
        .iter()
        .filter(|(name, _)| name == "x-order")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(order, ["backend", "two", "one"], "response halves run in reverse");
}

#[test]
fn s7_13_redirects() {
    let gateway = Gateway::start(|config| {
        config.rule(prefix("/to"), |rule| {
            rule.filters = vec![
                step(StepAction::ResponseHeaders(set("x-before", "1"))),
                step(StepAction::Redirect(Redirect {
                    scheme: "https".into(),
                    hostname: "other.org".into(),
                    status: 301,
                    path: Some(PathEdit::Prefix("/there".into())),
                    ..Redirect::default()
                })),
                step(StepAction::ResponseHeaders(set("x-after", "1"))),
            ];
        });
        config.rule(prefix("/same"), |rule| {
            rule.filters =
                vec![step(StepAction::Redirect(Redirect { status: 302, ..Redirect::default() }))];
        });
    });
    let answer = get(gateway.port, "a.org", "/to/x?y=1");
    assert_eq!(answer.status, 301);
    assert_eq!(answer.field("location"), Some("https://other.org/there/x?y=1"));
    assert_eq!(answer.field("x-before"), Some("1"), "an answer passes the steps before it");
    assert_eq!(answer.field("x-after"), None, "and not those after it");
    let answer = get(gateway.port, "a.org:9", "/same");
    let expected = format!("http://a.org:{}/same", gateway.port);
    assert_eq!(answer.field("location"), Some(expected.as_str()), "the listener's port");
}

#[test]
fn s7_14_rewrites() {
    let echo = Echo::start("echo");
    let gateway = Gateway::start(|config| {
        let backend = config.backend("echo", &[echo.address]);
        config.rule(prefix("/foo"), |rule| {
            rule.filters = vec![step(StepAction::Rewrite(Rewrite {
                hostname: "inner.org".into(),
                path: Some(PathEdit::Prefix("/".into())),
            }))];
            rule.backends = vec![backend.clone()];
        });
        config.rule(prefix("/full"), |rule| {
            rule.filters = vec![step(StepAction::Rewrite(Rewrite {
                path: Some(PathEdit::Full("/one".into())),
                ..Rewrite::default()
            }))];
            rule.backends = vec![backend];
        });
    });
    let mut client = Connection::open(gateway.address());
    for (path, sent) in [
        ("/foo/bar?q=1", "GET /bar?q=1 HTTP"),
        ("/foo", "GET / HTTP"),
        ("/full/x?q", "GET /one?q HTTP"),
    ] {
        let answer = client.get("a.org", path);
        assert!(answer.text().contains(sent), "{path}: {}", answer.text());
    }
    assert_eq!(client.get("a.org", "/foo").seen("host").as_deref(), Some("inner.org"));
}

#[test]
fn a_step_that_cannot_be_resolved_answers_500_on_its_rule_or_its_share_alone() {
    let echo = Echo::start("echo");
    let failure = || Failure { reason: "InvalidFilter".into(), message: "secret".into() };
    let gateway = Gateway::start(|config| {
        let good = config.backend("echo", &[echo.address]);
        let mut bad = good.clone();
        bad.filters = vec![step(StepAction::Failure(failure()))];
        config.rule(prefix("/rule"), |rule| {
            rule.filters = vec![step(StepAction::Failure(failure()))];
            rule.backends = vec![good.clone()];
        });
        config.rule(prefix("/share"), |rule| rule.backends = vec![good.clone(), bad]);
        config.route_all(good);
    });
    let mut client = Connection::open(gateway.address());
    let answer = client.get("a", "/rule");
    assert_eq!((answer.status, answer.field("x-penstock-reason")), (500, Some("configuration")));
    assert!(!answer.text().contains("secret"));
    let statuses: Vec<u16> = (0..4).map(|_| client.get("a", "/share").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 500).count(), 2, "{statuses:?}");
    assert_eq!(client.get("a", "/else").status, 200);
}

#[test]
fn a_framing_field_cannot_be_edited_and_the_rule_says_so() {
    let echo = Echo::start("echo");
    let mut gateway = Gateway::start(|_| {});
    let ack = gateway.apply(|config| {
        let backend = config.backend("echo", &[echo.address]);
        config.rule(prefix("/"), |rule| {
            rule.filters = vec![step(StepAction::RequestHeaders(set("transfer-encoding", "x")))];
            rule.backends = vec![backend];
        });
    });
    assert_eq!(ack.refused.len(), 1);
    assert_eq!(ack.refused[0].reason, "UnsupportedValue");
    assert!(ack.refused[0].message.contains("transfer-encoding"), "{:?}", ack.refused);
    assert_eq!(get(gateway.port, "a", "/").status, 500, "never skipped");
}

#[test]
fn forwarded_fields_say_who_the_client_is() {
    let echo = Echo::start("echo");
    let mut gateway = Gateway::start(|config| {
        let backend = config.backend("echo", &[echo.address]);
        config.route_all(backend);
    });
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2\r\n\
                   X-Forwarded-Proto: https\r\nX-Request-Id: kept\r\n\r\n";
    let mut client = Connection::open(gateway.address());
    client.send(request);
    let answer = client.answer();
    assert_eq!(answer.seen("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(answer.seen("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(answer.seen("x-envoy-external-address").as_deref(), Some("127.0.0.1"));
    assert_eq!(answer.seen("x-request-id").as_deref(), Some("kept"));
    gateway.apply(|config| {
        config.gateway(|gateway| gateway.trusted_hops = 1);
        let backend = config.backend("echo", &[echo.address]);
        config.route_all(backend);
    });
    client.send(request);
    let answer = client.answer();
    assert_eq!(answer.seen("x-forwarded-for").as_deref(), Some("1.1.1.1, 2.2.2.2, 127.0.0.1"));
    assert_eq!(answer.seen("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(answer.seen("x-envoy-external-address").as_deref(), Some("2.2.2.2"));
}
