//! The election at the API server.

use super::election::{Election, Step, Timing};
use crate::clock::Clock;
use crate::shutdown::until;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};
use std::time::Duration;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// For the last request, when the process ends.
const LAST_REQUEST: Duration = Duration::from_secs(3);

/// How to take part.
#[derive(Clone, Debug)]
pub struct ElectOptions {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub lease: String,
    /// What this replica calls itself.
    pub me: String,
    /// How long things take.
    pub timing: Timing,
}

/// Takes part in the election until `shutdown`, and says in `leading` whether this replica leads,
/// and before that in `terms` in which term. The lease is given back at the end.
pub async fn elect(
    client: Client,
    options: ElectOptions,
    clock: Clock,
    leading: watch::Sender<bool>,
    terms: watch::Sender<u32>,
    shutdown: watch::Receiver<bool>,
) {
    let api: Api<Lease> = Api::namespaced(client, &options.namespace);
    let mut candidate = Candidate {
        api,
        election: Election::new(options.me.clone(), options.timing),
        clock,
        options,
        leading,
        terms,
        trouble: false,
    };
    until(shutdown, candidate.run()).await;
    candidate.leading.send_if_modified(|leading| std::mem::replace(leading, false));
    if timeout(LAST_REQUEST, candidate.release()).await.is_err() {
        tracing::warn!("the lease was not given back in time; another replica waits for its end");
    }
}

struct Candidate {
    api: Api<Lease>,
    election: Election,
    clock: Clock,
    options: ElectOptions,
    leading: watch::Sender<bool>,
    terms: watch::Sender<u32>,
    /// The API server did not answer well last time.
    trouble: bool,
}

impl Candidate {
    async fn run(&mut self) {
        loop {
            self.round().await;
            self.tell();
            let timing = self.options.timing;
            let leads = self.election.leads_until(self.clock.now().since_start).is_some();
            sleep(if leads && !self.trouble { timing.renew } else { timing.retry }).await;
            self.tell();
        }
    }

    /// One look at the lease, for as long as this replica leads whatever the answer is.
    async fn round(&mut self) {
        let now = self.clock.now();
        let patience = match self.election.leads_until(now.since_start) {
            Some(until) => until - now.since_start,
            None => self.options.timing.deadline,
        };
        let result = timeout(patience, self.attempt()).await;
        let problem = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the API server does not answer".to_owned()),
        };
        if let Some(problem) = &problem
            && !self.trouble
        {
            tracing::warn!(lease = self.options.lease, problem, "cannot look after the lease");
        }
        if problem.is_some() {
            self.election.blind();
        }
        self.trouble = problem.is_some();
    }

    async fn attempt(&mut self) -> kube::Result<()> {
        let lease = self.api.get_opt(&self.options.lease).await?;
        let now = self.clock.now();
        let parameters = PostParams::default();
        let written = match self.election.decide(lease.as_ref(), now.since_start, now.wall) {
            Step::Leave => {
                self.election.lost();
                return Ok(());
            }
            Step::Create(mut lease) => {
                lease.metadata.name = Some(self.options.lease.clone());
                self.api.create(&parameters, &lease).await
            }
            Step::Replace(lease) => {
                self.api.replace(&self.options.lease, &parameters, &lease).await
            }
        };
        match written {
            Ok(lease) => {
                let term = lease.spec.and_then(|spec| spec.lease_transitions).unwrap_or_default();
                self.terms.send_replace(u32::try_from(term).unwrap_or_default());
                self.election.won(now.since_start);
            }
            // Somebody else was faster: the next look says who.
            Err(kube::Error::Api(status)) if status.code == 409 => self.election.lost(),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn tell(&self) {
        let leads = self.election.leads_until(self.clock.now().since_start).is_some();
        let changed = self.leading.send_if_modified(|leading| {
            let changed = *leading != leads;
            *leading = leads;
            changed
        });
        if changed {
            let said = if leads { "this replica leads now" } else { "this replica is on standby" };
            tracing::info!(lease = self.options.lease, me = self.options.me, "{said}");
        }
    }

    async fn release(&self) {
        let Ok(Some(lease)) = self.api.get_opt(&self.options.lease).await else { return };
        let Some(released) = self.election.released(&lease, self.clock.now().wall) else { return };
        match self.api.replace(&self.options.lease, &PostParams::default(), &released).await {
            Ok(_) => tracing::info!(lease = self.options.lease, "the lease is given back"),
            Err(error) => tracing::warn!(%error, "the lease was not given back"),
        }
    }
}
