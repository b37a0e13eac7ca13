//! TLS between operator and nodes: version 1.3, and HTTP/2 in it.

use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::sync::Arc;

const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// The name of HTTP/2 (RFC 9113 section 3.2).
const HTTP2: &[u8] = b"h2";

/// A certificate, a key or a trust anchor cannot be used. Who wrote it is at fault.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It is no PEM, or holds nothing of its kind.
    #[error("cannot read the {0}: {1}")]
    Pem(&'static str, rustls_pki_types::pem::Error),
    /// There is none.
    #[error("the trust anchors hold no certificate")]
    NoAnchor,
    /// It does not fit.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// How the operator proves itself: a chain, leaf first, and its key, as PEM.
///
/// # Errors
/// [`TlsError`].
pub fn server_config(chain_pem: &[u8], key_pem: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates("certificate chain", chain_pem)?;
    let key =
        PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| TlsError::Pem("key", error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(VERSIONS)?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(Arc::new(config))
}

/// Whom a node trusts: the certificates of an operator's CA, as PEM.
///
/// # Errors
/// [`TlsError`].
pub fn client_config(anchors_pem: &[u8]) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for anchor in certificates("trust anchors", anchors_pem)? {
        roots.add(anchor)?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoAnchor);
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(VERSIONS)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(Arc::new(config))
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<_, _> = CertificateDer::pem_slice_iter(pem).collect();
    read.map_err(|error| TlsError::Pem(what, error))
}
