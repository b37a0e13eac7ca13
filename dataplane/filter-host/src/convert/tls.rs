//! TLS: what a policy sees and decides.

use smallvec::SmallVec;

use super::{Refusal, attributes, clip};
use crate::bindings::policy::tls as raw;
use crate::tls::{
    Alert, ClientAuth, ClientHello, HelloDecision, PeerCertificate, PeerDecision, San, Terms,
};

/// Passes a ClientHello on without copying its strings.
pub(crate) fn hello<R>(hello: &ClientHello, call: impl FnOnce(raw::ClientHello<'_>) -> R) -> R {
    let alpn: SmallVec<[&str; 8]> = hello.alpn.iter().map(String::as_str).collect();
    call(raw::ClientHello {
        listener: &hello.listener,
        peer: &hello.peer,
        sni: hello.sni.as_deref(),
        alpn: &alpn,
        cipher_suites: &hello.cipher_suites,
        signature_schemes: &hello.signature_schemes,
        groups: &hello.groups,
    })
}

/// Passes a certificate on without copying it; the chain only where the plan wants it.
pub(crate) fn peer<R>(
    peer: Option<&PeerCertificate>,
    want_der: bool,
    call: impl FnOnce(Option<raw::PeerCertificate<'_>>) -> R,
) -> R {
    let Some(peer) = peer else { return call(None) };
    let chain: SmallVec<[&[u8]; 4]> = match want_der {
        true => peer.chain.iter().map(Vec::as_slice).collect(),
        false => SmallVec::new(),
    };
    let sans: SmallVec<[raw::San<'_>; 8]> = peer.sans.iter().map(san).collect();
    call(Some(raw::PeerCertificate {
        chain: &chain,
        subject: &peer.subject,
        issuer: &peer.issuer,
        serial: &peer.serial,
        sans: &sans,
        sha256: &peer.sha256,
        not_before: peer.not_before,
        not_after: peer.not_after,
    }))
}

fn san(san: &San) -> raw::San<'_> {
    match san {
        San::Dns(text) => raw::San::Dns(text),
        San::Uri(text) => raw::San::Uri(text),
        San::Email(text) => raw::San::Email(text),
        San::Ip(text) => raw::San::Ip(text),
    }
}

/// A decision on a ClientHello: all of it, or a refusal.
pub(crate) fn hello_decision(decision: raw::HelloDecision) -> Result<HelloDecision, Refusal> {
    Ok(match decision {
        raw::HelloDecision::Default => HelloDecision::Default,
        raw::HelloDecision::Reject(raw) => HelloDecision::Reject(alert(raw)),
        raw::HelloDecision::Terminate(terms) => {
            if let Some(profile) = &terms.profile
                && (profile.is_empty() || profile.len() > 63)
            {
                return Err(Refusal::value(format!("`{}` names no profile", clip(profile))));
            }
            HelloDecision::Terminate(Terms {
                profile: terms.profile,
                client_auth: terms.client_auth.map(client_auth),
                attributes: attributes(terms.attributes)?,
            })
        }
    })
}

/// A decision on a certificate: all of it, or a refusal.
pub(crate) fn peer_decision(decision: raw::PeerDecision) -> Result<PeerDecision, Refusal> {
    Ok(match decision {
        raw::PeerDecision::Accept(fields) => PeerDecision::Accept(attributes(fields)?),
        raw::PeerDecision::Reject(raw) => PeerDecision::Reject(alert(raw)),
    })
}

pub(super) fn client_auth(raw: raw::ClientAuth) -> ClientAuth {
    match raw {
        raw::ClientAuth::None => ClientAuth::None,
        raw::ClientAuth::Request => ClientAuth::Request,
        raw::ClientAuth::Require => ClientAuth::Require,
    }
}

fn alert(raw: raw::Alert) -> Alert {
    match raw {
        raw::Alert::HandshakeFailure => Alert::HandshakeFailure,
        raw::Alert::BadCertificate => Alert::BadCertificate,
        raw::Alert::CertificateExpired => Alert::CertificateExpired,
        raw::Alert::CertificateUnknown => Alert::CertificateUnknown,
        raw::Alert::UnknownCa => Alert::UnknownCa,
        raw::Alert::AccessDenied => Alert::AccessDenied,
        raw::Alert::UnrecognizedName => Alert::UnrecognizedName,
        raw::Alert::CertificateRequired => Alert::CertificateRequired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_passed_on_only_where_the_plan_wants_it() {
        let certificate = PeerCertificate {
            chain: vec![vec![1], vec![2]],
            sans: vec![San::Uri("spiffe://a".to_owned())],
            ..PeerCertificate::default()
        };
        for (want, length) in [(true, 2), (false, 0)] {
            let seen = peer(Some(&certificate), want, |raw| {
                raw.map(|raw| (raw.chain.len(), raw.sans.len()))
            });
            assert_eq!(seen, Some((length, 1)));
        }
        assert!(peer(None, true, |raw| raw.is_none()));
    }
}
