//! Policies made of closures.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_config::{OnFailure, OpaqueValues, PolicyKind, Version};
use penstock_filter_host::{
    ClientHello, FilterFailure, HelloDecision, Outcome, PeerCertificate, PeerDecision, Plan, Tier,
    TlsPlan, Verdict,
};
use penstock_proxy::tls::TlsPolicies;

type OnHello = Box<dyn Fn(&ClientHello) -> Outcome<HelloDecision>>;
type OnCertificate = Box<dyn Fn(Option<&PeerCertificate>) -> Outcome<PeerDecision>>;

/// A policy made of closures.
pub(crate) struct FakeFilter {
    pub(crate) version: Version,
    pub(crate) plan: TlsPlan,
    pub(crate) on_failure: OnFailure,
    pub(crate) hello: OnHello,
    pub(crate) certificate: OnCertificate,
}

impl FakeFilter {
    /// One that has nothing to say.
    pub(crate) fn new(version: Version) -> Self {
        Self {
            version,
            plan: TlsPlan::default(),
            on_failure: OnFailure::Closed,
            hello: Box::new(|_| decided(HelloDecision::Default)),
            certificate: Box::new(|_| decided(PeerDecision::Accept(Vec::new()))),
        }
    }

    pub(crate) fn on_hello(
        mut self,
        hello: impl Fn(&ClientHello) -> Outcome<HelloDecision> + 'static,
    ) -> Self {
        self.plan.client_hello = true;
        self.hello = Box::new(hello);
        self
    }

    pub(crate) fn on_certificate(
        mut self,
        certificate: impl Fn(Option<&PeerCertificate>) -> Outcome<PeerDecision> + 'static,
    ) -> Self {
        self.plan.client_certificate = true;
        self.certificate = Box::new(certificate);
        self
    }

    pub(crate) fn open(mut self) -> Self {
        self.on_failure = OnFailure::Open;
        self
    }

    pub(crate) fn asking(mut self, auth: penstock_filter_host::ClientAuth) -> Self {
        self.plan.client_auth = auth;
        self
    }
}

pub(crate) fn decided<T>(decision: T) -> Outcome<T> {
    Outcome::decided(decision, Tier::Call)
}

pub(crate) fn failing<T>(failure: FilterFailure, on_failure: OnFailure) -> Outcome<T> {
    Outcome {
        verdict: Verdict::of_failure(failure, on_failure),
        tier: Tier::Call,
        span: None,
        message: Some("cannot decide".into()),
    }
}

/// Policies of a worker, with a record of their calls.
#[derive(Default)]
pub(crate) struct Policies {
    pub(crate) filters: RefCell<BTreeMap<String, FakeFilter>>,
    pub(crate) calls: RefCell<Vec<String>>,
}

impl Policies {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn with(filters: impl IntoIterator<Item = (&'static str, FakeFilter)>) -> Self {
        let filters = filters.into_iter().map(|(name, filter)| (name.to_owned(), filter));
        Self { filters: RefCell::new(filters.collect()), calls: RefCell::default() }
    }

    pub(crate) fn take_calls(&self) -> Vec<String> {
        self.calls.take()
    }
}

impl TlsPolicies for Policies {
    fn client_hello(&self, filter: &str, hello: &ClientHello) -> Outcome<HelloDecision> {
        let sni = hello.sni.as_deref().unwrap_or("-");
        self.calls.borrow_mut().push(format!("{filter} hello {sni}"));
        (self.filters.borrow()[filter].hello)(hello)
    }

    fn client_certificate(
        &self,
        filter: &str,
        _: &ClientHello,
        peer: Option<&PeerCertificate>,
    ) -> Outcome<PeerDecision> {
        let who = peer.map_or("-".to_owned(), |peer| format!("{:?}", peer.sans));
        self.calls.borrow_mut().push(format!("{filter} certificate {who}"));
        (self.filters.borrow()[filter].certificate)(peer)
    }

    fn plan(&self, filter: &str) -> Option<Arc<Plan>> {
        let filters = self.filters.borrow();
        let fake = filters.get(filter)?;
        Some(Arc::new(Plan {
            filter: filter.into(),
            kind: PolicyKind::Tls,
            request: None,
            response: None,
            tls: Some(fake.plan),
            on_failure: fake.on_failure,
            opaque_values: OpaqueValues::Reject,
        }))
    }

    fn version(&self, filter: &str) -> Option<Version> {
        self.filters.borrow().get(filter).map(|fake| fake.version)
    }
}
