//! Sessions (decision 7 of the design: tickets are bound to the policy version, and certificate
//! checks run again on resumption).

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use penstock_config::{ValidationMode, Version};
use penstock_filter_host::{Alert, ClientAuth, HelloDecision, PeerDecision, Terms};
use penstock_proxy::tls::{RejectReason, TlsPort};
use rustls::{AlertDescription, HandshakeKind};

use crate::rig::*;

/// A listener with the filter `ns/p`, which wants a certificate, for every name.
fn guarded(authority: &Authority, generation: u64) -> (World, Version) {
    let mut world = World::simple(authority);
    let anchors = authority.pem();
    world.listener("https", "", &["infra/cert"], Some((ValidationMode::OnDemand, &anchors)));
    let version = world.filter("ns/p", generation);
    world.binding("https", "", &["ns/p"]);
    (world, version)
}

fn accepting(version: Version) -> Policies {
    let filter = FakeFilter::new(version)
        .asking(ClientAuth::Request)
        .on_hello(|_| decided(HelloDecision::Default))
        .on_certificate(|_| decided(PeerDecision::Accept(vec![("seen".into(), "yes".into())])));
    Policies::with([("ns/p", filter)])
}

async fn kind(
    port: &Arc<TlsPort>,
    policies: &Policies,
    client: &Client,
    sni: &str,
) -> HandshakeKind {
    let (session, seen) = served(port, policies, client, sni).await;
    assert_eq!(session.resumed, seen.kind == HandshakeKind::Resumed);
    seen.kind
}

#[tokio::test]
async fn decision_7_a_session_is_resumed_under_the_same_policy_version_and_judged_again() {
    let authority = Authority::new();
    let (world, version) = guarded(&authority, 1);
    let port = world.port(None);
    let someone = authority.client("someone");
    for versions in BOTH {
        for (identity, who) in [(Some(&someone), "[Dns(\"someone\")]"), (None, "-")] {
            let policies = accepting(version);
            let client = Client::new(&authority, versions, identity);
            let (first, seen) = served(&port, &policies, &client, "example.org").await;
            assert_eq!(seen.kind, HandshakeKind::Full);
            for _ in 0..3 {
                let (session, seen) = served(&port, &policies, &client, "example.org").await;
                assert_eq!(seen.kind, HandshakeKind::Resumed);
                assert!(session.resumed);
                assert_eq!(session.satisfied, first.satisfied);
                assert_eq!(session.attributes, first.attributes);
                assert_eq!(session.client_cert, first.client_cert);
            }
            let once = ["ns/p hello example.org".to_owned(), format!("ns/p certificate {who}")];
            assert_eq!(
                policies.take_calls(),
                vec![once; 4].concat(),
                "every handshake is judged in full"
            );
        }
    }
}

#[tokio::test]
async fn decision_7_another_policy_versions_tickets_never_resume() {
    let authority = Authority::new();
    for versions in BOTH {
        for identity in [Some(authority.client("someone")), None] {
            let (mut world, first) = guarded(&authority, 1);
            let old = world.port(None);
            let client = Client::new(&authority, versions, identity.as_ref());
            let sleeper = Client::new(&authority, versions, identity.as_ref());
            served(&old, &accepting(first), &sleeper, "example.org").await;
            assert_eq!(
                kind(&old, &accepting(first), &client, "example.org").await,
                HandshakeKind::Full
            );

            let second = world.filter("ns/p", 2);
            let new = world.port(Some(&old));
            let policies = accepting(second);
            assert_eq!(kind(&new, &policies, &client, "example.org").await, HandshakeKind::Full);
            let (session, seen) = served(&new, &policies, &client, "example.org").await;
            assert_eq!(seen.kind, HandshakeKind::Resumed);
            assert_eq!(&*session.satisfied, [("ns/p".to_owned(), second)]);

            let again = world.filter("ns/p", 1);
            assert_eq!(again, first);
            let newest = world.port(Some(&new));
            let policies = accepting(first);
            assert_eq!(
                kind(&newest, &policies, &sleeper, "example.org").await,
                HandshakeKind::Full,
                "a way back revives no ticket"
            );
        }
    }
}

