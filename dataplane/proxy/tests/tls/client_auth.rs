//! Client certificates (Gateway API, section 7 point 34) and TLS policies on them.

use std::sync::Arc;

use penstock_config::ValidationMode;
use penstock_filter_host::{Alert, ClientAuth, PeerDecision, San};
use penstock_proxy::tls::RejectReason;
use rustls::AlertDescription;

use crate::rig::*;

/// Who comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Nobody,
    Valid,
    WrongCa,
    Expired,
}

/// What becomes of it.
#[derive(Debug, PartialEq)]
enum Fate {
    Named,
    Unnamed,
    Refused(AlertDescription),
}

struct Cast {
    authority: Authority,
    valid: Identity,
    wrong_ca: Identity,
    expired: Identity,
}

impl Cast {
    fn new() -> Self {
        let authority = Authority::new();
        let mut past = params(&["client"]);
        past.not_after = rcgen::date_time_ymd(2021, 1, 1);
        Self {
            valid: authority.client("client"),
            wrong_ca: Authority::new().client("client"),
            expired: authority.sign(&past),
            authority,
        }
    }

    fn world(&self, mode: Option<ValidationMode>) -> World {
        let mut world = World::simple(&self.authority);
        let anchors = self.authority.pem();
        world.listener("https", "", &["infra/cert"], mode.map(|mode| (mode, anchors.as_str())));
        world
    }

    fn identity(&self, who: Who) -> Option<&Identity> {
        match who {
            Who::Nobody => None,
            Who::Valid => Some(&self.valid),
            Who::WrongCa => Some(&self.wrong_ca),
            Who::Expired => Some(&self.expired),
        }
    }
}

