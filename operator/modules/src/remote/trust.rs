//! Whose certificates are believed.

use k8s_openapi::api::core::v1::ConfigMap;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use std::sync::Arc;

/// Key of the certificates in a ConfigMap, as in that of a BackendTLSPolicy of the Gateway API.
const KEY: &str = "ca.crt";

/// Trusts the public authorities that browsers trust: an image from scratch has no others.
pub(crate) fn public() -> Result<Arc<ClientConfig>, rustls::Error> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    trusting(roots)
}

/// Trusts those of a ConfigMap, and no other.
///
/// # Errors
/// What is wrong with the ConfigMap.
pub(crate) fn private(map: &ConfigMap) -> Result<Arc<ClientConfig>, String> {
    let pem = map.data.as_ref().and_then(|data| data.get(KEY)).ok_or("it has no key ca.crt")?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("ca.crt is no PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("a certificate of ca.crt: {error}"))?;
    }
    if roots.is_empty() {
        return Err("ca.crt holds no certificate".to_owned());
    }
    trusting(roots).map_err(|error| error.to_string())
}

fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
