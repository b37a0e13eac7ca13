//! One listener as it is served.

use std::sync::{Arc, LazyLock};

use hashbrown::HashMap;
use parking_lot::Mutex;
use penstock_config::{TlsVersion, Version};
use penstock_filter_host::ClientAuth;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::{Error, ServerConfig, SupportedProtocolVersion};

use super::certificate::Certificates;
use super::client_auth::{Anchors, ConnectionVerifier, PeerSlot};
use super::names::NameMap;
use super::terms::HandshakeTerms;
use super::tickets::{PeerTickets, TermsKey, TicketKeys};

/// The one cryptography of the proxy.
pub(super) static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

/// A listener with usable certificates.
#[derive(Debug)]
pub(super) struct ServedListener {
    /// `namespace/gateway/listener`.
    pub(super) key: String,
    /// Host name pattern, lower-case.
    pub(super) hostname: String,
    /// Versions of everything it was built from: equal ones build an equal listener.
    pub(super) identity: Vec<Version>,
    /// Profiles that the Gateway declares.
    pub(super) profiles: HashMap<String, TlsVersion>,
    /// What the Gateway's owner asks of every client.
    pub(super) terms: HandshakeTerms,
    /// Filters by server name.
    pub(super) bindings: NameMap<Vec<String>>,
    /// Trust anchors for client certificates.
    pub(super) anchors: Option<Arc<Anchors>>,
    /// What the server shows.
    pub(super) certificates: Arc<Certificates>,
    /// Ticket keys, older than this snapshot.
    pub(super) tickets: Arc<TicketKeys>,
    /// Configurations of connections that show no certificate, made as they are first needed.
    pub(super) configs: Mutex<HashMap<TermsKey, Arc<ServerConfig>>>,
}

impl ServedListener {
    /// Least version of a declared profile.
    pub(super) fn profile(&self, name: &str) -> Option<TlsVersion> {
        self.profiles.get(name).copied()
    }

    /// The filters for a server name: those of the most specific binding.
    ///
    /// A client that names no server gets those that hold for all names of the listener. Routes
    /// that ask for others answer it 421.
    pub(super) fn filters(&self, sni: Option<&str>) -> &[String] {
        let binding = match sni {
            Some(name) => self.bindings.get(name),
            None => self.bindings.pattern(&self.hostname).or_else(|| self.bindings.pattern("")),
        };
        binding.map_or(&[], Vec::as_slice)
    }

    /// What a session under these terms is bound to.
    pub(super) fn terms_key(
        &self,
        terms: &HandshakeTerms,
        policies: Vec<(String, Version)>,
    ) -> TermsKey {
        let asked = terms.client_auth > ClientAuth::None;
        TermsKey {
            policies,
            min_version: terms.min_version,
            client_auth: terms.client_auth,
            lenient: terms.lenient,
            anchors: self.anchors.as_ref().filter(|_| asked).map(|anchors| anchors.digest),
        }
    }

    /// The configuration of a connection that is asked for no certificate.
    pub(super) fn config(&self, key: &TermsKey) -> Result<Arc<ServerConfig>, Error> {
        if let Some(config) = self.configs.lock().get(key) {
            return Ok(config.clone());
        }
        let builder = ServerConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(versions(key.min_version))?
            .with_no_client_auth()
            .with_cert_resolver(self.certificates.clone());
        let config = Arc::new(finish(builder, self.tickets.of(key)?));
        self.configs.lock().insert(key.clone(), config.clone());
        Ok(config)
    }

    /// The configuration of one connection that is asked for a certificate.
    pub(super) fn config_with_peer(
        &self,
        key: &TermsKey,
        anchors: &Arc<Anchors>,
        slot: &Arc<PeerSlot>,
    ) -> Result<Arc<ServerConfig>, Error> {
        let verifier = ConnectionVerifier {
            anchors: anchors.clone(),
            mandatory: key.client_auth == ClientAuth::Require,
            lenient: key.lenient,
            slot: slot.clone(),
        };
        let builder = ServerConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(versions(key.min_version))?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(self.certificates.clone());
        let tickets = PeerTickets { keys: self.tickets.of(key)?, slot: slot.clone() };
        let mut config = finish(builder, Arc::new(tickets));
        // For the alert of a policy that refuses the certificate.
        config.enable_secret_extraction = true;
        Ok(Arc::new(config))
    }

    /// Forgets configurations and ticket keys whose terms are no longer current.
    pub(super) fn retain(&self, current: impl Fn(&TermsKey) -> bool) {
        self.configs.lock().retain(|key, _| current(key));
        self.tickets.retain(current);
    }
}

/// What is the same for every connection. Early data stays off: it can be replayed, and it would
/// be served before the checks on a resumed session are done.
fn finish(mut config: ServerConfig, tickets: Arc<dyn ProducesTickets>) -> ServerConfig {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets;
    config.max_early_data_size = 0;
    config
}

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static FROM_12: [&SupportedProtocolVersion; 2] =
        [&rustls::version::TLS13, &rustls::version::TLS12];
    static FROM_13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    match min {
        TlsVersion::Tls12 => &FROM_12,
        TlsVersion::Tls13 => &FROM_13,
    }
}
