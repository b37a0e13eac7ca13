//! Session tickets.
//!
//! A ticket key belongs to everything a session was allowed under: the policies in their versions,
//! the profile, how strictly a certificate was asked for and the trust anchors. A ticket from
//! before a change of any of them cannot be decrypted, so the client does a full handshake.
//! Certificates of the server are not part of it: rotating them costs no session.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use penstock_config::{TlsVersion, Version};
use penstock_filter_host::ClientAuth;
use rustls::Error;
use rustls::server::ProducesTickets;

use super::certificate::now;
use super::client_auth::{PeerSlot, VerifiedPeer};

/// What a session was allowed under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TermsKey {
    /// Policies in order, each in its version.
    pub(super) policies: Vec<(String, Version)>,
    /// Least protocol version.
    pub(super) min_version: TlsVersion,
    /// Whether a certificate is asked for.
    pub(super) client_auth: ClientAuth,
    /// Whether one that does not verify counts as none.
    pub(super) lenient: bool,
    /// Digest of the trust anchors, where a certificate is asked for.
    pub(super) anchors: Option<[u8; 32]>,
}

/// Ticket keys of one listener, shared by the snapshots in which it appears and by all workers.
#[derive(Debug, Default)]
pub(super) struct TicketKeys(Mutex<HashMap<TermsKey, Arc<dyn ProducesTickets>>>);

impl TicketKeys {
    /// The keys for these terms, new ones the first time.
    pub(super) fn of(&self, terms: &TermsKey) -> Result<Arc<dyn ProducesTickets>, Error> {
        let mut keys = self.0.lock();
        if let Some(tickets) = keys.get(terms) {
            return Ok(tickets.clone());
        }
        let tickets = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        keys.insert(terms.clone(), tickets.clone());
        Ok(tickets)
    }

    /// Forgets keys whose terms are no longer current.
    pub(super) fn retain(&self, current: impl Fn(&TermsKey) -> bool) {
        self.0.lock().retain(|terms, _| current(terms));
    }
}

/// Bytes before what rustls puts into a ticket: whether a client certificate was verified, and
/// until when its chain is valid.
const HEAD: usize = 9;

/// Tickets of one connection that asks for a client certificate: a session lasts no longer than
/// the certificate it rests on. A session past that is not resumed; in the full handshake that
/// follows a client may show a renewed certificate.
#[derive(Debug)]
pub(super) struct PeerTickets {
    pub(super) keys: Arc<dyn ProducesTickets>,
    pub(super) slot: Arc<PeerSlot>,
}

impl ProducesTickets for PeerTickets {
    fn enabled(&self) -> bool {
        self.keys.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.keys.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(HEAD + plain.len());
        let peer = self.slot.get();
        bytes.push(u8::from(peer.is_some()));
        bytes.extend(peer.map_or(0, |peer| peer.valid_until).to_be_bytes());
        bytes.extend_from_slice(plain);
        self.keys.encrypt(&bytes)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let bytes = self.keys.decrypt(cipher)?;
        let (verified, rest) = bytes.split_first()?;
        let (valid_until, plain) = rest.split_first_chunk()?;
        let peer = match verified {
            0 => None,
            _ => Some(VerifiedPeer { valid_until: i64::from_be_bytes(*valid_until) }),
        };
        if peer.is_some_and(|peer| peer.valid_until < now()) {
            return None;
        }
        self.slot.set(peer);
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(version: u8) -> TermsKey {
        TermsKey {
            policies: vec![("ns/policy".into(), Version([version; 16]))],
            min_version: TlsVersion::Tls12,
            client_auth: ClientAuth::None,
            lenient: false,
            anchors: None,
        }
    }

    #[test]
    fn decision_7_tickets_of_another_policy_version_never_open() {
        let keys = TicketKeys::default();
        let ticket = keys.of(&terms(1)).expect("random").encrypt(b"session").expect("encrypts");
        let open = |version| keys.of(&terms(version)).expect("random").decrypt(&ticket);
        assert_eq!(open(1).as_deref(), Some(&b"session"[..]));
        assert_eq!(open(2), None);
        keys.retain(|terms| terms.policies[0].1 == Version([2; 16]));
        assert_eq!(open(1), None, "forgotten for good, also after a way back");
    }

    #[test]
    fn a_session_lasts_no_longer_than_the_certificate_it_rests_on() {
        let keys = TicketKeys::default().of(&terms(1)).expect("random");
        let tickets = |peer| {
            let slot = Arc::new(PeerSlot::default());
            slot.set(peer);
            PeerTickets { keys: keys.clone(), slot }
        };
        for (valid_until, resumed) in [(now() + 60, true), (now() - 1, false), (0, false)] {
            let peer = Some(VerifiedPeer { valid_until });
            let ticket = tickets(peer).encrypt(b"session").expect("encrypts");
            let fresh = tickets(None);
            let opened = fresh.decrypt(&ticket);
            assert_eq!(opened.as_deref(), resumed.then_some(&b"session"[..]), "{valid_until}");
            assert_eq!(fresh.slot.get(), peer.filter(|_| resumed));
        }
        let ticket = tickets(None).encrypt(b"session").expect("encrypts");
        let fresh = tickets(Some(VerifiedPeer { valid_until: i64::MAX }));
        assert_eq!(fresh.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(fresh.slot.get(), None, "a session without a certificate brings none");
    }
}
