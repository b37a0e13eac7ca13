//! What a handshake came to.

use std::fmt;
use std::sync::Arc;

use penstock_config::Version;
use rustls::AlertDescription;

/// A connection whose handshake is complete.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsSession {
    /// Key of the listener, `namespace/gateway/listener`.
    pub listener: String,
    /// Server name that the client asked for, lower-case.
    pub sni: Option<String>,
    /// Negotiated application protocol; `None` is HTTP/1.1.
    pub alpn: Option<&'static str>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// TLS filters that the connection satisfied, each in the version that judged it. A filter that
    /// failed under `onFailure: Open` counts as satisfied: its owner asked to serve without its
    /// judgement, and a 421 would be a refusal by another name, for ever repeated by the client.
    pub satisfied: Arc<[(String, Version)]>,
    /// How many filter calls failed under `onFailure: Open`.
    pub skipped: u32,
    /// Attributes from TLS filters; the last of a name counts.
    pub attributes: Arc<[(Box<str>, Box<str>)]>,
    /// The client's certificate. Only of a verified one.
    pub client_cert: Option<ClientCert>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

/// A verified client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCert {
    /// First subject alternative name, as `dns:…`, `uri:…`, `email:…` or `ip:…`.
    pub san: Option<String>,
    /// SHA-256 of the certificate, lower-case hexadecimal.
    pub fingerprint: String,
}

/// Whether a connection satisfied the TLS filters of a rule in their current versions. Where not,
/// the request is answered 421 (RFC 9110, section 15.5.20) and the client connects anew.
///
/// `current` gives the version of a filter in the snapshot that serves the request. A filter that
/// the snapshot does not know cannot be satisfied. Without TLS (`session` is `None`) no filter is.
pub fn required_satisfied(
    session: Option<&TlsSession>,
    rule_filters: &[String],
    current: impl Fn(&str) -> Option<Version>,
) -> bool {
    rule_filters.iter().all(|filter| {
        let (Some(session), Some(version)) = (session, current(filter)) else {
            return false;
        };
        session.satisfied.iter().any(|(name, judged)| name == filter && *judged == version)
    })
}

/// A handshake that did not complete. The connection is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct TlsReject {
    /// Why, bounded.
    pub reason: RejectReason,
    /// The alert the client got; `None` where none was sent or the TLS library chose it.
    pub alert: Option<AlertDescription>,
    /// Server name that the client asked for, lower-case.
    pub sni: Option<String>,
    /// The TLS filter that refused or failed, `namespace/name`.
    pub filter: Option<String>,
    /// For the log, never for the client.
    pub message: String,
}

/// Why a handshake did not complete. Label value for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// The client was too slow. The client or the network is at fault.
    Timeout,
    /// The client went away.
    Disconnected,
    /// What came was no ClientHello.
    NotTls,
    /// No listener serves the name.
    UnknownName,
    /// The listener cannot be served: its certificates or trust anchors are unusable.
    ListenerRefused,
    /// A policy decided against the client.
    PolicyRejected,
    /// A policy could not decide, and its `onFailure` is `Closed`.
    PolicyFailed,
    /// A policy is not there: it could not be prepared, or it is no TLS policy.
    PolicyUnavailable,
    /// A policy asks for client certificates, but the Gateway has no trust anchors for them.
    NoTrustAnchors,
    /// The client's certificate is missing or does not verify.
    ClientCertificate,
    /// Client and profile have no version, suite or application protocol in common.
    Incompatible,
    /// The client ended the handshake with an alert.
    ClientAlert,
    /// Anything else that violates the protocol, or a failure of this side.
    Protocol,
}

impl RejectReason {
    /// Label value for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            RejectReason::Timeout => "timeout",
            RejectReason::Disconnected => "disconnected",
            RejectReason::NotTls => "not-tls",
            RejectReason::UnknownName => "unknown-name",
            RejectReason::ListenerRefused => "listener-refused",
            RejectReason::PolicyRejected => "policy-rejected",
            RejectReason::PolicyFailed => "policy-failed",
            RejectReason::PolicyUnavailable => "policy-unavailable",
            RejectReason::NoTrustAnchors => "no-trust-anchors",
            RejectReason::ClientCertificate => "client-certificate",
            RejectReason::Incompatible => "incompatible",
            RejectReason::ClientAlert => "client-alert",
            RejectReason::Protocol => "protocol",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TlsReject {
    pub(super) fn new(
        reason: RejectReason,
        alert: Option<AlertDescription>,
        message: impl Into<String>,
    ) -> Self {
        Self { reason, alert, sni: None, filter: None, message: message.into() }
    }

    pub(super) fn by_filter(mut self, filter: &str) -> Self {
        self.filter = Some(filter.to_owned());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(satisfied: &[(&str, u8)]) -> TlsSession {
        let satisfied: Vec<_> =
            satisfied.iter().map(|(name, v)| ((*name).to_owned(), Version([*v; 16]))).collect();
        TlsSession {
            listener: "infra/gw/https".into(),
            sni: None,
            alpn: None,
            version: "TLSv1.3",
            satisfied: satisfied.into(),
            skipped: 0,
            attributes: Arc::new([]),
            client_cert: None,
            resumed: false,
        }
    }

    #[test]
    fn decision_7_a_route_that_asks_for_policies_the_connection_did_not_satisfy_is_misdirected() {
        let current = |filter: &str| match filter {
            "ns/a" => Some(Version([1; 16])),
            "ns/b" => Some(Version([2; 16])),
            _ => None,
        };
        let both = session(&[("ns/a", 1), ("ns/b", 2)]);
        let old = session(&[("ns/a", 9)]);
        let gone = session(&[("ns/gone", 1)]);
        for (session, required, satisfied) in [
            (Some(&both), &[][..], true),
            (Some(&both), &["ns/a"][..], true),
            (Some(&both), &["ns/b", "ns/a"][..], true),
            (Some(&both), &["ns/a", "ns/c"][..], false),
            (Some(&old), &["ns/a"][..], false),
            (Some(&old), &[][..], true),
            (Some(&gone), &["ns/gone"][..], false),
            (None, &["ns/a"][..], false),
            (None, &[][..], true),
        ] {
            let required: Vec<String> = required.iter().map(|f| (*f).to_owned()).collect();
            assert_eq!(required_satisfied(session, &required, current), satisfied, "{required:?}");
        }
    }
}
