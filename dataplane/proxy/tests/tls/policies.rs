//! TLS policies (decision 7 of the design): what they see, what they may, and that nothing of it
//! can be walked round at the handshake.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use penstock_config::{OnFailure, ValidationMode, Version};
use penstock_filter_host::{Alert, ClientAuth, FilterFailure, HelloDecision, PeerDecision, Terms};
use penstock_proxy::tls::{RejectReason, required_satisfied};
use rustls::{AlertDescription, ProtocolVersion};

use crate::rig::*;

const ALERTS: [(Alert, AlertDescription); 8] = [
    (Alert::HandshakeFailure, AlertDescription::HandshakeFailure),
    (Alert::BadCertificate, AlertDescription::BadCertificate),
    (Alert::CertificateExpired, AlertDescription::CertificateExpired),
    (Alert::CertificateUnknown, AlertDescription::CertificateUnknown),
    (Alert::UnknownCa, AlertDescription::UnknownCA),
    (Alert::AccessDenied, AlertDescription::AccessDenied),
    (Alert::UnrecognizedName, AlertDescription::UnrecognisedName),
    (Alert::CertificateRequired, AlertDescription::CertificateRequired),
];

/// One listener with one filter `ns/p` for every name, and trust anchors on demand.
fn bound(authority: &Authority) -> (World, Version) {
    let mut world = World::simple(authority);
    let anchors = authority.pem();
    world.listener("https", "", &["infra/cert"], Some((ValidationMode::OnDemand, &anchors)));
    let version = world.filter("ns/p", 1);
    world.binding("https", "", &["ns/p"]);
    (world, version)
}

fn terms(profile: Option<&str>, client_auth: Option<ClientAuth>) -> Terms {
    Terms { profile: profile.map(str::to_owned), client_auth, attributes: Vec::new() }
}

fn attribute(name: &str, value: &str) -> (Box<str>, Box<str>) {
    (name.into(), value.into())
}

#[tokio::test]
async fn decision_7_policies_act_for_the_names_they_are_bound_to() {
    let authority = Authority::new();
    let mut world = World::simple(&authority);
    let (wide, narrow) = (world.filter("ns/wide", 1), world.filter("ns/narrow", 1));
    world.binding("https", "*.example.org", &["ns/wide"]);
    world.binding("https", "a.example.org", &["ns/narrow", "ns/wide"]);
    let port = world.port(None);
    let policies = Policies::with([
        ("ns/wide", FakeFilter::new(wide).on_hello(|_| decided(HelloDecision::Default))),
        ("ns/narrow", FakeFilter::new(narrow).on_hello(|_| decided(HelloDecision::Default))),
    ]);
    let client = Client::new(&authority, TLS13, None);
    let both = [("ns/narrow".to_owned(), narrow), ("ns/wide".to_owned(), wide)];
    for (sni, satisfied, calls) in [
        (
            "a.example.org",
            &both[..],
            &["ns/narrow hello a.example.org", "ns/wide hello a.example.org"][..],
        ),
        ("b.example.org", &both[1..], &["ns/wide hello b.example.org"][..]),
        ("example.org", &[][..], &[][..]),
        ("", &[][..], &[][..]),
    ] {
        let (session, _) = served(&port, &policies, &client, sni).await;
        assert_eq!(&*session.satisfied, satisfied, "{sni}");
        assert_eq!(policies.take_calls(), calls, "{sni}");
        let current = |name: &str| both.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
        let narrow = ["ns/narrow".to_owned()];
        let asks_narrow = required_satisfied(Some(&session), &narrow, current);
        assert_eq!(asks_narrow, sni == "a.example.org", "a coalesced request for a.example.org");
    }
}

#[tokio::test]
async fn decision_7_a_policy_on_the_whole_listener_also_sees_clients_without_a_name() {
    let authority = Authority::new();
    let mut world = World::new();
    world.certificate("infra/cert", &authority.server(&["*.example.org"]));
    world.listener("https", "*.example.org", &["infra/cert"], None);
    let version = world.filter("ns/p", 1);
    for hostname in ["*.example.org", ""] {
        let mut world = world.clone();
        world.binding("https", hostname, &["ns/p"]);
        let filter = FakeFilter::new(version)
            .on_hello(|_| decided(HelloDecision::Reject(Alert::AccessDenied)));
        let policies = Policies::with([("ns/p", filter)]);
        let client = Client::new(&authority, TLS13, None);
        let (reject, _) = refused(&world.port(None), &policies, &client, "").await;
        assert_eq!(reject.reason, RejectReason::PolicyRejected, "{hostname}");
    }
}