#[tokio::test]
async fn point_34_modes_policies_and_clients() {
    use Fate::{Named, Unnamed};
    use ValidationMode::{AllowInsecureFallback, AllowValidOnly, OnDemand};
    let cast = Cast::new();
    let required = || Fate::Refused(AlertDescription::CertificateRequired);
    let unknown = || Fate::Refused(AlertDescription::UnknownCA);
    let expired = || Fate::Refused(AlertDescription::CertificateExpired);
    let strict = || [required(), Named, unknown(), expired()];
    // In the order of `Who`.
    for (mode, policy, fates) in [
        (None, ClientAuth::None, [Unnamed, Unnamed, Unnamed, Unnamed]),
        (Some(AllowValidOnly), ClientAuth::None, strict()),
        (Some(AllowValidOnly), ClientAuth::Request, strict()),
        (Some(AllowInsecureFallback), ClientAuth::None, [Unnamed, Named, Unnamed, Unnamed]),
        (Some(AllowInsecureFallback), ClientAuth::Request, [Unnamed, Named, Unnamed, Unnamed]),
        (Some(AllowInsecureFallback), ClientAuth::Require, strict()),
        (Some(OnDemand), ClientAuth::None, [Unnamed, Unnamed, Unnamed, Unnamed]),
        (Some(OnDemand), ClientAuth::Request, [Unnamed, Named, unknown(), expired()]),
        (Some(OnDemand), ClientAuth::Require, strict()),
    ] {
        let mut world = cast.world(mode);
        let version = world.filter("ns/p", 1);
        world.binding("https", "", &["ns/p"]);
        let policies = Policies::with([("ns/p", FakeFilter::new(version).asking(policy))]);
        let port = world.port(None);
        for versions in BOTH {
            for (who, fate) in
                [Who::Nobody, Who::Valid, Who::WrongCa, Who::Expired].into_iter().zip(&fates)
            {
                let client = Client::new(&cast.authority, versions, cast.identity(who));
                let seen = match exchange(&port, &policies, &client, "example.org").await {
                    (Ok(session), Ok(_)) if session.client_cert.is_some() => Named,
                    (Ok(_), Ok(_)) => Unnamed,
                    (Err(reject), Err(Unserved::Alert(alert))) => {
                        assert_eq!(reject.reason, RejectReason::ClientCertificate);
                        assert_eq!(reject.alert, Some(alert));
                        Fate::Refused(alert)
                    }
                    other => panic!("{other:?}"),
                };
                assert_eq!(seen, *fate, "{mode:?}, policy {policy:?}, {who:?}, {versions:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_policy_sees_the_verified_certificate_and_nothing_of_an_unverified_one() {
    let cast = Cast::new();
    let mut world = cast.world(Some(ValidationMode::AllowInsecureFallback));
    let version = world.filter("ns/p", 1);
    world.binding("https", "", &["ns/p"]);
    let port = world.port(None);
    let der = cast.valid.chain[0].to_vec();
    for want_der in [true, false] {
        let der = der.clone();
        let mut filter = FakeFilter::new(version).on_certificate(move |peer| {
            let Some(peer) = peer else { return decided(PeerDecision::Accept(Vec::new())) };
            assert_eq!(peer.sans, [San::Dns("client".into())]);
            let expected = if want_der { vec![der.clone()] } else { Vec::new() };
            assert_eq!(peer.chain, expected);
            decided(PeerDecision::Accept(vec![("who".into(), "client".into())]))
        });
        filter.plan.want_der = want_der;
        let policies = Policies::with([("ns/p", filter)]);
        for versions in BOTH {
            for (who, named) in [
                (Who::Valid, true),
                (Who::WrongCa, false),
                (Who::Expired, false),
                (Who::Nobody, false),
            ] {
                let client = Client::new(&cast.authority, versions, cast.identity(who));
                let (session, _) = served(&port, &policies, &client, "example.org").await;
                assert_eq!(session.attributes.len(), usize::from(named), "{who:?}");
                let calls = policies.take_calls();
                assert_eq!(calls.len(), 1);
                assert_eq!(calls[0].ends_with('-'), !named, "{calls:?}");
                let cert = session.client_cert;
                assert_eq!(
                    cert.as_ref().and_then(|c| c.san.as_deref()),
                    named.then_some("dns:client")
                );
                assert!(cert.is_none_or(|cert| cert.fingerprint.len() == 64));
            }
        }
    }
}

#[tokio::test]
async fn a_policy_decides_by_the_names_of_the_certificate() {
    let cast = Cast::new();
    let mut world = cast.world(Some(ValidationMode::OnDemand));
    let version = world.filter("ns/p", 1);
    world.binding("https", "", &["ns/p"]);
    let port = world.port(None);
    let filter = FakeFilter::new(version).asking(ClientAuth::Require).on_certificate(|peer| {
        let peer = peer.expect("nobody comes through without a certificate");
        decided(match peer.sans.contains(&San::Dns("client".into())) {
            true => PeerDecision::Accept(Vec::new()),
            false => PeerDecision::Reject(Alert::AccessDenied),
        })
    });
    let policies = Policies::with([("ns/p", filter)]);
    let other = cast.authority.client("other");
    for versions in BOTH {
        let client = Client::new(&cast.authority, versions, Some(&cast.valid));
        served(&port, &policies, &client, "example.org").await;
        let client = Client::new(&cast.authority, versions, Some(&other));
        let (reject, alert) = refused(&port, &policies, &client, "example.org").await;
        assert_eq!(alert, AlertDescription::AccessDenied);
        assert_eq!(reject.filter.as_deref(), Some("ns/p"));
    }
}

#[tokio::test]
async fn a_policy_is_not_asked_about_a_certificate_whose_key_the_client_does_not_have() {
    let cast = Cast::new();
    let thief = cast.authority.client("thief");
    for mode in [ValidationMode::AllowValidOnly, ValidationMode::AllowInsecureFallback] {
        let mut world = cast.world(Some(mode));
        let version = world.filter("ns/p", 1);
        world.binding("https", "", &["ns/p"]);
        let port = world.port(None);
        let filter =
            FakeFilter::new(version).on_certificate(|_| decided(PeerDecision::Accept(Vec::new())));
        let policies = Policies::with([("ns/p", filter)]);
        for versions in BOTH {
            let mut config = Client::config(&cast.authority, versions, None);
            config.client_auth_cert_resolver = Arc::new(Always::new(&cast.valid, thief.key()));
            let client = Client(Arc::new(config));
            let (_, alert) = refused(&port, &policies, &client, "example.org").await;
            assert_eq!(alert, AlertDescription::DecryptError, "{mode:?}");
            assert_eq!(policies.take_calls(), [""; 0]);
        }
    }
}

#[tokio::test]
async fn chains_with_an_intermediate_verify() {
    let cast = Cast::new();
    let port = cast.world(Some(ValidationMode::AllowValidOnly)).port(None);
    let (mut leaf, intermediate) = cast.authority.client_of_intermediate("client");
    let client = Client::new(&cast.authority, TLS13, Some(&leaf));
    let (_, alert) = refused(&port, &Policies::none(), &client, "example.org").await;
    assert_eq!(alert, AlertDescription::UnknownCA, "the intermediate is missing");
    leaf.chain.push(intermediate);
    let client = Client::new(&cast.authority, TLS13, Some(&leaf));
    let (session, _) = served(&port, &Policies::none(), &client, "example.org").await;
    let san = session.client_cert.and_then(|cert| cert.san);
    assert_eq!(san.as_deref(), Some("dns:client"));
}
