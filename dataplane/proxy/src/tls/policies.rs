//! The policies of one handshake.

use std::sync::Arc;

use penstock_config::{OnFailure, TlsVersion, Version};
use penstock_filter_host::{
    ClientAuth, ClientHello, FilterFailure, HelloDecision, Outcome, PeerCertificate, PeerDecision,
    Plan, Terms, TlsPlan, Verdict,
};
use rustls::AlertDescription;

use super::alert::description;
use super::listener::ServedListener;
use super::session::{RejectReason, TlsReject};
use super::terms::HandshakeTerms;

/// The policies of one snapshot on one worker. Calls are synchronous and stay on the thread.
pub trait TlsPolicies {
    /// Asks a filter about a ClientHello.
    fn client_hello(&self, filter: &str, hello: &ClientHello) -> Outcome<HelloDecision>;
    /// Asks a filter about the client's certificate, `None` when there is no verified one.
    fn client_certificate(
        &self,
        filter: &str,
        hello: &ClientHello,
        peer: Option<&PeerCertificate>,
    ) -> Outcome<PeerDecision>;
    /// The plan of a filter; `None` where it could not be prepared.
    fn plan(&self, filter: &str) -> Option<Arc<Plan>>;
    /// The version of a filter that answers; `None` where it could not be prepared.
    fn version(&self, filter: &str) -> Option<Version>;
}

/// The filters of one handshake and what they said so far.
pub(super) struct Judgement<'a> {
    policies: &'a dyn TlsPolicies,
    hello: &'a ClientHello,
    filters: Vec<Judge<'a>>,
    attributes: Vec<(Box<str>, Box<str>)>,
    skipped: u32,
}

struct Judge<'a> {
    filter: &'a str,
    version: Version,
    plan: TlsPlan,
    on_failure: OnFailure,
}

impl<'a> Judgement<'a> {
    /// Looks the filters up. One that is not there is never skipped, whatever its `onFailure`: that
    /// is for failures at run time (decision 6 of the design).
    pub(super) fn new(
        filters: &'a [String],
        hello: &'a ClientHello,
        policies: &'a dyn TlsPolicies,
    ) -> Result<Self, TlsReject> {
        let judge = |filter: &'a String| {
            let version = policies.version(filter);
            let plan = policies.plan(filter);
            let tls = plan.as_ref().and_then(|plan| plan.tls);
            match (version, plan, tls) {
                (Some(version), Some(whole), Some(plan)) => {
                    Ok(Judge { filter, version, plan, on_failure: whole.on_failure })
                }
                _ => Err(TlsReject::new(
                    RejectReason::PolicyUnavailable,
                    Some(AlertDescription::InternalError),
                    "the TLS filter is not available on this proxy; see its status",
                )
                .by_filter(filter)),
            }
        };
        let filters = filters.iter().map(judge).collect::<Result<_, _>>()?;
        Ok(Self { policies, hello, filters, attributes: Vec::new(), skipped: 0 })
    }

    /// Each filter in its version, in order.
    pub(super) fn versions(&self) -> Vec<(String, Version)> {
        self.filters.iter().map(|judge| (judge.filter.to_owned(), judge.version)).collect()
    }

    /// Shows the ClientHello to the filters and tightens the terms by what they say.
    pub(super) fn hear_hello(
        &mut self,
        listener: &ServedListener,
        terms: &mut HandshakeTerms,
    ) -> Result<(), TlsReject> {
        for index in 0..self.filters.len() {
            let Judge { filter, plan, on_failure, .. } = self.filters[index];
            terms.tighten(None, plan.client_auth);
            if !plan.client_hello {
                continue;
            }
            let outcome = self.policies.client_hello(filter, self.hello);
            let wanted = match decided(filter, outcome)? {
                Some(HelloDecision::Terminate(wanted)) => wanted,
                Some(HelloDecision::Default) => continue,
                Some(HelloDecision::Reject(alert)) => return Err(rejected(filter, alert)),
                None => {
                    self.skipped += 1;
                    continue;
                }
            };
            match profile(&wanted, listener) {
                Ok(min_version) => {
                    terms.tighten(min_version, wanted.client_auth.unwrap_or_default());
                    self.attributes.extend(wanted.attributes);
                }
                // All of the decision is a fault, not only its profile: half of what an author
                // wanted may be the opposite of it.
                Err(message) => match Verdict::<()>::of_failure(FilterFailure::Fault, on_failure) {
                    Verdict::Skipped(_) => self.skipped += 1,
                    _ => return Err(failed(filter, FilterFailure::Fault, &message)),
                },
            }
        }
        Ok(())
    }

    /// Whether any filter reads the certificate's encoding.
    pub(super) fn wants_der(&self) -> bool {
        self.filters.iter().any(|judge| judge.plan.client_certificate && judge.plan.want_der)
    }

    /// Shows the client's certificate, or its absence, to the filters.
    pub(super) fn see_certificate(
        &mut self,
        peer: Option<&PeerCertificate>,
    ) -> Result<(), TlsReject> {
        for Judge { filter, plan, .. } in &self.filters {
            if !plan.client_certificate {
                continue;
            }
            let outcome = self.policies.client_certificate(filter, self.hello, peer);
            match decided(filter, outcome)? {
                Some(PeerDecision::Accept(attributes)) => self.attributes.extend(attributes),
                Some(PeerDecision::Reject(alert)) => return Err(rejected(filter, alert)),
                None => self.skipped += 1,
            }
        }
        Ok(())
    }

    /// What the connection satisfied, its attributes and how many calls were skipped.
    ///
    /// A filter that was replaced while the handshake went on is left out: two versions judged
    /// one half each, so neither was satisfied.
    pub(super) fn conclude(self) -> Conclusion {
        let current =
            |judge: &&Judge<'_>| self.policies.version(judge.filter) == Some(judge.version);
        let satisfied = self.filters.iter().filter(current);
        let satisfied = satisfied.map(|judge| (judge.filter.to_owned(), judge.version)).collect();
        let mut attributes: Vec<(Box<str>, Box<str>)> = Vec::with_capacity(self.attributes.len());
        for (name, value) in self.attributes {
            match attributes.iter_mut().find(|(known, _)| *known == name) {
                Some((_, last)) => *last = value,
                None => attributes.push((name, value)),
            }
        }
        Conclusion { satisfied, attributes: attributes.into(), skipped: self.skipped }
    }
}

