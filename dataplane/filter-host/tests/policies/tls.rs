//! TLS policies.

use penstock_config::OnFailure;
use penstock_filter_host::{
    Alert, ClientAuth, ClientHello, FilterFailure, HelloDecision, PeerCertificate, PeerDecision,
    San, Tier, Verdict, Worker,
};

use crate::support::{filter, prepare, shared};

fn hello(sni: &str) -> ClientHello {
    ClientHello {
        listener: "infra/edge/https".to_owned(),
        peer: "192.0.2.7".to_owned(),
        sni: Some(sni.to_owned()),
        alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
        cipher_suites: vec![0x1301],
        signature_schemes: vec![0x0804],
        groups: vec![29],
    }
}

#[test]
fn a_client_hello_meets_its_decision() {
    let mut worker = Worker::new(shared());
    let policy = prepare(&mut worker, &filter("tls", "tls-a/a", "\"hello\""));
    assert!(policy.plan.tls.is_some_and(|tls| tls.client_hello && !tls.client_certificate));
    let mut ask = |sni: &str| worker.on_client_hello(&policy, &hello(sni)).verdict;
    assert_eq!(ask("a.example"), Verdict::Decided(HelloDecision::Default));
    let rejected = HelloDecision::Reject(Alert::UnrecognizedName);
    assert_eq!(ask("reject.example"), Verdict::Decided(rejected));
    let Verdict::Decided(HelloDecision::Terminate(terms)) = ask("terms.example") else { panic!() };
    assert_eq!(terms.profile.as_deref(), Some("modern"));
    assert_eq!(terms.client_auth, Some(ClientAuth::Require));
    let seen = "infra/edge/https 192.0.2.7 h2+http/1.1 [4865] [2052] [29]";
    assert_eq!(terms.attributes, [("seen".into(), seen.into())]);
}

#[test]
fn failures_of_a_tls_policy_fail_or_are_skipped() {
    let mut worker = Worker::new(shared());
    let closed = filter("tls", "tls-b/a", "\"hello\"");
    let mut open = filter("tls", "tls-b/b", "\"hello\"");
    open.on_failure = OnFailure::Open as i32;
    let (closed, open) = (prepare(&mut worker, &closed), prepare(&mut worker, &open));
    for (sni, status, failure) in [
        ("fault.example", 500, FilterFailure::Fault),
        ("bad.example", 500, FilterFailure::BadValue),
        ("trap.example", 503, FilterFailure::Trap),
        ("loop.example", 503, FilterFailure::Deadline),
    ] {
        let verdict = worker.on_client_hello(&closed, &hello(sni)).verdict;
        assert_eq!(verdict, Verdict::Failed { status, failure }, "{sni}");
        let verdict = worker.on_client_hello(&open, &hello(sni)).verdict;
        assert_eq!(verdict, Verdict::Skipped(failure), "{sni}");
    }
}

#[test]
fn a_certificate_is_seen_as_far_as_the_plan_wants() {
    let certificate = PeerCertificate {
        chain: vec![vec![1], vec![2]],
        subject: "CN=a".to_owned(),
        issuer: "CN=ca".to_owned(),
        serial: "0a".to_owned(),
        sans: vec![San::Uri("spiffe://t/a".to_owned())],
        sha256: "ff".to_owned(),
        not_before: 1,
        not_after: 2,
    };
    let mut worker = Worker::new(shared());
    for (config, chain) in [("\"certificate require\"", "0"), ("\"certificate der\"", "2")] {
        let policy = prepare(&mut worker, &filter("tls", "tls-c/a", config));
        let outcome = worker.on_client_certificate(&policy, &hello("a"), Some(&certificate));
        let Verdict::Decided(PeerDecision::Accept(attributes)) = outcome.verdict else { panic!() };
        let expected = [
            ("san", "uri:spiffe://t/a"),
            ("chain", chain),
            ("who", "CN=a CN=ca 0a ff"),
            ("valid", "1-2"),
        ];
        assert!(attributes.iter().map(|(k, v)| (&**k, &**v)).eq(expected), "{attributes:?}");
        let none = worker.on_client_certificate(&policy, &hello("a"), None).verdict;
        let rejected = PeerDecision::Reject(Alert::CertificateRequired);
        assert_eq!(none, Verdict::Decided(rejected));
    }
}

#[test]
fn a_tls_policy_is_called_only_where_its_plan_says() {
    let mut worker = Worker::new(shared());
    let policy = prepare(&mut worker, &filter("tls", "tls-d/a", "\"certificate\""));
    let outcome = worker.on_client_hello(&policy, &hello("reject.example"));
    assert_eq!(
        (outcome.verdict, outcome.tier),
        (Verdict::Decided(HelloDecision::Default), Tier::GuardMiss)
    );
    let policy = prepare(&mut worker, &filter("tls", "tls-d/b", "\"hello request\""));
    assert_eq!(policy.plan.tls.map(|tls| tls.client_auth), Some(ClientAuth::Request));
    let outcome = worker.on_client_certificate(&policy, &hello("a"), None);
    assert_eq!(outcome.verdict, Verdict::Decided(PeerDecision::Accept(Vec::new())));
}
