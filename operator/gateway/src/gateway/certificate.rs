//! `certificateRefs`: certificates and keys from Secrets.

use crate::condition::Problem;
use crate::reference_grant::{Reference, is_core};
use crate::{Index, Name, hostname};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use penstock_config as config;
use penstock_resources::conditions::reasons;
use penstock_resources::gateway_api::gateways::GatewayListenersTlsCertificateRefs;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::borrow::Cow;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Keys of a Secret of type `kubernetes.io/tls`.
const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";

/// A certificate that can be served.
#[derive(Clone, Debug)]
pub(crate) struct Certified {
    pub(crate) resource: config::Certificate,
    /// DNS names that it is for, lower-case.
    pub(crate) names: Vec<String>,
    /// Why clients will refuse it at this time.
    pub(crate) outdated: Option<Problem>,
}

/// The certificate that a reference in `namespace` leads to.
///
/// # Errors
/// `InvalidCertificateRef` or `RefNotPermitted`.
pub(crate) fn resolve(
    index: &Index,
    namespace: &str,
    reference: &GatewayListenersTlsCertificateRefs,
) -> Result<Certified, Problem> {
    let group = reference.group.as_deref().unwrap_or_default();
    let kind = reference.kind.as_deref().unwrap_or("Secret");
    if !is_core(group) || kind != "Secret" {
        return Err(invalid(format!(
            "certificateRefs names {kind} of group `{group}`; only Secrets of the core group hold \
             certificates"
        )));
    }
    let to = Name::new(reference.namespace.as_deref().unwrap_or(namespace), &reference.name);
    let grant =
        Reference { from_kind: "Gateway", from_namespace: namespace, to_kind: "Secret", to: &to };
    if !grant.is_permitted(index) {
        return Err(Problem::new(reasons::REF_NOT_PERMITTED, grant.missing()));
    }
    let Some(secret) = index.secrets.get(&to) else {
        return Err(invalid(format!("Secret {to} does not exist")));
    };
    parse(&to, secret, index.settings().now)
}

fn parse(name: &Name, secret: &Secret, now: Option<i64>) -> Result<Certified, Problem> {
    let field = |key: &str| {
        value(secret, key).ok_or_else(|| {
            invalid(format!("Secret {name} lacks `{key}`: make it of type kubernetes.io/tls"))
        })
    };
    let (chain_pem, key_pem) = (field(CHAIN)?, field(KEY)?);
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain_pem)
        .collect::<Result<_, _>>()
        .map_err(|e| invalid(format!("`{CHAIN}` of Secret {name} is no PEM: {e}")))?;
    let Some(leaf) = chain.first().cloned() else {
        return Err(invalid(format!("`{CHAIN}` of Secret {name} holds no certificate in PEM")));
    };
    let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|e| {
        invalid(format!("`{KEY}` of Secret {name} holds no private key in PEM: {e}"))
    })?;
    let (_, parsed) = X509Certificate::from_der(&leaf)
        .map_err(|e| invalid(format!("the certificate of Secret {name} is no X.509: {e}")))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|e| {
        invalid(format!("`{CHAIN}` and `{KEY}` of Secret {name} do not belong together: {e}"))
    })?;
    let resource = config::Certificate {
        name: name.to_string(),
        chain_pem: chain_pem.into_owned(),
        key_pem: key_pem.into_owned(),
    };
    let outdated = now.and_then(|now| outdated(name, &parsed, now));
    Ok(Certified { resource, names: dns_names(&parsed), outdated })
}

fn value<'a>(secret: &'a Secret, key: &str) -> Option<Cow<'a, [u8]>> {
    // stringData overrides data, as when an API server takes the Secret in.
    let text = secret.string_data.as_ref().and_then(|d| d.get(key));
    let bytes = || secret.data.as_ref().and_then(|d| d.get(key));
    text.map(|t| Cow::Borrowed(t.as_bytes())).or_else(|| bytes().map(|b| Cow::Borrowed(&b.0[..])))
}

fn outdated(name: &Name, certificate: &X509Certificate<'_>, now: i64) -> Option<Problem> {
    let validity = certificate.validity();
    let time = |seconds: i64| {
        Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |t| t.to_string())
    };
    let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let what = if now > to {
        format!("expired at {}", time(to))
    } else if now < from {
        format!("is not valid before {}", time(from))
    } else {
        return None;
    };
    Some(invalid(format!(
        "the certificate of Secret {name} {what}; it is still presented, and clients refuse it: \
         renew it"
    )))
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    let mut names: Vec<String> = names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(hostname::normalize(name)),
            _ => None,
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

fn invalid(message: String) -> Problem {
    Problem::new(reasons::INVALID_CERTIFICATE_REF, message)
}