/// What is kept of a judgement.
pub(super) struct Conclusion {
    pub(super) satisfied: Arc<[(String, Version)]>,
    pub(super) attributes: Arc<[(Box<str>, Box<str>)]>,
    pub(super) skipped: u32,
}

/// The decision; `None` where the filter failed and is skipped.
fn decided<T>(filter: &str, outcome: Outcome<T>) -> Result<Option<T>, TlsReject> {
    match outcome.verdict {
        Verdict::Decided(decision) => Ok(Some(decision)),
        Verdict::Skipped(failure) => {
            let message = outcome.message.as_deref().unwrap_or_default();
            tracing::debug!(filter, failure = failure.as_reason(), message, "TLS filter skipped");
            Ok(None)
        }
        Verdict::Failed { failure, .. } => {
            Err(failed(filter, failure, outcome.message.as_deref().unwrap_or_default()))
        }
    }
}

fn rejected(filter: &str, alert: penstock_filter_host::Alert) -> TlsReject {
    let message = "the TLS filter refused the client";
    TlsReject::new(RejectReason::PolicyRejected, Some(description(alert)), message)
        .by_filter(filter)
}

/// `internal_error`: the client did nothing wrong and may come back.
fn failed(filter: &str, failure: FilterFailure, message: &str) -> TlsReject {
    let message = format!("{}: {message}", failure.as_reason());
    TlsReject::new(RejectReason::PolicyFailed, Some(AlertDescription::InternalError), message)
        .by_filter(filter)
}

/// The least version of the profile that a policy names.
fn profile(wanted: &Terms, listener: &ServedListener) -> Result<Option<TlsVersion>, String> {
    let Some(name) = &wanted.profile else { return Ok(None) };
    match listener.profile(name) {
        Some(min_version) => Ok(Some(min_version)),
        None => Err(format!("the GatewayConfig declares no TLS profile `{name}`")),
    }
}

/// What a policy that asks for certificates gets where there are no trust anchors.
pub(super) fn no_anchors(auth: ClientAuth) -> TlsReject {
    TlsReject::new(
        RejectReason::NoTrustAnchors,
        Some(AlertDescription::AccessDenied),
        format!(
            "a TLS filter asks for a client certificate ({auth:?}), but the Gateway has no trust \
             anchors: set spec.tls.frontend"
        ),
    )
}