#[tokio::test]
async fn a_policy_sees_what_the_client_offers() {
    let authority = Authority::new();
    let (world, version) = bound(&authority);
    let filter = FakeFilter::new(version).on_hello(|hello| {
        assert_eq!(hello.listener, format!("{GATEWAY}/https"));
        assert_eq!(hello.peer, "127.0.0.1");
        assert_eq!(hello.sni.as_deref(), Some("example.org"));
        assert_eq!(hello.alpn, ["h2", "f\u{fffd}o"]);
        assert!(hello.cipher_suites.contains(&0x1301), "TLS_AES_128_GCM_SHA256");
        assert!(hello.signature_schemes.contains(&0x0403), "ecdsa_secp256r1_sha256");
        assert!(hello.groups.contains(&0x001d), "x25519");
        decided(HelloDecision::Default)
    });
    let policies = Policies::with([("ns/p", filter)]);
    let mut config = Client::config(&authority, TLS13, None);
    config.alpn_protocols = vec![b"h2".to_vec(), b"f\xffo".to_vec()];
    served(&world.port(None), &policies, &Client(Arc::new(config)), "Example.org").await;
    assert_eq!(policies.take_calls().len(), 1);
}

#[tokio::test]
async fn every_alert_of_a_policy_on_the_client_hello_reaches_the_client() {
    let authority = Authority::new();
    let (world, version) = bound(&authority);
    let port = world.port(None);
    for versions in BOTH {
        let client = Client::new(&authority, versions, None);
        for (alert, expected) in ALERTS {
            let filter =
                FakeFilter::new(version).on_hello(move |_| decided(HelloDecision::Reject(alert)));
            let policies = Policies::with([("ns/p", filter)]);
            let (reject, seen) = refused(&port, &policies, &client, "example.org").await;
            assert_eq!(seen, expected);
            assert_eq!(reject.alert, Some(expected));
            assert_eq!(reject.reason, RejectReason::PolicyRejected);
            assert_eq!(reject.filter.as_deref(), Some("ns/p"));
        }
    }
}

#[tokio::test]
async fn every_alert_of_a_policy_on_the_certificate_reaches_the_client() {
    let authority = Authority::new();
    let (world, version) = bound(&authority);
    let port = world.port(None);
    let someone = authority.client("someone");
    for versions in BOTH {
        for identity in [Some(&someone), None] {
            let client = Client::new(&authority, versions, identity);
            for (alert, expected) in ALERTS {
                let filter = FakeFilter::new(version)
                    .asking(ClientAuth::Request)
                    .on_certificate(move |_| decided(PeerDecision::Reject(alert)));
                let policies = Policies::with([("ns/p", filter)]);
                let (reject, seen) = refused(&port, &policies, &client, "example.org").await;
                assert_eq!(seen, expected);
                assert_eq!(reject.reason, RejectReason::PolicyRejected);
                assert_eq!(policies.take_calls().len(), 1);
            }
        }
    }
}

#[tokio::test]
async fn the_alert_is_sealed_with_every_cipher_suite() {
    let authority = Authority::new();
    let (world, version) = bound(&authority);
    let port = world.port(None);
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut tried = 0;
    for suite in provider.cipher_suites.clone() {
        let mut only = provider.clone();
        only.cipher_suites = vec![suite];
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.root()).expect("a root");
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(only));
        let config = builder
            .with_protocol_versions(if suite.tls13().is_some() { TLS13 } else { TLS12 })
            .expect("usable versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        // The server's key is ECDSA.
        if format!("{:?}", suite.suite()).contains("_RSA_") {
            continue;
        }
        let filter = FakeFilter::new(version)
            .asking(ClientAuth::Request)
            .on_certificate(|_| decided(PeerDecision::Reject(Alert::UnrecognizedName)));
        let policies = Policies::with([("ns/p", filter)]);
        let client = Client(Arc::new(config));
        let (_, seen) = refused(&port, &policies, &client, "example.org").await;
        assert_eq!(seen, AlertDescription::UnrecognisedName, "{suite:?}");
        tried += 1;
    }
    assert_eq!(tried, 6, "three suites of each version");
}

