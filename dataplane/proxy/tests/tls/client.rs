//! Clients.

use std::sync::Arc;

use parking_lot::Mutex;
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

use crate::rig::{Authority, Identity, server_name};

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
        *self.0.lock() = next;
    }

    fn current(&self) -> Option<Arc<CertifiedKey>> {
        self.0.lock().clone()
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
