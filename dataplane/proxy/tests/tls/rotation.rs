//! Changes under live connections.

use std::time::Duration;

use penstock_config::Version;
use penstock_proxy::tls::{TlsPort, TlsSession, accept};
use rustls::AlertDescription;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::rig::*;

#[tokio::test]
async fn a_rotated_certificate_is_shown_to_new_clients_and_live_connections_go_on() {
    let authority = Authority::new();
    let mut world = World::simple(&authority);
    let policies = Policies::none();
    let client = Client::new(&authority, TLS13, None);
    let mut port = world.port(None);

    let (socket, address) = listen().await;
    let serve = async {
        let (io, peer) = socket.accept().await.expect("a connection");
        accept(&port, io, peer, &policies, Duration::from_secs(5)).await.expect("serves").0
    };
    let ask = async {
        let io = TcpStream::connect(address).await.expect("connects");
        let connector = TlsConnector::from(client.0.clone());
        connector.connect(server_name("example.org"), io).await.expect("connects")
    };
    let (mut server_side, mut client_side) = tokio::join!(serve, ask);

    for round in 0_u8..5 {
        let identity = authority.server(&["*.example.org", "example.org"]);
        world.certificate("infra/cert", &identity);
        port = world.port(Some(&port));
        let fresh = Client::new(&authority, TLS13, None);
        let (_, seen) = served(&port, &policies, &fresh, "example.org").await;
        assert_eq!(seen.leaf, identity.chain[0], "new clients get the new certificate");

        client_side.write_all(&[round]).await.expect("the old connection sends");
        let mut byte = [0];
        server_side.read_exact(&mut byte).await.expect("the old connection receives");
        server_side.write_all(&byte).await.expect("the old connection answers");
        client_side.read_exact(&mut byte).await.expect("the old connection is answered");
        assert_eq!(byte, [round]);
    }
}

#[tokio::test]
async fn a_certificate_that_becomes_unusable_is_refused_and_the_last_good_one_serves_on() {
    let authority = Authority::new();
    let mut world = World::simple(&authority);
    let good = authority.server(&["example.org"]);
    world.certificate("infra/cert", &good);
    let mut port = world.port(None);
    let policies = Policies::none();
    for _ in 0..2 {
        world.certificate_pem("infra/cert", &good.chain_pem, "no key");
        let (next, refusals) = TlsPort::build(443, &world.state, Some(&port));
        assert_eq!(refusals.len(), 1);
        assert_eq!(refusals[0].key.to_string(), "certificate infra/cert");
        assert_eq!(refusals[0].reason, "InvalidCertificate");
        port = next.into();
        let client = Client::new(&authority, TLS13, None);
        let (_, seen) = served(&port, &policies, &client, "example.org").await;
        assert_eq!(seen.leaf, good.chain[0]);
    }
    let better = authority.server(&["example.org"]);
    world.certificate("infra/cert", &better);
    port = world.port(Some(&port));
    let client = Client::new(&authority, TLS13, None);
    let (_, seen) = served(&port, &policies, &client, "example.org").await;
    assert_eq!(seen.leaf, better.chain[0]);
}

#[tokio::test]
async fn a_change_of_the_gateways_profile_is_in_force_for_new_connections() {
    let authority = Authority::new();
    let mut world = World::simple(&authority);
    let policies = Policies::none();
    let client = Client::new(&authority, TLS12, None);
    let lax = world.port(None);
    served(&lax, &policies, &client, "example.org").await;
    world.gateway("modern");
    let strict = world.port(Some(&lax));
    let (_, alert) = refused(&strict, &policies, &client, "example.org").await;
    assert_eq!(alert, AlertDescription::ProtocolVersion, "although the client has a session");
    world.gateway("compatible");
    served(&world.port(Some(&strict)), &policies, &client, "example.org").await;
}

/// Decision 7: a connection from before is told to go where its requests would be answered 421.
#[tokio::test]
async fn decision_7_a_handshake_counts_until_its_policies_or_those_of_its_name_change() {
    let authority = Authority::new();
    let mut world = World::simple(&authority);
    let policies = Policies::none();
    let client = Client::new(&authority, TLS13, None);
    let plain = world.port(None);
    let (before, _) = served(&plain, &policies, &client, "a.example.org").await;
    let none = |_: &str| None;
    assert!(plain.admits(&before, none));

    let version = world.filter("ns/p", 1);
    world.binding("https", "*.example.org", &["ns/p"]);
    let bound = world.port(Some(&plain));
    let current = |filter: &str| (filter == "ns/p").then_some(version);
    assert!(!bound.admits(&before, current), "its name has a policy now");
    let other = TlsSession { sni: Some("elsewhere.net".into()), ..before.clone() };
    assert!(bound.admits(&other, current), "another name has none");

    let judged = TlsSession { satisfied: [("ns/p".to_owned(), version)].into(), ..before.clone() };
    assert!(bound.admits(&judged, current));
    assert!(!bound.admits(&judged, |_| Some(Version([7; 16]))), "another version of the policy");
    assert!(!plain.admits(&judged, none), "the policy is gone");
    let moved = TlsSession { listener: "infra/gw/other".into(), ..before };
    assert!(!plain.admits(&moved, none), "another listener has the name now");
}

#[test]
fn one_port_serves_all_workers() {
    fn shared<T: Send + Sync>() {}
    shared::<TlsPort>();
}