#[tokio::test]
async fn a_policy_that_comes_or_goes_ends_the_sessions_of_its_names() {
    let authority = Authority::new();
    let mut world = World::simple(&authority);
    let bare = world.port(None);
    let version = world.filter("ns/p", 1);
    world.binding("https", "a.example.org", &["ns/p"]);
    let bound = world.port(Some(&bare));
    for versions in BOTH {
        let client = Client::new(&authority, versions, None);
        let policies = Policies::with([("ns/p", FakeFilter::new(version))]);
        for sni in ["a.example.org", "b.example.org"] {
            assert_eq!(kind(&bare, &policies, &client, sni).await, HandshakeKind::Full);
        }
        assert_eq!(kind(&bound, &policies, &client, "a.example.org").await, HandshakeKind::Full);
        assert_eq!(kind(&bound, &policies, &client, "b.example.org").await, HandshakeKind::Resumed);
    }
}

#[tokio::test]
async fn unrelated_changes_and_rotated_certificates_cost_no_session() {
    let authority = Authority::new();
    for versions in BOTH {
        let (mut world, version) = guarded(&authority, 1);
        let policies = accepting(version);
        let client = Client::new(&authority, versions, Some(&authority.client("someone")));
        let mut port = world.port(None);
        assert_eq!(kind(&port, &policies, &client, "example.org").await, HandshakeKind::Full);

        world.certificate("infra/cert", &authority.server(&["*.example.org", "example.org"]));
        port = world.port(Some(&port));
        assert_eq!(kind(&port, &policies, &client, "example.org").await, HandshakeKind::Resumed);

        world.certificate("infra/other", &authority.server(&["example.net"]));
        world.listener("other", "example.net", &["infra/other"], None);
        world.filter("ns/other", 1);
        world.binding("https", "z.example.org", &["ns/other"]);
        port = world.port(Some(&port));
        assert_eq!(kind(&port, &policies, &client, "example.org").await, HandshakeKind::Resumed);
    }
}

#[tokio::test]
async fn other_trust_anchors_or_a_stricter_profile_end_sessions() {
    let authority = Authority::new();
    let other = Authority::new();
    let someone = authority.client("someone");
    let (world, version) = guarded(&authority, 1);
    let port = world.port(None);
    let client = Client::new(&authority, TLS13, Some(&someone));
    assert_eq!(kind(&port, &accepting(version), &client, "example.org").await, HandshakeKind::Full);

    let mut untrusting = world.clone();
    let anchors = other.pem();
    let validation = Some((ValidationMode::OnDemand, anchors.as_str()));
    untrusting.listener("https", "", &["infra/cert"], validation);
    let next = untrusting.port(Some(&port));
    let (_, alert) = refused(&next, &accepting(version), &client, "example.org").await;
    assert_eq!(alert, AlertDescription::UnknownCA);

    let (world, version) = guarded(&authority, 1);
    let port = world.port(None);
    let client = Client::new(&authority, TLS13, Some(&someone));
    assert_eq!(kind(&port, &accepting(version), &client, "example.org").await, HandshakeKind::Full);
    let stricter = FakeFilter::new(version).asking(ClientAuth::Request).on_hello(|_| {
        decided(HelloDecision::Terminate(Terms {
            profile: Some("modern".into()),
            ..Terms::default()
        }))
    });
    let policies = Policies::with([("ns/p", stricter)]);
    assert_eq!(kind(&port, &policies, &client, "example.org").await, HandshakeKind::Full);
    assert_eq!(kind(&port, &policies, &client, "example.org").await, HandshakeKind::Resumed);
}

#[tokio::test]
async fn decision_7_a_client_that_the_policy_no_longer_accepts_is_refused_on_resumption() {
    let authority = Authority::new();
    let (world, version) = guarded(&authority, 1);
    let port = world.port(None);
    for versions in BOTH {
        let revoked = Rc::new(Cell::new(false));
        let flag = revoked.clone();
        let filter =
            FakeFilter::new(version).asking(ClientAuth::Require).on_certificate(move |peer| {
                assert!(peer.is_some(), "the certificate of the session");
                decided(match flag.get() {
                    true => PeerDecision::Reject(Alert::AccessDenied),
                    false => PeerDecision::Accept(Vec::new()),
                })
            });
        let policies = Policies::with([("ns/p", filter)]);
        let client = Client::new(&authority, versions, Some(&authority.client("someone")));
        served(&port, &policies, &client, "example.org").await;
        assert_eq!(kind(&port, &policies, &client, "example.org").await, HandshakeKind::Resumed);
        revoked.set(true);
        let (reject, alert) = refused(&port, &policies, &client, "example.org").await;
        assert_eq!(alert, AlertDescription::AccessDenied);
        assert_eq!(reject.reason, RejectReason::PolicyRejected);
    }
}

