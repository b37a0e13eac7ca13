//! The policies of a worker.

use super::{Heartbeat, View};
use crate::tls::TlsPolicies;
use penstock_config::Version;
use penstock_filter_host::{
    ClientHello, HelloDecision, Host, Outcome, PeerCertificate, PeerDecision, Plan, Policy,
    PrepareError, Verdict, Worker,
};
use std::{
    cell::{RefCell, RefMut},
    fmt,
    rc::Rc,
    sync::Arc,
    time::Instant,
};

/// The live policies of a worker. Calls are synchronous, so there is never one within another.
pub struct Policies {
    number: usize,
    worker: RefCell<Worker>,
    retired: RefCell<Vec<Policy>>,
    heartbeat: Arc<Heartbeat>,
}

impl Policies {
    /// No policies yet.
    pub fn new(host: &Host, number: usize, heartbeat: Arc<Heartbeat>) -> Self {
        Self {
            number,
            worker: RefCell::new(Worker::new(host)),
            retired: RefCell::default(),
            heartbeat,
        }
    }

    /// The worker's number, by which it finds its metrics.
    #[inline]
    pub fn number(&self) -> usize {
        self.number
    }

    /// The host's half.
    #[inline]
    pub fn worker(&self) -> RefMut<'_, Worker> {
        self.worker.borrow_mut()
    }

    /// Makes a policy ready.
    ///
    /// # Errors
    /// As [`Worker::prepare`].
    pub fn prepare(
        &self,
        filter: &penstock_config::Filter,
        version: Version,
    ) -> Result<Policy, PrepareError> {
        // Many in a row take long, and are no reason to take the worker for stuck.
        self.heartbeat.beat(Instant::now());
        self.worker().prepare(filter, version)
    }

    /// Takes policies back that no request uses any more.
    pub(super) fn retire(&self, policies: impl Iterator<Item = Policy>) {
        self.retired.borrow_mut().extend(policies);
    }

    /// Ends retired policies and replaces what failed. Not for the middle of a request.
    pub fn maintain(&self) {
        let retired = std::mem::take(&mut *self.retired.borrow_mut());
        let mut worker = self.worker();
        for policy in retired {
            worker.release(policy);
        }
        worker.maintain();
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The TLS policies of one snapshot on this worker.
#[derive(Debug)]
pub struct SnapshotTls {
    /// The snapshot.
    pub view: Rc<View>,
    /// The worker's policies.
    pub policies: Rc<Policies>,
}

impl SnapshotTls {
    fn policy(&self, filter: &str) -> Option<&Policy> {
        let (index, _) = self.view.snapshot.filter(filter)?;
        self.view.policies[index].as_ref()
    }

    fn ask<T>(
        &self,
        filter: &str,
        ask: impl FnOnce(&mut Worker, &Policy) -> Outcome<T>,
    ) -> Outcome<T> {
        match self.policy(filter) {
            Some(policy) => ask(&mut self.policies.worker(), policy),
            // Only filters with a plan are asked, and a plan comes with its policy; a filter that
            // is not there never counts as one that agreed.
            None => Outcome {
                verdict: Verdict::Failed {
                    status: 500,
                    failure: penstock_filter_host::FilterFailure::Fault,
                },
                tier: penstock_filter_host::Tier::Call,
                span: None,
                message: Some("the filter could not be prepared".into()),
            },
        }
    }
}

impl TlsPolicies for SnapshotTls {
    fn client_hello(&self, filter: &str, hello: &ClientHello) -> Outcome<HelloDecision> {
        self.ask(filter, |worker, policy| worker.on_client_hello(policy, hello))
    }

    fn client_certificate(
        &self,
        filter: &str,
        hello: &ClientHello,
        peer: Option<&PeerCertificate>,
    ) -> Outcome<PeerDecision> {
        self.ask(filter, |worker, policy| worker.on_client_certificate(policy, hello, peer))
    }

    fn plan(&self, filter: &str) -> Option<Arc<Plan>> {
        self.policy(filter).map(|policy| policy.plan.clone())
    }

    fn version(&self, filter: &str) -> Option<Version> {
        let (index, slot) = self.view.snapshot.filter(filter)?;
        self.view.policies[index].as_ref().map(|_| slot.version)
    }
}
