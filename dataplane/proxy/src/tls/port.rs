//! The TLS listeners of one port.

use std::cmp::Reverse;
use std::sync::Arc;

use hashbrown::HashMap;
use penstock_config::{
    Certificate, Gateway, HostPrecedence, Key, Kind, Listener, ListenerProtocol, ResourceKind,
    State, TlsBinding, Version, Versioned,
};

use super::certificate::{Certificates, ServerCertificate};
use super::client_auth::Anchors;
use super::listener::{PROVIDER, ServedListener};
use super::names::NameMap;
use super::session::{TlsSession, required_satisfied};
use super::terms::HandshakeTerms;
use super::tickets::{TermsKey, TicketKeys};

/// A part of a configuration that cannot be used. Whoever wrote it is at fault; it is tried again
/// when it changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// What is refused.
    pub key: Key,
    /// Why, bounded.
    pub reason: &'static str,
    /// For people: cause and remedy, without secrets.
    pub message: String,
}

/// The TLS listeners of one port in one snapshot.
#[derive(Debug)]
pub struct TlsPort {
    listeners: NameMap<Entry>,
    unnamed: Option<Entry>,
    certificates: HashMap<String, (Version, Arc<ServerCertificate>)>,
}

/// A listener, served or not. One that is not served keeps its names: they must not fall to a less
/// specific listener, which may belong to somebody else.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Served(Arc<ServedListener>),
    Refused(String),
}

impl TlsPort {
    /// Builds the HTTPS listeners of a serving port.
    ///
    /// What cannot be used is refused and the rest served: a certificate, or the listener when
    /// nothing usable is left of it. Where a certificate changed into one that cannot be used, the
    /// last good one of that name goes on serving.
    pub fn build(port: u32, state: &State, previous: Option<&TlsPort>) -> (TlsPort, Vec<Refusal>) {
        let mut builder = Builder {
            state,
            previous,
            bindings: bindings(state),
            certificates: HashMap::new(),
            refusals: Vec::new(),
        };
        let mut listeners = NameMap::default();
        let mut hostnames: Vec<(String, Entry)> = Vec::new();
        for (resource, listener) in https(state, port) {
            let entry = builder.entry(resource, listener);
            if listeners.insert(&listener.hostname, entry.clone()).is_ok() {
                hostnames.push((listener.hostname.clone(), entry));
                continue;
            }
            builder.refuse(
                &resource.key,
                "HostnameConflict",
                format!(
                    "another listener of port {port} has the hostname `{}` already",
                    listener.hostname
                ),
            );
        }
        // `https` goes by key, so that a tie is decided alike on every node.
        let unnamed = hostnames
            .into_iter()
            .min_by_key(|(hostname, _)| Reverse(HostPrecedence::new(hostname)));
        let unnamed = unnamed.map(|(_, entry)| entry);
        let Builder { certificates, refusals, .. } = builder;
        let certificates =
            certificates.into_iter().filter_map(|(name, usable)| Some((name, usable?))).collect();
        (TlsPort { listeners, unnamed, certificates }, refusals)
    }

    /// The listener for a lower-case server name: the most specific one that covers it.
    ///
    /// Clients that name no server get the listener without a hostname, else the one with the
    /// least specific hostname (the first by key among equals): what it serves is decided by its
    /// certificate and the Host field, as for any other connection.
    pub(super) fn listener(&self, sni: Option<&str>) -> Option<&Entry> {
        match sni {
            Some(name) => self.listeners.get(name),
            None => self.unnamed.as_ref(),
        }
    }

    /// Whether an earlier handshake still counts: every policy that judged it is in force in that
    /// version, and by now its server name has no other listener and no policy more. `current` gives
    /// the version of a filter.
    pub fn admits(&self, session: &TlsSession, current: impl Fn(&str) -> Option<Version>) -> bool {
        let judged = |(filter, version): &(String, Version)| current(filter) == Some(*version);
        let sni = session.sni.as_deref();
        session.satisfied.iter().all(judged)
            && match self.listener(sni) {
                Some(Entry::Served(listener)) => {
                    listener.key == session.listener
                        && required_satisfied(Some(session), listener.filters(sni), &current)
                }
                Some(Entry::Refused(key)) => *key == session.listener,
                None => false,
            }
    }

    fn served(&self, key: &str) -> Option<&Arc<ServedListener>> {
        self.listeners.values().find_map(|entry| match entry {
            Entry::Served(listener) if listener.key == key => Some(listener),
            _ => None,
        })
    }
}

/// The HTTPS listeners of a port, by key.
fn https(state: &State, port: u32) -> impl Iterator<Item = (&Versioned, &Listener)> {
    state.of_kind(Kind::Listener).filter_map(move |resource| match &*resource.content {
        ResourceKind::Listener(listener)
            if listener.serving_port() == port
                && listener.protocol() == ListenerProtocol::Https =>
        {
            Some((resource, listener))
        }
        _ => None,
    })
}

/// Bindings by the key of their listener.
fn bindings(state: &State) -> HashMap<&str, Vec<(Version, &TlsBinding)>> {
    let mut by_listener: HashMap<&str, Vec<(Version, &TlsBinding)>> = HashMap::new();
    for resource in state.of_kind(Kind::TlsBinding) {
        if let ResourceKind::TlsBinding(binding) = &*resource.content {
            by_listener.entry(&binding.listener).or_default().push((resource.version, binding));
        }
    }
    by_listener
}

struct Builder<'a> {
    state: &'a State,
    previous: Option<&'a TlsPort>,
    bindings: HashMap<&'a str, Vec<(Version, &'a TlsBinding)>>,
    /// By name; `None` is refused already.
    certificates: HashMap<String, Option<(Version, Arc<ServerCertificate>)>>,
    refusals: Vec<Refusal>,
}

