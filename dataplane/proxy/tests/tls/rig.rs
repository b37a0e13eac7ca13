//! Certificates, configurations, policies and clients for the tests.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use penstock_config::{
    Certificate, ClientValidation, Filter, Gateway, Key, Kind, Listener, ListenerProtocol,
    OnFailure, OpaqueValues, PolicyKind, ResourceKind, State, TlsBinding, TlsProfile, TlsVersion,
    ValidationMode, Version,
};
use penstock_filter_host::{
    ClientHello, FilterFailure, HelloDecision, Outcome, PeerCertificate, PeerDecision, Plan, Tier,
    TlsPlan, Verdict,
};
use penstock_proxy::tls::{TlsPolicies, TlsPort, TlsReject, TlsSession, accept};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Resumption,
    Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, RootCertStore,
    SignatureScheme, SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

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

type OnHello = Box<dyn Fn(&ClientHello) -> Outcome<HelloDecision>>;
type OnCertificate = Box<dyn Fn(Option<&PeerCertificate>) -> Outcome<PeerDecision>>;

/// A policy made of closures.
pub(crate) struct FakeFilter {
    pub(crate) version: Version,
    pub(crate) plan: TlsPlan,
    pub(crate) on_failure: OnFailure,
    pub(crate) hello: OnHello,
    pub(crate) certificate: OnCertificate,
}

impl FakeFilter {
    /// One that has nothing to say.
    pub(crate) fn new(version: Version) -> Self {
        Self {
            version,
            plan: TlsPlan::default(),
            on_failure: OnFailure::Closed,
            hello: Box::new(|_| decided(HelloDecision::Default)),
            certificate: Box::new(|_| decided(PeerDecision::Accept(Vec::new()))),
        }
    }

    pub(crate) fn on_hello(
        mut self,
        hello: impl Fn(&ClientHello) -> Outcome<HelloDecision> + 'static,
    ) -> Self {
        self.plan.client_hello = true;
        self.hello = Box::new(hello);
        self
    }

    pub(crate) fn on_certificate(
        mut self,
        certificate: impl Fn(Option<&PeerCertificate>) -> Outcome<PeerDecision> + 'static,
    ) -> Self {
        self.plan.client_certificate = true;
        self.certificate = Box::new(certificate);
        self
    }

    pub(crate) fn open(mut self) -> Self {
        self.on_failure = OnFailure::Open;
        self
    }

    pub(crate) fn asking(mut self, auth: penstock_filter_host::ClientAuth) -> Self {
        self.plan.client_auth = auth;
        self
    }
}

pub(crate) fn decided<T>(decision: T) -> Outcome<T> {
    Outcome::decided(decision, Tier::Call)
}

pub(crate) fn failing<T>(failure: FilterFailure, on_failure: OnFailure) -> Outcome<T> {
    Outcome {
        verdict: Verdict::of_failure(failure, on_failure),
        tier: Tier::Call,
        span: None,
        message: Some("cannot decide".into()),
    }
}

/// Policies of a worker, with a record of their calls.
#[derive(Default)]
pub(crate) struct Policies {
    pub(crate) filters: RefCell<BTreeMap<String, FakeFilter>>,
    pub(crate) calls: RefCell<Vec<String>>,
}

impl Policies {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn with(filters: impl IntoIterator<Item = (&'static str, FakeFilter)>) -> Self {
        let filters = filters.into_iter().map(|(name, filter)| (name.to_owned(), filter));
        Self { filters: RefCell::new(filters.collect()), calls: RefCell::default() }
    }

    pub(crate) fn take_calls(&self) -> Vec<String> {
        self.calls.take()
    }
}

impl TlsPolicies for Policies {
    fn client_hello(&self, filter: &str, hello: &ClientHello) -> Outcome<HelloDecision> {
        let sni = hello.sni.as_deref().unwrap_or("-");
        self.calls.borrow_mut().push(format!("{filter} hello {sni}"));
        (self.filters.borrow()[filter].hello)(hello)
    }

    fn client_certificate(
        &self,
        filter: &str,
        _: &ClientHello,
        peer: Option<&PeerCertificate>,
    ) -> Outcome<PeerDecision> {
        let who = peer.map_or("-".to_owned(), |peer| format!("{:?}", peer.sans));
        self.calls.borrow_mut().push(format!("{filter} certificate {who}"));
        (self.filters.borrow()[filter].certificate)(peer)
    }

    fn plan(&self, filter: &str) -> Option<Arc<Plan>> {
        let filters = self.filters.borrow();
        let fake = filters.get(filter)?;
        Some(Arc::new(Plan {
            filter: filter.into(),
            kind: PolicyKind::Tls,
            request: None,
            response: None,
            tls: Some(fake.plan),
            on_failure: fake.on_failure,
            opaque_values: OpaqueValues::Reject,
        }))
    }

    fn version(&self, filter: &str) -> Option<Version> {
        self.filters.borrow().get(filter).map(|fake| fake.version)
    }
}

/// A client.
#[derive(Clone)]
pub(crate) struct Client(pub(crate) Arc<ClientConfig>);

/// What a client saw of a served connection.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) version: ProtocolVersion,
    pub(crate) kind: HandshakeKind,
    pub(crate) leaf: CertificateDer<'static>,
}

/// Why a client was not served.
#[derive(Debug, PartialEq)]
pub(crate) enum Unserved {
    Alert(AlertDescription),
    Other(String),
}

impl Client {
    pub(crate) fn new(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
    ) -> Self {
        Self(Arc::new(Self::config(authority, versions, identity)))
    }

    pub(crate) fn config(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(authority.root()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("usable versions")
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(identity) => {
                builder.with_client_cert_resolver(Arc::new(Always::new(identity, identity.key())))
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(32);
        config
    }

    /// A client that can change its certificate and keeps its sessions, also beyond their names.
    pub(crate) fn careless(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        identity: &Identity,
    ) -> (Self, Arc<Always>) {
        let resolver = Arc::new(Always::new(identity, identity.key()));
        let mut config = Self::config(authority, versions, None);
        config.client_auth_cert_resolver = resolver.clone();
        config.resumption = Resumption::store(Arc::new(OneDrawer::default()));
        (Self(Arc::new(config)), resolver)
    }
}

/// Shows a certificate whatever the server hints at: a client that does not care what is trusted.
#[derive(Debug)]
pub(crate) struct Always(Mutex<Option<Arc<CertifiedKey>>>);

impl Always {
    pub(crate) fn new(identity: &Identity, key: PrivateKeyDer<'static>) -> Self {
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).expect("a key");
        Self(Mutex::new(Some(Arc::new(CertifiedKey::new(identity.chain.clone(), key)))))
    }

    /// Shows another certificate from now on, or none.
    pub(crate) fn change(&self, identity: Option<&Identity>) {
        let next = identity.and_then(|identity| Self::new(identity, identity.key()).current());
        *self.0.lock().expect("no panic") = next;
    }

    fn current(&self) -> Option<Arc<CertifiedKey>> {
        self.0.lock().expect("no panic").clone()
    }
}

impl ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.current()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Keeps sessions without regard to the name they are for.
#[derive(Debug)]
struct OneDrawer(ClientSessionMemoryCache);

impl Default for OneDrawer {
    fn default() -> Self {
        Self(ClientSessionMemoryCache::new(32))
    }
}

impl ClientSessionStore for OneDrawer {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(name)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(server_name("drawer"), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&server_name("drawer"))
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&server_name("drawer"));
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(server_name("drawer"), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&server_name("drawer"))
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
