//! The certificates of a listener.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use penstock_config::Certificate;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Why a certificate cannot be used. Whoever wrote the Secret is at fault; a retry does not help.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CertificateError {
    #[error("tls.crt is not a PEM certificate chain: {0}")]
    Chain(String),
    #[error("tls.key is not a PEM private key: {0}")]
    Key(String),
    #[error("tls.key does not belong to the first certificate of tls.crt")]
    Mismatch,
    #[error("the certificate expired {0}; renew it")]
    Expired(String),
}

impl CertificateError {
    /// Bounded reason.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            CertificateError::Chain(_) | CertificateError::Key(_) => "InvalidCertificate",
            CertificateError::Mismatch => "CertificateKeyMismatch",
            CertificateError::Expired(_) => "CertificateExpired",
        }
    }
}

/// A certificate that can be served.
#[derive(Debug)]
pub(super) struct ServerCertificate {
    key: Arc<CertifiedKey>,
    /// DNS names it is for, lower-case.
    names: Vec<String>,
}

impl ServerCertificate {
    /// Reads a chain and its key and checks that they belong together and are not past.
    pub(super) fn parse(
        source: &Certificate,
        provider: &CryptoProvider,
    ) -> Result<Self, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(&source.chain_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| CertificateError::Chain(error.to_string()))?;
        let Some(leaf) = chain.first() else {
            return Err(CertificateError::Chain("it holds no certificate".into()));
        };
        let (names, not_after) = names_and_end(leaf).map_err(CertificateError::Chain)?;
        if let Some(seconds) = not_after.checked_sub(now()).filter(|left| *left < 0) {
            return Err(CertificateError::Expired(format!("{} seconds ago", -seconds)));
        }
        let key = PrivateKeyDer::from_pem_slice(&source.key_pem)
            .map_err(|error| CertificateError::Key(error.to_string()))?;
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => CertificateError::Mismatch,
            Error::InvalidCertificate(error) => CertificateError::Chain(format!("{error:?}")),
            error => CertificateError::Key(error.to_string()),
        })?;
        Ok(Self { key: Arc::new(key), names })
    }

    /// How well it fits; the greater one is the better one.
    ///
    /// The longest matching name first (Gateway API, "longest matching SNI"). A wildcard of a
    /// certificate stands for exactly one label (RFC 6125, section 6.4.3). Then keys with the
    /// cheaper signature: an ECDSA handshake costs a third of an RSA one.
    fn fit(&self, name: Option<&str>) -> (usize, usize, bool) {
        let matched = name.map(|name| self.match_lengths(name)).unwrap_or_default();
        (matched.0, matched.1, self.key.key.algorithm() != SignatureAlgorithm::RSA)
    }

    /// Characters of the longest matching name and of the longest matching wildcard.
    fn match_lengths(&self, name: &str) -> (usize, usize) {
        let suffix = name.split_once('.').map(|(_, suffix)| suffix);
        let mut best = (0, 0);
        for own in &self.names {
            match own.strip_prefix("*.") {
                Some(own_suffix) if Some(own_suffix) == suffix => best.1 = best.1.max(own.len()),
                None if own == name => best.0 = best.0.max(own.len()),
                _ => {}
            }
        }
        best
    }

    fn signs_with(&self, offered: &[SignatureScheme]) -> bool {
        self.key.key.choose_scheme(offered).is_some()
    }
}

/// Chooses among a listener's certificates by the client's server name and the signatures it
/// understands; where several are equally good, the first in the order of `certificateRefs`.
#[derive(Debug)]
pub(super) struct Certificates(pub(super) Vec<Arc<ServerCertificate>>);

impl Certificates {
    fn choose(
        &self,
        name: Option<&str>,
        offered: &[SignatureScheme],
    ) -> Option<&ServerCertificate> {
        self.0
            .iter()
            .map(|certificate| &**certificate)
            .enumerate()
            .filter(|(_, certificate)| certificate.signs_with(offered))
            .max_by_key(|(position, certificate)| (certificate.fit(name), Reverse(*position)))
            .map(|(_, certificate)| certificate)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        self.choose(name.as_deref(), hello.signature_schemes()).map(|c| c.key.clone())
    }
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// DNS names of a certificate, lower-case, and the end of its validity.
fn names_and_end(der: &CertificateDer<'_>) -> Result<(Vec<String>, i64), String> {
    let (_, parsed) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let names = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    Ok((names.collect(), parsed.validity().not_after.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};

    fn source(names: &[&str], key: &KeyPair) -> Certificate {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let signed = CertificateParams::new(names).expect("names").self_signed(key).expect("signs");
        Certificate {
            name: "infra/cert".into(),
            chain_pem: signed.pem().into_bytes(),
            key_pem: key.serialize_pem().into_bytes(),
        }
    }

    fn certificate(names: &[&str], key: &KeyPair) -> Arc<ServerCertificate> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Arc::new(ServerCertificate::parse(&source(names, key), &provider).expect("usable"))
    }

    fn ec() -> KeyPair {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key")
    }

    const BOTH: &[SignatureScheme] =
        &[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256];

    #[test]
    fn point_23_the_longest_matching_name_selects_the_certificate() {
        let key = ec();
        let set = Certificates(vec![
            certificate(&["other.test"], &key),
            certificate(&["*.example.org"], &key),
            certificate(&["www.example.org", "example.org"], &key),
            certificate(&["*.a.example.org"], &key),
        ]);
        for (name, expected) in [
            (Some("www.example.org"), 2),
            (Some("api.example.org"), 1),
            (Some("x.a.example.org"), 3),
            (Some("example.org"), 2),
            (Some("y.x.a.example.org"), 0),
            (Some("unknown.test"), 0),
            (None, 0),
        ] {
            let chosen = set.choose(name, BOTH).expect("there is always one");
            assert!(std::ptr::eq(chosen, &*set.0[expected]), "{name:?}");
        }
    }

    #[test]
    fn the_key_type_follows_what_the_client_understands() {
        let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
        let set = Certificates(vec![
            certificate(&["example.org"], &rsa),
            certificate(&["example.org"], &ec()),
        ]);
        for (offered, expected) in [
            (BOTH, Some(1)),
            (&BOTH[..1], Some(1)),
            (&BOTH[1..], Some(0)),
            (&[SignatureScheme::ED25519][..], None),
        ] {
            let chosen = set.choose(Some("example.org"), offered);
            assert_eq!(chosen.is_some(), expected.is_some());
            if let (Some(chosen), Some(expected)) = (chosen, expected) {
                assert!(std::ptr::eq(chosen, &*set.0[expected]), "{offered:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = ec();
        let good = source(&["example.org"], &key);
        let mut past = CertificateParams::new(vec!["example.org".to_owned()]).expect("names");
        past.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let past = past.self_signed(&key).expect("signs").pem().into_bytes();
        let empty = Vec::new;
        let other = ec().serialize_pem().into_bytes();
        for (chain_pem, key_pem, reason) in [
            (empty(), good.key_pem.clone(), "InvalidCertificate"),
            (b"junk".to_vec(), good.key_pem.clone(), "InvalidCertificate"),
            (good.chain_pem.clone(), empty(), "InvalidCertificate"),
            (good.chain_pem.clone(), other, "CertificateKeyMismatch"),
            (past, good.key_pem.clone(), "CertificateExpired"),
        ] {
            let source = Certificate { name: good.name.clone(), chain_pem, key_pem };
            let error = ServerCertificate::parse(&source, &provider).expect_err(reason);
            assert_eq!(error.reason(), reason, "{error}");
            assert!(!error.to_string().contains("PRIVATE"), "no secret in a message");
        }
    }
}