#[tokio::test]
async fn a_policy_that_asks_nobody_sees_the_absence_before_the_handshake_goes_on() {
    let authority = Authority::new();
    let (world, version) = bound(&authority);
    let port = world.port(None);
    let filter = FakeFilter::new(version).on_certificate(|peer| {
        assert_eq!(peer, None, "the client was not asked");
        decided(PeerDecision::Reject(Alert::AccessDenied))
    });
    let policies = Policies::with([("ns/p", filter)]);
    let client = Client::new(&authority, TLS12, Some(&authority.client("someone")));
    let (_, seen) = refused(&port, &policies, &client, "example.org").await;
    assert_eq!(seen, AlertDescription::AccessDenied);
}

#[tokio::test]
async fn attributes_of_all_policies_come_together_and_the_last_of_a_name_counts() {
    let authority = Authority::new();
    let mut world = World::simple(&authority);
    let (a, b) = (world.filter("ns/a", 1), world.filter("ns/b", 1));
    world.binding("https", "", &["ns/a", "ns/b"]);
    let wanted = |fields: &'static [(&'static str, &'static str)]| {
        move || fields.iter().map(|(name, value)| attribute(name, value)).collect::<Vec<_>>()
    };
    let (from_hello, from_peer) = (wanted(&[("x", "1"), ("y", "1")]), wanted(&[("z", "1")]));
    let second = wanted(&[("y", "2")]);
    let policies = Policies::with([
        (
            "ns/a",
            FakeFilter::new(a)
                .on_hello(move |_| {
                    let attributes = from_hello();
                    decided(HelloDecision::Terminate(Terms { attributes, ..Terms::default() }))
                })
                .on_certificate(move |_| decided(PeerDecision::Accept(from_peer()))),
        ),
        (
            "ns/b",
            FakeFilter::new(b).on_certificate(move |_| decided(PeerDecision::Accept(second()))),
        ),
    ]);
    let client = Client::new(&authority, TLS13, None);
    let (session, _) = served(&world.port(None), &policies, &client, "example.org").await;
    assert_eq!(
        &*session.attributes,
        [attribute("x", "1"), attribute("y", "2"), attribute("z", "1")]
    );
}

#[tokio::test]
async fn decision_7_a_policy_can_raise_the_profile_but_not_lower_it() {
    let authority = Authority::new();
    let old = Client::new(&authority, TLS12, None);
    let new = Client::new(&authority, TLS13, None);
    for (gateway, policy, old_is_served) in [
        ("compatible", None, true),
        ("compatible", Some("compatible"), true),
        ("compatible", Some("modern"), false),
        ("modern", None, false),
        ("modern", Some("modern"), false),
        ("modern", Some("compatible"), false),
    ] {
        let (mut world, version) = bound(&authority);
        world.gateway(gateway);
        let port = world.port(None);
        let filter = FakeFilter::new(version)
            .on_hello(move |_| decided(HelloDecision::Terminate(terms(policy, None))));
        let policies = Policies::with([("ns/p", filter)]);
        let (session, _) = served(&port, &policies, &new, "example.org").await;
        assert_eq!(session.version, "TLSv1.3");
        if old_is_served {
            let (session, seen) = served(&port, &policies, &old, "example.org").await;
            assert_eq!(session.version, "TLSv1.2");
            assert_eq!(seen.version, ProtocolVersion::TLSv1_2);
        } else {
            let (reject, alert) = refused(&port, &policies, &old, "example.org").await;
            assert_eq!(alert, AlertDescription::ProtocolVersion, "{gateway} {policy:?}");
            assert_eq!(reject.reason, RejectReason::Incompatible);
        }
    }
}

