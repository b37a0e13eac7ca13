//! Whom the client believes: Mozilla's roots, which are built in, since the operator's image has no files
//! of a system; and those of `AWS_CA_BUNDLE`, as other AWS tools take them.

use aws_sdk_ec2::config::SharedHttpClient;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// A file with further roots as PEM.
const BUNDLE: &str = "AWS_CA_BUNDLE";

/// Trust that cannot be set up. Whoever set the variable is at fault.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("{BUNDLE}={path}: {source}")]
    Bundle {
        /// Its path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The roots are no certificates.
    #[error("the roots for EC2's endpoint: {0}")]
    Roots(String),
}

/// A client of HTTPS.
///
/// # Errors
/// [`TrustError`].
pub(crate) fn http_client() -> Result<SharedHttpClient, TrustError> {
    // The system's own are not looked for: where there are none that is an error to the library.
    let mut store = TrustStore::empty();
    for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        store = store.with_pem_certificate(pem(root));
    }
    if let Some(path) = std::env::var(BUNDLE).ok().filter(|path| !path.is_empty()) {
        let bundle = std::fs::read(&path);
        let bundle = bundle.map_err(|source| TrustError::Bundle { path, source })?;
        store = store.with_pem_certificate(bundle);
    }
    let context = TlsContext::builder().with_trust_store(store).build();
    let context = context.map_err(|error| TrustError::Roots(error.to_string()))?;
    let builder = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    Ok(builder.tls_context(context).build_https())
}

fn pem(der: &[u8]) -> String {
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let text = STANDARD.encode(der);
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_made_without_any_file_of_the_system() {
        let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
        assert!(roots.len() > 50);
        let pem = pem(&roots[0]);
        assert!(pem.lines().all(|line| line.len() <= 64));
        http_client().unwrap();
    }
}
