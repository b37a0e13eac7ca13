//! Verification of client certificates.

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};

use super::peer;

/// The trust anchors of a listener.
#[derive(Debug)]
pub(super) struct Anchors {
    verifier: Arc<dyn ClientCertVerifier>,
    /// SHA-256 of the PEM text: sessions are bound to it.
    pub(super) digest: [u8; 32],
}

impl Anchors {
    /// Reads trust anchors. One that cannot be used is left out with a warning, since a bundle
    /// must not fail as a whole for one odd certificate in it.
    ///
    /// # Errors
    /// A sentence, when none is usable. Whoever wrote the bundle is at fault.
    pub(super) fn parse(
        pem: &str,
        listener: &str,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let mut last_problem = "it holds no certificate".to_owned();
        for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let added = der
                .map_err(|error| error.to_string())
                .and_then(|der| roots.add(der).map_err(|error| error.to_string()));
            if let Err(problem) = added {
                tracing::warn!(listener, problem, "a client trust anchor is left out");
                last_problem = problem;
            }
        }
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let verifier = builder
            .build()
            .map_err(|_| format!("no usable CA certificate in the bundle: {last_problem}"))?;
        Ok(Self { verifier, digest: Sha256::digest(pem).into() })
    }
}

/// What is known of the client's certificate on one connection.
#[derive(Debug, Default)]
pub(super) struct PeerSlot(Mutex<Option<VerifiedPeer>>);

/// A chain was verified, in this handshake or in the one that is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VerifiedPeer {
    /// When the first certificate of the chain ends, seconds since 1970.
    pub(super) valid_until: i64,
}

impl PeerSlot {
    pub(super) fn get(&self) -> Option<VerifiedPeer> {
        *self.0.lock()
    }

    pub(super) fn set(&self, peer: Option<VerifiedPeer>) {
        *self.0.lock() = peer;
    }
}

/// The verifier of one connection: what it finds must reach the ticket and the session of exactly
/// this connection, and rustls gives a verifier no other way to tell.
#[derive(Debug)]
pub(super) struct ConnectionVerifier {
    pub(super) anchors: Arc<Anchors>,
    /// A client without a certificate is refused.
    pub(super) mandatory: bool,
    /// A client with a certificate that does not verify is served as one without
    /// (`AllowInsecureFallback`).
    pub(super) lenient: bool,
    pub(super) slot: Arc<PeerSlot>,
}

impl ConnectionVerifier {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<VerifiedPeer, Error> {
        self.anchors.verifier.verify_client_cert(leaf, intermediates, now)?;
        let chain: Vec<_> = std::iter::once(leaf).chain(intermediates).collect();
        let valid_until = peer::valid_until(&chain)
            .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        Ok(VerifiedPeer { valid_until })
    }

    /// Of a client that counts as one without a certificate no signature is needed either.
    fn counts_as_none(&self) -> bool {
        self.lenient && self.slot.get().is_none()
    }
}

impl ClientCertVerifier for ConnectionVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.anchors.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verify(leaf, intermediates, now);
        // Cleared as well: a ticket that was not resumed after all may have left something.
        self.slot.set(verified.as_ref().ok().copied());
        match verified {
            Err(error) if !self.lenient => Err(error),
            _ => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.counts_as_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        self.anchors.verifier.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.counts_as_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        self.anchors.verifier.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.anchors.verifier.supported_verify_schemes()
    }
}