impl<'a> Builder<'a> {
    fn refuse(&mut self, key: &Key, reason: &'static str, message: String) {
        self.refusals.push(Refusal { key: key.clone(), reason, message });
    }

    fn entry(&mut self, resource: &Versioned, listener: &Listener) -> Entry {
        match self.listener(resource, listener) {
            Ok(served) => Entry::Served(served),
            Err((reason, message)) => {
                self.refuse(&resource.key, reason, message);
                Entry::Refused(resource.key.name.clone())
            }
        }
    }

    fn listener(
        &mut self,
        resource: &Versioned,
        listener: &Listener,
    ) -> Result<Arc<ServedListener>, (&'static str, String)> {
        let key = &resource.key.name;
        let (gateway_version, gateway) = self.gateway(&listener.gateway).ok_or_else(|| {
            ("GatewayMissing", format!("the Gateway {} is not there", listener.gateway))
        })?;
        let bindings = self.bindings.get(key.as_str()).cloned().unwrap_or_default();
        let certificates: Vec<_> =
            listener.certificates.iter().filter_map(|name| self.certificate(name)).collect();
        if certificates.is_empty() {
            let message = "none of its certificates can be used; see their own refusals";
            return Err(("InvalidCertificateRef", message.into()));
        }
        let mut identity = vec![resource.version, gateway_version];
        identity.extend(certificates.iter().map(|(version, _)| *version));
        identity.extend(bindings.iter().map(|(version, _)| *version));

        let previous = self.previous.and_then(|port| port.served(key)).cloned();
        if let Some(unchanged) = previous.as_ref().filter(|old| old.identity == identity) {
            let anchors = unchanged.anchors.as_ref().map(|anchors| anchors.digest);
            unchanged.retain(|terms| self.is_current(terms, anchors));
            return Ok(unchanged.clone());
        }

        let profiles: HashMap<_, _> =
            gateway.tls_profiles.iter().map(|p| (p.name.clone(), p.min_version())).collect();
        let Some(min_version) = profiles.get(&gateway.default_tls_profile).copied() else {
            let name = &gateway.default_tls_profile;
            return Err(("UnknownTlsProfile", format!("no TLS profile `{name}` is declared")));
        };
        let validation = listener.client_validation.as_ref();
        let anchors = validation
            .map(|validation| Anchors::parse(&validation.anchors_pem, key, &PROVIDER))
            .transpose()
            .map_err(|message| ("NoValidCACertificate", message))?
            .map(Arc::new);
        let tickets = previous.map_or_else(Arc::<TicketKeys>::default, |old| old.tickets.clone());
        let digest = anchors.as_ref().map(|anchors| anchors.digest);
        tickets.retain(|terms| self.is_current(terms, digest));
        let mut by_name = NameMap::default();
        for (_, binding) in bindings {
            // A state holds one binding for each listener and hostname, so the name is free.
            let _ = by_name.insert(&binding.hostname, binding.filters.clone());
        }
        Ok(Arc::new(ServedListener {
            key: key.clone(),
            hostname: listener.hostname.clone(),
            identity,
            profiles,
            terms: HandshakeTerms::of_gateway(min_version, validation.map(|v| v.mode())),
            bindings: by_name,
            anchors,
            certificates: Arc::new(Certificates(
                certificates.into_iter().map(|(_, certificate)| certificate).collect(),
            )),
            tickets,
            configs: Default::default(),
        }))
    }

    /// Whether sessions under these terms may go on: every policy in its current version, and the
    /// trust anchors that the listener has now.
    fn is_current(&self, terms: &TermsKey, anchors: Option<[u8; 32]>) -> bool {
        let current = |(filter, version): &(String, Version)| {
            let resource = self.state.get(&Key::new(Kind::Filter, filter));
            resource.is_some_and(|resource| resource.version == *version)
        };
        terms.policies.iter().all(current)
            && terms.anchors.is_none_or(|digest| Some(digest) == anchors)
    }

    fn gateway(&self, name: &str) -> Option<(Version, &'a Gateway)> {
        let resource = self.state.get(&Key::new(Kind::Gateway, name))?;
        match &*resource.content {
            ResourceKind::Gateway(gateway) => Some((resource.version, gateway)),
            _ => None,
        }
    }

    /// A usable certificate by name; each name is read and refused once.
    fn certificate(&mut self, name: &str) -> Option<(Version, Arc<ServerCertificate>)> {
        if let Some(known) = self.certificates.get(name) {
            return known.clone();
        }
        let usable = self.read_certificate(name);
        self.certificates.insert(name.to_owned(), usable.clone());
        usable
    }

    fn read_certificate(&mut self, name: &str) -> Option<(Version, Arc<ServerCertificate>)> {
        let last_good = self.previous.and_then(|port| port.certificates.get(name)).cloned();
        let key = Key::new(Kind::Certificate, name);
        let Some(resource) = self.state.get(&key) else {
            self.refuse(&key, "CertificateMissing", format!("the Secret {name} is not there"));
            return None;
        };
        if let Some((_, same)) = last_good.as_ref().filter(|(v, _)| *v == resource.version) {
            return Some((resource.version, same.clone()));
        }
        let ResourceKind::Certificate(source) = &*resource.content else { return last_good };
        match parse(source) {
            Ok(certificate) => Some((resource.version, Arc::new(certificate))),
            Err((reason, message)) => {
                self.refuse(&key, reason, message);
                last_good
            }
        }
    }
}

fn parse(source: &Certificate) -> Result<ServerCertificate, (&'static str, String)> {
    ServerCertificate::parse(source, &PROVIDER)
        .map_err(|error| (error.reason(), format!("Secret {}: {error}", source.name)))
}