#[tokio::test]
async fn decision_7_of_several_policies_the_strictest_counts_in_any_order() {
    let authority = Authority::new();
    for order in [["ns/strict", "ns/lax"], ["ns/lax", "ns/strict"]] {
        let (mut world, _) = bound(&authority);
        let (strict, lax) = (world.filter("ns/strict", 1), world.filter("ns/lax", 1));
        world.binding("https", "", &order);
        let port = world.port(None);
        let say = |version, profile, auth| {
            FakeFilter::new(version).on_hello(move |_| {
                decided(HelloDecision::Terminate(terms(Some(profile), Some(auth))))
            })
        };
        let policies = Policies::with([
            ("ns/strict", say(strict, "modern", ClientAuth::Require)),
            ("ns/lax", say(lax, "compatible", ClientAuth::None)),
        ]);
        let someone = authority.client("someone");
        let alert = async |versions, identity| {
            let client = Client::new(&authority, versions, identity);
            refused(&port, &policies, &client, "example.org").await.1
        };
        assert_eq!(alert(TLS12, Some(&someone)).await, AlertDescription::ProtocolVersion);
        assert_eq!(alert(TLS13, None).await, AlertDescription::CertificateRequired);
        let client = Client::new(&authority, TLS13, Some(&someone));
        served(&port, &policies, &client, "example.org").await;
    }
}

#[tokio::test]
async fn decision_7_a_policy_cannot_excuse_clients_from_the_certificate_the_gateway_wants() {
    let authority = Authority::new();
    let (mut world, version) = bound(&authority);
    let anchors = authority.pem();
    world.listener("https", "", &["infra/cert"], Some((ValidationMode::AllowValidOnly, &anchors)));
    let filter = FakeFilter::new(version).on_hello(|_| {
        decided(HelloDecision::Terminate(terms(Some("compatible"), Some(ClientAuth::None))))
    });
    let policies = Policies::with([("ns/p", filter)]);
    for versions in BOTH {
        let client = Client::new(&authority, versions, None);
        let (_, alert) = refused(&world.port(None), &policies, &client, "example.org").await;
        assert_eq!(alert, AlertDescription::CertificateRequired);
    }
}

#[tokio::test]
async fn a_policy_that_asks_for_certificates_without_trust_anchors_fails_closed() {
    let authority = Authority::new();
    let mut world = World::simple(&authority);
    let version = world.filter("ns/p", 1);
    world.binding("https", "", &["ns/p"]);
    let port = world.port(None);
    let client = Client::new(&authority, TLS13, Some(&authority.client("someone")));
    for auth in [ClientAuth::Request, ClientAuth::Require] {
        let by_plan = FakeFilter::new(version).asking(auth);
        let by_terms = FakeFilter::new(version)
            .on_hello(move |_| decided(HelloDecision::Terminate(terms(None, Some(auth)))));
        for filter in [by_plan, by_terms] {
            let policies = Policies::with([("ns/p", filter.open())]);
            let (reject, alert) = refused(&port, &policies, &client, "example.org").await;
            assert_eq!(alert, AlertDescription::AccessDenied);
            assert_eq!(reject.reason, RejectReason::NoTrustAnchors);
            assert!(reject.message.contains("spec.tls.frontend"), "{reject}");
        }
    }
}

#[tokio::test]
async fn section_4_3_a_failed_policy_ends_the_handshake_or_is_skipped_as_its_owner_says() {
    let authority = Authority::new();
    let (world, version) = bound(&authority);
    let port = world.port(None);
    let client = Client::new(&authority, TLS13, None);
    let failures = FilterFailure::ALL.into_iter().filter(|f| *f != FilterFailure::Opaque);
    for failure in failures {
        for at_hello in [true, false] {
            let filter = |on_failure| {
                let filter = FakeFilter::new(version);
                match at_hello {
                    true => filter.on_hello(move |_| failing(failure, on_failure)),
                    false => filter
                        .asking(ClientAuth::Request)
                        .on_certificate(move |_| failing(failure, on_failure)),
                }
            };
            let closed = Policies::with([("ns/p", filter(OnFailure::Closed))]);
            let (reject, alert) = refused(&port, &closed, &client, "example.org").await;
            assert_eq!(alert, AlertDescription::InternalError);
            assert_eq!(reject.reason, RejectReason::PolicyFailed);
            assert!(reject.message.contains(failure.as_reason()), "{reject}");

            let open = Policies::with([("ns/p", filter(OnFailure::Open).open())]);
            let (session, _) = served(&port, &open, &client, "example.org").await;
            assert_eq!(session.skipped, 1);
            assert_eq!(&*session.satisfied, [("ns/p".to_owned(), version)]);
        }
    }
}