#[tokio::test]
async fn decision_7_a_session_is_not_resumed_beyond_the_clients_certificate() {
    let authority = Authority::new();
    let mut world = World::simple(&authority);
    let anchors = authority.pem();
    world.listener("https", "", &["infra/cert"], Some((ValidationMode::AllowValidOnly, &anchors)));
    let port = world.port(None);
    let mut brief = params(&["someone"]);
    let now = std::time::SystemTime::now();
    let end = now + Duration::from_secs(3);
    brief.not_after = end.into();
    let brief = authority.sign(&brief);
    let policies = Policies::none();
    let clients =
        BOTH.map(|versions| [(); 2].map(|()| Client::careless(&authority, versions, &brief)));
    for (client, _) in clients.iter().flatten() {
        assert_eq!(kind(&port, &policies, client, "example.org").await, HandshakeKind::Full);
        assert_eq!(kind(&port, &policies, client, "example.org").await, HandshakeKind::Resumed);
    }
    let left = end.duration_since(std::time::SystemTime::now()).unwrap_or_default();
    tokio::time::sleep(left + Duration::from_millis(1200)).await;
    for [(same, _), (renewed, certificate)] in &clients {
        let (_, alert) = refused(&port, &policies, same, "example.org").await;
        assert_eq!(alert, AlertDescription::CertificateExpired);
        // It offers its old session too; that must not stand in the way of the new certificate.
        certificate.change(Some(&authority.client("renewed")));
        let (session, seen) = served(&port, &policies, renewed, "example.org").await;
        assert_eq!(seen.kind, HandshakeKind::Full);
        let san = session.client_cert.and_then(|cert| cert.san);
        assert_eq!(san.as_deref(), Some("dns:renewed"));
    }
}

#[tokio::test]
async fn a_session_of_another_name_lends_nobody_its_certificate() {
    let authority = Authority::new();
    let mut world = World::simple(&authority);
    let anchors = authority.pem();
    let validation = Some((ValidationMode::AllowInsecureFallback, anchors.as_str()));
    world.listener("https", "", &["infra/cert"], validation);
    let port = world.port(None);
    let someone = authority.client("someone");
    let stranger = Authority::new().client("stranger");
    let policies = Policies::none();
    for versions in BOTH {
        for next in [None, Some(&stranger)] {
            for (sni, kind, named) in [
                ("a.example.org", HandshakeKind::Resumed, true),
                ("b.example.org", HandshakeKind::Full, false),
            ] {
                let (client, certificate) = Client::careless(&authority, versions, &someone);
                let (session, _) = served(&port, &policies, &client, "a.example.org").await;
                assert!(session.client_cert.is_some());
                certificate.change(next);
                let (session, seen) = served(&port, &policies, &client, sni).await;
                assert_eq!(seen.kind, kind, "{sni}");
                assert_eq!(session.client_cert.is_some(), named, "{sni}");
            }
        }
    }
}

#[tokio::test]
async fn a_session_with_an_unverified_certificate_stays_without_one() {
    let authority = Authority::new();
    let mut world = World::simple(&authority);
    let anchors = authority.pem();
    let validation = Some((ValidationMode::AllowInsecureFallback, anchors.as_str()));
    world.listener("https", "", &["infra/cert"], validation);
    let port = world.port(None);
    for versions in BOTH {
        let stranger = Authority::new().client("stranger");
        let client = Client::new(&authority, versions, Some(&stranger));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let (session, seen) = served(&port, &Policies::none(), &client, "example.org").await;
            assert_eq!(seen.kind, kind);
            assert_eq!(session.client_cert, None);
        }
    }
}

#[tokio::test]
async fn early_data_is_off() {
    let authority = Authority::new();
    let port = World::simple(&authority).port(None);
    let mut config = Client::config(&authority, TLS13, None);
    config.enable_early_data = true;
    let client = Client(Arc::new(config));
    assert_eq!(kind(&port, &Policies::none(), &client, "example.org").await, HandshakeKind::Full);
    assert_eq!(
        kind(&port, &Policies::none(), &client, "example.org").await,
        HandshakeKind::Resumed
    );
    let mut next = rustls::ClientConnection::new(client.0.clone(), server_name("example.org"))
        .expect("a client");
    assert!(next.early_data().is_none(), "no ticket permits it");
}
