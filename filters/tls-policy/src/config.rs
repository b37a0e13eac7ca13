//! What the policy is configured with.

use std::collections::BTreeMap;

use penstock_filter::config;
use penstock_filter::tls::ClientAuth;

/// Who may connect, and on what terms. It can only tighten what the Gateway allows.
#[config]
pub struct Config {
    /// Server names that a client may ask for: exact, or `*.example.com` for every name below it.
    /// All where empty.
    #[serde(default)]
    pub(crate) allowed_names: Vec<String>,
    /// Name of a TLS profile that the `GatewayConfig` declares.
    pub(crate) profile: Option<String>,
    /// Whether the client is asked for a certificate, against the trust anchors of the Gateway's
    /// `tls.frontend`.
    #[serde(default)]
    pub(crate) client_certificate: ClientCertificate,
    /// Subject alternative names, one of which the client's certificate must have. All where empty.
    #[serde(default)]
    pub(crate) allowed_sans: Vec<AllowedSan>,
    /// Attributes of each exchange on the connection, as templates over `{san}` (with its kind:
    /// `uri:spiffe://a/b`), `{san.value}`, `{subject}`, `{issuer}`, `{serial}` and `{sha256}` of the
    /// client's certificate. Header rules read them as `{attribute.NAME}`.
    #[serde(default)]
    pub(crate) attributes: BTreeMap<String, String>,
}

/// Whether the client is asked for a certificate.
#[config]
#[derive(Default, Copy, PartialEq, Eq)]
pub(crate) enum ClientCertificate {
    /// Not asked.
    #[default]
    None,
    /// Asked, and let in without one.
    Request,
    /// Turned away without one.
    Require,
}

/// A subject alternative name that is let in.
#[config]
pub(crate) enum AllowedSan {
    /// A DNS name: exact, or `*.example.com` for every name below it.
    Dns(String),
    /// A URI, exact.
    Uri(String),
    /// The beginning of a URI, up to and with a slash.
    UriPrefix(String),
    /// An email address, exact.
    Email(String),
    /// An IP address.
    Ip(String),
}

impl From<ClientCertificate> for ClientAuth {
    fn from(certificate: ClientCertificate) -> ClientAuth {
        match certificate {
            ClientCertificate::None => ClientAuth::None,
            ClientCertificate::Request => ClientAuth::Request,
            ClientCertificate::Require => ClientAuth::Require,
        }
    }
}
