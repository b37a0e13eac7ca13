//! The terms of a handshake: what the Gateway's owner says, tightened by policies. Pure.

use penstock_config::{TlsVersion, ValidationMode};
use penstock_filter_host::ClientAuth;

/// On what terms a handshake goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HandshakeTerms {
    /// Least protocol version.
    pub(super) min_version: TlsVersion,
    /// Whether the client is asked for a certificate.
    pub(super) client_auth: ClientAuth,
    /// Whether a certificate that does not verify counts as none.
    pub(super) lenient: bool,
}

impl HandshakeTerms {
    /// What the owner of the Gateway says: the default profile and `tls.frontend`.
    pub(super) fn of_gateway(min_version: TlsVersion, mode: Option<ValidationMode>) -> Self {
        let client_auth = match mode {
            Some(ValidationMode::AllowValidOnly) => ClientAuth::Require,
            Some(ValidationMode::AllowInsecureFallback) => ClientAuth::Request,
            Some(ValidationMode::OnDemand) | None => ClientAuth::None,
        };
        let lenient = mode == Some(ValidationMode::AllowInsecureFallback);
        Self { min_version, client_auth, lenient }
    }

    /// Takes what a policy wants, where it is stricter. `AllowInsecureFallback` asks already, so a
    /// policy's `request` changes nothing there; its `require` ends the leniency.
    pub(super) fn tighten(&mut self, min_version: Option<TlsVersion>, auth: ClientAuth) {
        self.min_version = self.min_version.max(min_version.unwrap_or(self.min_version));
        self.client_auth = self.client_auth.max(auth);
        self.lenient &= self.client_auth < ClientAuth::Require;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn point_34_the_mode_of_the_gateway_gives_the_terms() {
        for (mode, auth, lenient) in [
            (None, ClientAuth::None, false),
            (Some(ValidationMode::OnDemand), ClientAuth::None, false),
            (Some(ValidationMode::AllowInsecureFallback), ClientAuth::Request, true),
            (Some(ValidationMode::AllowValidOnly), ClientAuth::Require, false),
        ] {
            let terms = HandshakeTerms::of_gateway(TlsVersion::Tls12, mode);
            assert_eq!((terms.client_auth, terms.lenient), (auth, lenient), "{mode:?}");
        }
    }

    fn auths() -> impl Strategy<Value = ClientAuth> {
        prop_oneof![Just(ClientAuth::None), Just(ClientAuth::Request), Just(ClientAuth::Require)]
    }

    fn versions() -> impl Strategy<Value = TlsVersion> {
        prop_oneof![Just(TlsVersion::Tls12), Just(TlsVersion::Tls13)]
    }

    fn modes() -> impl Strategy<Value = Option<ValidationMode>> {
        prop_oneof![
            Just(None),
            Just(Some(ValidationMode::OnDemand)),
            Just(Some(ValidationMode::AllowInsecureFallback)),
            Just(Some(ValidationMode::AllowValidOnly)),
        ]
    }

    proptest! {
        #[test]
        fn decision_7_policies_can_only_tighten_and_their_order_does_not_matter(
            base in versions(),
            mode in modes(),
            wants in prop::collection::vec((prop::option::of(versions()), auths()), 0..5),
        ) {
            let owner = HandshakeTerms::of_gateway(base, mode);
            let mut forward = owner.clone();
            wants.iter().for_each(|(version, auth)| forward.tighten(*version, *auth));
            let mut backward = owner.clone();
            wants.iter().rev().for_each(|(version, auth)| backward.tighten(*version, *auth));
            prop_assert_eq!(&forward, &backward);
            prop_assert!(forward.min_version >= owner.min_version);
            prop_assert!(forward.client_auth >= owner.client_auth);
            prop_assert!(forward.lenient <= owner.lenient);
            for (version, auth) in wants {
                prop_assert!(version.is_none_or(|version| forward.min_version >= version));
                prop_assert!(forward.client_auth >= auth);
            }
            prop_assert!(!(forward.lenient && forward.client_auth == ClientAuth::Require));
        }
    }
}
