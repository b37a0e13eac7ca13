//! Routes behind TLS: which listener a request belongs to, and which one its connection does.

mod support;

use penstock_config::{
    Attachment, Certificate, HttpMatch, Listener, ListenerProtocol, ResourceKind, Rule, TlsProfile,
    TlsVersion,
};
use rustls::pki_types::{CertificateDer, ServerName};
use std::{net::SocketAddr, sync::Arc};
use support::{
    Gateway,
    backend::Echo,
    config::{Config, GATEWAY, prefix},
    h2,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

const NAMES: [&str; 4] = ["example.org", "second-example.org", "*.wild.org", "other.net"];

struct Identity {
    chain: String,
    key: String,
    root: CertificateDer<'static>,
}

fn identity() -> Identity {
    let names = NAMES.map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    Identity {
        chain: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
        root: made.cert.der().clone(),
    }
}

/// HTTPS listeners by section and hostname, each with a route of its own to `echo`.
fn configure(config: &mut Config, identity: &Identity, echo: &Echo, listeners: &[(&str, &str)]) {
    let port = config.port;
    config.state = Default::default();
    config.gateway(|gateway| {
        gateway.tls_profiles =
            vec![TlsProfile { name: "p".into(), min_version: TlsVersion::Tls12 as i32 }];
        gateway.default_tls_profile = "p".into();
    });
    config.state.insert(ResourceKind::Certificate(Certificate {
        name: "test/cert".into(),
        chain_pem: identity.chain.clone().into_bytes(),
        key_pem: identity.key.clone().into_bytes(),
    }));
    let backend = config.backend("echo", &[echo.address]);
    for (section, hostname) in listeners {
        config.state.insert(ResourceKind::Listener(Listener {
            gateway: GATEWAY.into(),
            section: (*section).into(),
            port: port.into(),
            protocol: ListenerProtocol::Https as i32,
            hostname: (*hostname).into(),
            certificates: vec!["test/cert".into()],
            ..Listener::default()
        }));
        config.state.insert(ResourceKind::Rule(Rule {
            route: format!("test/{section}"),
            id: "0".into(),
            attachments: vec![Attachment {
                listener: format!("{GATEWAY}/{section}"),
                hostnames: vec![(*hostname).into()],
            }],
            matches: vec![HttpMatch { path: Some(prefix("/")), ..HttpMatch::default() }],
            backends: vec![backend.clone()],
            ..Rule::default()
        }));
    }
}

async fn connect(
    address: SocketAddr,
    root: &CertificateDer<'static>,
    sni: &str,
    alpn: &str,
) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let stream = TcpStream::connect(address).await.expect("a connection");
    let name = ServerName::try_from(sni.to_owned()).expect("a name");
    TlsConnector::from(Arc::new(client)).connect(name, stream).await.expect("a handshake")
}

#[test]
fn https_serves_http2_and_http1_by_alpn_and_says_so() {
    let (identity, echo) = (identity(), Echo::start("echo"));
    let gateway =
        Gateway::start(|config| configure(config, &identity, &echo, &[("one", "example.org")]));
    h2::run(async {
        let stream = connect(gateway.address(), &identity.root, "example.org", "h2").await;
        let (sender, _) = h2::over(stream).await;
        let answer = h2::get(&sender, "https://example.org/x").await;
        assert_eq!(answer.status, 200);
        assert!(answer.text.contains("\nx-forwarded-proto: https\n"), "{}", answer.text);
        let stream = connect(gateway.address(), &identity.root, "example.org", "http/1.1").await;
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(io).await.expect("a handshake");
        tokio::task::spawn_local(connection);
        let request = h2::request("/x").header("host", "example.org").body(h2::empty());
        let answer = sender.send_request(request.expect("a request")).await.expect("an answer");
        assert_eq!(answer.status(), 200);
    });
}

/// The table of the Gateway API's conformance test for misdirected requests.
#[test]
fn s7_22_a_request_for_another_listener_of_the_port_is_421() {
    let (identity, echo) = (identity(), Echo::start("echo"));
    let named: &[(&str, &str)] =
        &[("one", "example.org"), ("two", "second-example.org"), ("wild", "*.wild.org")];
    let with_any: &[(&str, &str)] = &[("one", "example.org"), ("any", "")];
    for (listeners, sni, host, status) in [
        (named, "example.org", "example.org", 200),
        (named, "example.org", "second-example.org", 421),
        (named, "second-example.org", "example.org", 421),
        (named, "a.wild.org", "b.wild.org", 200),
        (named, "a.wild.org", "example.org", 421),
        (named, "example.org", "unknown.org", 404),
        (with_any, "example.org", "unknown.org", 421),
        (with_any, "other.net", "other.net", 200),
        (with_any, "other.net", "example.org", 421),
    ] {
        let gateway = Gateway::start(|config| configure(config, &identity, &echo, listeners));
        let found = h2::run(async {
            let stream = connect(gateway.address(), &identity.root, sni, "h2").await;
            let (sender, _) = h2::over(stream).await;
            h2::get(&sender, &format!("https://{host}/")).await.status
        });
        assert_eq!(found, status, "{sni} {host}");
    }
}

#[test]
fn a_rule_with_tls_filters_is_421_on_a_connection_without_tls() {
    let echo = Echo::start("echo");
    let mut gateway = Gateway::start(|_| {});
    let ack = gateway.apply(|config| {
        config.state.insert(ResourceKind::Filter(penstock_config::Filter {
            name: "test/tls".into(),
            kind: penstock_config::PolicyKind::Tls as i32,
            module: format!("sha256:{}", "0".repeat(64)),
            config_json: "null".into(),
            memory_bytes: 1 << 20,
            deadline_us: 1_000,
            ..Default::default()
        }));
        let backend = config.backend("echo", &[echo.address]);
        config.rule(prefix("/"), |rule| {
            rule.tls_filters = vec!["test/tls".into()];
            rule.backends = vec![backend];
        });
    });
    assert_eq!(ack.refused[0].reason, "ModuleNotFound", "{:?}", ack.refused);
    let answer = support::client::get(gateway.port, "a", "/");
    assert_eq!((answer.status, answer.field("x-penstock-reason")), (421, Some("misdirected")));
}

#[test]
fn a_port_that_becomes_https_serves_no_plain_connection_from_before() {
    let (identity, echo) = (identity(), Echo::start("echo"));
    let mut gateway = Gateway::start(|config| {
        let backend = config.backend("echo", &[echo.address]);
        config.route_all(backend);
    });
    let mut plain = support::client::Connection::open(gateway.address());
    assert_eq!(plain.get("example.org", "/").status, 200);
    let ack = gateway.apply(|config| configure(config, &identity, &echo, &[("one", "")]));
    assert_eq!(ack.refused, []);
    assert_eq!(plain.get("example.org", "/").status, 421);
}
