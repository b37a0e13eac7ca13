//! Certificates, configurations and exchanges for the tests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use penstock_config::{
    Certificate, ClientValidation, Filter, Gateway, Key, Kind, Listener, ListenerProtocol,
    OnFailure, OpaqueValues, PolicyKind, ResourceKind, State, TlsBinding, TlsProfile, TlsVersion,
    ValidationMode, Version,
};
use penstock_proxy::tls::{TlsPort, TlsReject, TlsSession, accept};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

pub(crate) use crate::client::*;
pub(crate) use crate::fake::*;

pub(crate) const GATEWAY: &str = "infra/gw";
pub(crate) const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
pub(crate) const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
pub(crate) const BOTH: [&[&SupportedProtocolVersion]; 2] = [TLS12, TLS13];
const TIMEOUT: Duration = Duration::from_secs(5);

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) chain_pem: String,
    pub(crate) key_pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut params = CertificateParams::default();
        let name = format!("authority {}", COUNT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("signs"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A certificate for a server; every one is also good for the address of the tests.
    pub(crate) fn server(&self, names: &[&str]) -> Identity {
        let mut params = params(names);
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        self.sign(&params)
    }

    /// A certificate for a client.
    pub(crate) fn client(&self, name: &str) -> Identity {
        self.sign(&params(&[name]))
    }

    /// A certificate under an intermediate authority, and that authority's certificate.
    pub(crate) fn client_of_intermediate(&self, name: &str) -> (Identity, CertificateDer<'static>) {
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(rcgen::DnType::CommonName, "intermediate");
        ca.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::signed_by(ca, key, &self.0).expect("signs");
        let der = issuer.der().clone();
        (Authority(issuer).client(name), der)
    }

    pub(crate) fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.0).expect("signs");
        Identity {
            chain: vec![signed.der().clone()],
            chain_pem: signed.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}

pub(crate) fn params(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
        .expect("valid names")
}

impl Identity {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        use rustls::pki_types::pem::PemObject;
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).expect("a key")
    }
}

/// A configuration with one Gateway.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) state: State,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self { state: State::default() };
        world.gateway("compatible");
        world
    }

    /// A world with one listener `https` for any name and a certificate for `*.example.org`.
    pub(crate) fn simple(authority: &Authority) -> Self {
        let mut world = Self::new();
        world.certificate("infra/cert", &authority.server(&["*.example.org", "example.org"]));
        world.listener("https", "", &["infra/cert"], None);
        world
    }

    pub(crate) fn gateway(&mut self, default_profile: &str) {
        let profile =
            |name: &str, min: TlsVersion| TlsProfile { name: name.into(), min_version: min as i32 };
        self.state.insert(ResourceKind::Gateway(Gateway {
            name: GATEWAY.into(),
            trusted_hops: 0,
            tls_profiles: vec![
                profile("compatible", TlsVersion::Tls12),
                profile("modern", TlsVersion::Tls13),
            ],
            default_tls_profile: default_profile.into(),
            limits: None,
        }));
    }

    pub(crate) fn certificate(&mut self, name: &str, identity: &Identity) {
        self.certificate_pem(name, &identity.chain_pem, &identity.key_pem);
    }

    pub(crate) fn certificate_pem(&mut self, name: &str, chain: &str, key: &str) {
        self.state.insert(ResourceKind::Certificate(Certificate {
            name: name.into(),
            chain_pem: chain.into(),
            key_pem: key.into(),
        }));
    }

    pub(crate) fn listener(
        &mut self,
        section: &str,
        hostname: &str,
        certificates: &[&str],
        validation: Option<(ValidationMode, &str)>,
    ) {
        self.state.insert(ResourceKind::Listener(Listener {
            gateway: GATEWAY.into(),
            section: section.into(),
            port: 443,
            protocol: ListenerProtocol::Https as i32,
            hostname: hostname.into(),
            certificates: certificates.iter().map(|c| (*c).to_owned()).collect(),
            client_validation: validation
                .map(|(mode, pem)| ClientValidation { anchors_pem: pem.into(), mode: mode as i32 }),
            target_port: 0,
        }));
    }

    /// A TLS filter; the version of the resource follows the generation.
    pub(crate) fn filter(&mut self, name: &str, generation: u64) -> Version {
        self.state.insert(ResourceKind::Filter(Filter {
            name: name.into(),
            kind: PolicyKind::Tls as i32,
            module: format!("sha256:{}", "0".repeat(64)),
            config_json: "null".into(),
            generation,
            grants: Vec::new(),
            memory_bytes: 1 << 24,
            deadline_us: 5000,
            max_invocations: 0,
            on_failure: OnFailure::Closed as i32,
            opaque_values: OpaqueValues::Reject as i32,
        }));
        self.state.get(&Key::new(Kind::Filter, name)).expect("just put in").version
    }

    pub(crate) fn binding(&mut self, section: &str, hostname: &str, filters: &[&str]) {
        self.state.insert(ResourceKind::TlsBinding(TlsBinding {
            listener: format!("{GATEWAY}/{section}"),
            hostname: hostname.into(),
            filters: filters.iter().map(|f| (*f).to_owned()).collect(),
        }));
    }

    /// The port, nothing refused.
    pub(crate) fn port(&self, previous: Option<&Arc<TlsPort>>) -> Arc<TlsPort> {
        let (port, refusals) = TlsPort::build(443, &self.state, previous.map(|port| &**port));
        assert_eq!(refusals, []);
        Arc::new(port)
    }
}

