//! Server names, listeners and certificates (Gateway API, section 7 points 20 to 23).

use std::sync::Arc;

use penstock_config::{Key, Kind};
use penstock_proxy::tls::{RejectReason, TlsPort};
use rustls::AlertDescription;

use crate::rig::*;

fn key(section: &str) -> String {
    format!("{GATEWAY}/{section}")
}

#[tokio::test]
async fn points_22_and_23_the_server_name_picks_listener_and_certificate() {
    let authority = Authority::new();
    let mut world = World::new();
    let mut leaves = std::collections::BTreeMap::new();
    for (section, hostname, name) in [
        ("any", "", "unknown.test"),
        ("first", "example.org", "example.org"),
        ("second", "second-example.org", "second-example.org"),
        ("wide", "*.wildcard.org", "*.wildcard.org"),
        ("narrow", "*.a.wildcard.org", "*.a.wildcard.org"),
    ] {
        let identity = authority.server(&[name]);
        let certificate = format!("infra/{section}");
        world.certificate(&certificate, &identity);
        world.listener(section, hostname, &[&certificate], None);
        leaves.insert(section, identity.chain[0].clone());
    }
    let port = world.port(None);
    for versions in BOTH {
        let client = Client::new(&authority, versions, None);
        for (sni, section) in [
            ("example.org", "first"),
            ("EXAMPLE.org", "first"),
            ("second-example.org", "second"),
            ("x.wildcard.org", "wide"),
            ("x.a.wildcard.org", "narrow"),
            ("unknown.test", "any"),
            ("", "any"),
        ] {
            let (session, seen) = served(&port, &Policies::none(), &client, sni).await;
            assert_eq!(session.listener, key(section), "{sni}");
            assert_eq!(seen.leaf, leaves[section], "{sni}");
            let name = Some(sni.to_lowercase()).filter(|name| !name.is_empty());
            assert_eq!(session.sni, name);
        }
    }
}

#[tokio::test]
async fn a_name_that_no_listener_has_is_unrecognized() {
    let authority = Authority::new();
    let mut world = World::new();
    world.certificate("infra/cert", &authority.server(&["*.example.org"]));
    world.listener("wide", "*.example.org", &["infra/cert"], None);
    world.listener("exact", "a.example.org", &["infra/cert"], None);
    let port = world.port(None);
    for versions in BOTH {
        let client = Client::new(&authority, versions, None);
        let (reject, alert) = refused(&port, &Policies::none(), &client, "example.net").await;
        assert_eq!(alert, AlertDescription::UnrecognisedName);
        assert_eq!(reject.reason, RejectReason::UnknownName);
        assert_eq!(reject.sni.as_deref(), Some("example.net"));
        let (session, _) = served(&port, &Policies::none(), &client, "").await;
        assert_eq!(session.listener, key("wide"), "no name: the least specific listener");
    }
}

#[tokio::test]
async fn a_listener_chooses_among_its_certificates_by_the_longest_name() {
    let authority = Authority::new();
    let mut world = World::new();
    let wide = authority.server(&["*.example.org"]);
    let narrow = authority.server(&["a.example.org"]);
    world.certificate("infra/wide", &wide);
    world.certificate("infra/narrow", &narrow);
    world.listener("https", "", &["infra/wide", "infra/narrow"], None);
    let port = world.port(None);
    let client = Client::new(&authority, TLS13, None);
    for (sni, identity) in [("a.example.org", &narrow), ("b.example.org", &wide), ("", &wide)] {
        let (_, seen) = served(&port, &Policies::none(), &client, sni).await;
        assert_eq!(seen.leaf, identity.chain[0], "{sni}");
    }
}