#[tokio::test]
async fn a_profile_that_nobody_declared_is_a_fault_of_the_policy() {
    let authority = Authority::new();
    let (world, version) = bound(&authority);
    let port = world.port(None);
    let client = Client::new(&authority, TLS13, None);
    let filter = || {
        FakeFilter::new(version).on_hello(|_| {
            let attributes = vec![attribute("x", "1")];
            let auth = Some(ClientAuth::Require);
            decided(HelloDecision::Terminate(Terms { attributes, ..terms(Some("nope"), auth) }))
        })
    };
    let policies = Policies::with([("ns/p", filter())]);
    let (reject, alert) = refused(&port, &policies, &client, "example.org").await;
    assert_eq!(alert, AlertDescription::InternalError);
    assert!(reject.message.contains("`nope`"), "{reject}");

    let policies = Policies::with([("ns/p", filter().open())]);
    let (session, _) = served(&port, &policies, &client, "example.org").await;
    assert_eq!(session.skipped, 1);
    assert_eq!(session.attributes.len(), 0, "nothing of a faulty decision is taken");
}

#[tokio::test]
async fn decision_6_a_policy_that_is_not_there_is_never_skipped() {
    let authority = Authority::new();
    let mut world = World::simple(&authority);
    let version = world.filter("ns/p", 1);
    world.filter("ns/gone", 1);
    world.binding("https", "", &["ns/p", "ns/gone"]);
    let policies = Policies::with([("ns/p", FakeFilter::new(version).open())]);
    let client = Client::new(&authority, TLS13, None);
    let (reject, alert) = refused(&world.port(None), &policies, &client, "example.org").await;
    assert_eq!(alert, AlertDescription::InternalError);
    assert_eq!(reject.reason, RejectReason::PolicyUnavailable);
    assert_eq!(reject.filter.as_deref(), Some("ns/gone"));
    assert_eq!(policies.take_calls(), [""; 0], "and nobody else is asked");
}

#[tokio::test]
async fn decision_7_a_policy_that_changes_during_the_handshake_is_not_satisfied() {
    let authority = Authority::new();
    let (world, version) = bound(&authority);
    let replaced = Rc::new(Cell::new(false));
    let seen = replaced.clone();
    let filter = FakeFilter::new(version).on_certificate(move |_| {
        seen.set(true);
        decided(PeerDecision::Accept(Vec::new()))
    });
    let policies = Swapping { inner: Policies::with([("ns/p", filter)]), replaced };
    let (socket, address) = listen().await;
    let port = world.port(None);
    let serve = async {
        let (io, peer) = socket.accept().await.expect("a connection");
        let timeout = std::time::Duration::from_secs(5);
        penstock_proxy::tls::accept(&port, io, peer, &policies, timeout).await
    };
    let ask = async {
        let io = tokio::net::TcpStream::connect(address).await.expect("connects");
        let client = Client::new(&authority, TLS13, None);
        let connector = tokio_rustls::TlsConnector::from(client.0);
        connector.connect(server_name("example.org"), io).await
    };
    let (accepted, connected) = tokio::join!(serve, ask);
    connected.expect("connects");
    let (_, session) = accepted.expect("serves");
    assert_eq!(&*session.satisfied, []);
}

/// Policies that are replaced as soon as they have seen a certificate.
struct Swapping {
    inner: Policies,
    replaced: Rc<Cell<bool>>,
}

impl penstock_proxy::tls::TlsPolicies for Swapping {
    fn client_hello(
        &self,
        filter: &str,
        hello: &penstock_filter_host::ClientHello,
    ) -> penstock_filter_host::Outcome<HelloDecision> {
        self.inner.client_hello(filter, hello)
    }

    fn client_certificate(
        &self,
        filter: &str,
        hello: &penstock_filter_host::ClientHello,
        peer: Option<&penstock_filter_host::PeerCertificate>,
    ) -> penstock_filter_host::Outcome<PeerDecision> {
        self.inner.client_certificate(filter, hello, peer)
    }

    fn plan(&self, filter: &str) -> Option<Arc<penstock_filter_host::Plan>> {
        self.inner.plan(filter)
    }

    fn version(&self, filter: &str) -> Option<Version> {
        match self.replaced.get() {
            true => Some(Version([0; 16])),
            false => self.inner.version(filter),
        }
    }
}