/// A server name, or the address: the client then sends none.
pub(crate) fn server_name(sni: &str) -> ServerName<'static> {
    match sni {
        "" => ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()),
        name => ServerName::try_from(name.to_owned()).expect("a valid name"),
    }
}

/// One connection with one exchange: what the server and what the client made of it.
pub(crate) async fn exchange(
    port: &Arc<TlsPort>,
    policies: &Policies,
    client: &Client,
    sni: &str,
) -> (Result<TlsSession, TlsReject>, Result<Served, Unserved>) {
    let (socket, address) = listen().await;
    let serve = async {
        let (io, peer) = socket.accept().await.expect("a connection");
        let (mut stream, session) = accept(port, io, peer, policies, TIMEOUT).await?;
        let mut ping = [0; 4];
        stream.read_exact(&mut ping).await.expect("a request");
        stream.write_all(b"pong").await.expect("an answer");
        stream.shutdown().await.expect("an end");
        Ok(session)
    };
    tokio::join!(serve, ask(address, client, sni))
}

/// Like [`exchange`], for connections that must be served.
pub(crate) async fn served(
    port: &Arc<TlsPort>,
    policies: &Policies,
    client: &Client,
    sni: &str,
) -> (TlsSession, Served) {
    let (session, seen) = exchange(port, policies, client, sni).await;
    (session.expect("the server serves"), seen.expect("the client is served"))
}

/// Like [`exchange`], for connections that must be refused with an alert.
pub(crate) async fn refused(
    port: &Arc<TlsPort>,
    policies: &Policies,
    client: &Client,
    sni: &str,
) -> (TlsReject, AlertDescription) {
    match exchange(port, policies, client, sni).await {
        (Err(reject), Err(Unserved::Alert(alert))) => (reject, alert),
        other => panic!("refused with an alert, not {other:?}"),
    }
}

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

async fn ask(address: SocketAddr, client: &Client, sni: &str) -> Result<Served, Unserved> {
    let io = TcpStream::connect(address).await.map_err(|error| unserved(&error))?;
    let connector = TlsConnector::from(client.0.clone());
    let mut stream =
        connector.connect(server_name(sni), io).await.map_err(|error| unserved(&error))?;
    // TLS 1.3 clients are done before the server has judged them; what it says comes with the read.
    let _ = stream.write_all(b"ping").await;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map_err(|error| unserved(&error))?;
    if answer != b"pong" {
        return Err(Unserved::Other(format!("answer {answer:?}")));
    }
    let connection = stream.get_ref().1;
    Ok(Served {
        alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
        version: connection.protocol_version().expect("established"),
        kind: connection.handshake_kind().expect("established"),
        leaf: connection.peer_certificates().expect("established")[0].clone(),
    })
}

fn unserved(error: &std::io::Error) -> Unserved {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::AlertReceived(alert)) => Unserved::Alert(*alert),
        _ => Unserved::Other(error.to_string()),
    }
}