#[tokio::test]
async fn point_23_an_unusable_certificate_is_refused_by_key_and_the_others_serve() {
    let authority = Authority::new();
    let mut world = World::new();
    let good = authority.server(&["*.example.org"]);
    let other = authority.server(&["*.example.org"]);
    let mut past = params(&["bad.example.org"]);
    past.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let past = authority.sign(&past);
    world.certificate("infra/good", &good);
    world.certificate_pem("infra/mixed-up", &good.chain_pem, &other.key_pem);
    world.certificate_pem("infra/junk", "no certificate", "no key");
    world.certificate("infra/past", &past);
    world.listener("any", "*.example.org", &["infra/good"], None);
    world.listener("bad", "bad.example.org", &["infra/mixed-up", "infra/junk", "infra/past"], None);
    world.listener("half", "half.example.org", &["infra/junk", "infra/good"], None);
    let (port, refusals) = TlsPort::build(443, &world.state, None);
    let mut seen: Vec<_> = refusals.iter().map(|r| (r.key.clone(), r.reason)).collect();
    seen.sort();
    let mut expected = vec![
        (Key::new(Kind::Certificate, "infra/mixed-up"), "CertificateKeyMismatch"),
        (Key::new(Kind::Certificate, "infra/junk"), "InvalidCertificate"),
        (Key::new(Kind::Certificate, "infra/past"), "CertificateExpired"),
        (Key::new(Kind::Listener, key("bad")), "InvalidCertificateRef"),
    ];
    expected.sort();
    assert_eq!(seen, expected);

    let port = Arc::new(port);
    let client = Client::new(&authority, TLS13, None);
    for (sni, section) in [("x.example.org", "any"), ("half.example.org", "half")] {
        let (session, _) = served(&port, &Policies::none(), &client, sni).await;
        assert_eq!(session.listener, key(section));
    }
    let (reject, alert) = refused(&port, &Policies::none(), &client, "bad.example.org").await;
    assert_eq!(alert, AlertDescription::InternalError, "not the wildcard listener's");
    assert_eq!(reject.reason, RejectReason::ListenerRefused);
}

#[tokio::test]
async fn what_is_wrong_with_a_listener_is_refused_with_its_reason() {
    let authority = Authority::new();
    let mut world = World::simple(&authority);
    world.listener("twin", "", &["infra/cert"], None);
    world.listener(
        "untrusting",
        "u.example.org",
        &["infra/cert"],
        Some((penstock_config::ValidationMode::AllowValidOnly, "no certificate")),
    );
    world.listener("bare", "bare.example.org", &[], None);
    let reasons = |world: &World| {
        let (_, refusals) = TlsPort::build(443, &world.state, None);
        refusals.into_iter().map(|r| (r.key.name, r.reason)).collect::<Vec<_>>()
    };
    assert_eq!(
        reasons(&world),
        [
            (key("bare"), "InvalidCertificateRef"),
            (key("twin"), "HostnameConflict"),
            (key("untrusting"), "NoValidCACertificate"),
        ]
    );
    let mut world = World::simple(&authority);
    world.gateway("undeclared");
    assert_eq!(reasons(&world), [(key("https"), "UnknownTlsProfile")]);
}

#[tokio::test]
async fn other_ports_and_listeners_without_tls_are_none_of_its_business() {
    let authority = Authority::new();
    let world = World::simple(&authority);
    let (port, refusals) = TlsPort::build(8443, &world.state, None);
    assert_eq!(refusals, []);
    let client = Client::new(&authority, TLS13, None);
    let (reject, _) = refused(&Arc::new(port), &Policies::none(), &client, "example.org").await;
    assert_eq!(reject.reason, RejectReason::UnknownName);
}

#[tokio::test]
async fn application_protocols_are_h2_then_http_1_1() {
    let authority = Authority::new();
    let port = World::simple(&authority).port(None);
    for versions in BOTH {
        for (offered, chosen) in [
            (&["http/1.1", "h2"][..], Some("h2")),
            (&["http/1.1"][..], Some("http/1.1")),
            (&[][..], None),
        ] {
            let mut config = Client::config(&authority, versions, None);
            config.alpn_protocols = offered.iter().map(|p| p.as_bytes().to_vec()).collect();
            let client = Client(Arc::new(config));
            let (session, seen) = served(&port, &Policies::none(), &client, "example.org").await;
            assert_eq!(session.alpn, chosen);
            assert_eq!(seen.alpn.as_deref(), chosen.map(str::as_bytes));
        }
        let mut config = Client::config(&authority, versions, None);
        config.alpn_protocols = vec![b"spdy/3".to_vec()];
        let client = Client(Arc::new(config));
        let (reject, alert) = refused(&port, &Policies::none(), &client, "example.org").await;
        assert_eq!(alert, AlertDescription::NoApplicationProtocol);
        assert_eq!(reject.reason, RejectReason::Incompatible);
    }
}
