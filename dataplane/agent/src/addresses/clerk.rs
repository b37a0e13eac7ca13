//! Gives addresses: one thread that owns the pool, its file and the node's devices.
//!
//! Requests that come together are answered together: the pool is written down once for all of them, and
//! only then does anybody hear of it.

use super::{state::StateFile, wiring::Wiring};
use penstock_cni::{
    Code,
    protocol::{Attachment, Request, Response},
};
use penstock_config::address::{InterfaceId, NodeAddresses, Report};
use penstock_pool::{Kept, Owner, Pool};
use prometheus_client::metrics::histogram::Histogram;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::mpsc,
    time::{Duration, Instant},
};
use tokio::sync::{oneshot, watch};

/// For an address, where none is free: the operator needs a second or two for another one, some ten for
/// another interface. Then the pod's events say why it waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between looks at devices of interfaces that are not there yet, and at all others.
const SOON: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_secs(1);

/// How long a pod's device may be missing: a plugin makes it after it got the address.
const MISSING: Duration = Duration::from_secs(120);

/// Between looks at devices of pods.
const SWEEP: Duration = Duration::from_secs(10);

/// Requests that are answered together.
const BATCH: usize = 512;

/// What the clerk is told.
#[derive(Debug)]
pub enum Input {
    /// What the operator says.
    Told(NodeAddresses),
    /// A plugin asks; it goes away when nobody waits for the answer.
    Asked(Request, oneshot::Sender<Response>),
    /// Kubelet's runtime was told to ask here, or is not any more.
    Serving(bool),
    /// The agent ends.
    End,
}

/// What others may know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Interfaces whose devices are set up.
    pub interfaces: usize,
    /// Addresses that pods have.
    pub used: usize,
    /// Pods that wait.
    pub waiting: usize,
    /// All addresses.
    pub all: u32,
    /// Whether the operator has said anything yet.
    pub told: bool,
}

/// One who waits for an address.
struct Waiting {
    owner: Owner,
    reply: oneshot::Sender<Response>,
    since: Instant,
}

/// The thread's state.
pub struct Clerk {
    pool: Pool,
    file: StateFile,
    /// What the file says.
    saved: Kept,
    wiring: Box<dyn Wiring>,
    ready: BTreeMap<InterfaceId, u32>,
    waiting: Vec<Waiting>,
    /// Since when a pod's device is missing.
    missing: BTreeMap<Owner, Instant>,
    report: watch::Sender<Report>,
    counts: watch::Sender<Counts>,
    start: Instant,
    look: Instant,
    sweep: Instant,
    trouble: Option<String>,
    serving: bool,
    /// From a request for an address to its answer.
    adds: Histogram,
    /// When those asked who are answered now.
    answered: Vec<Instant>,
}

impl Clerk {
    /// Begins with what the file says, and with what pods have where it says nothing.
    pub fn new(
        file: StateFile,
        wiring: Box<dyn Wiring>,
        report: watch::Sender<Report>,
        counts: watch::Sender<Counts>,
        adds: Histogram,
    ) -> Self {
        let kept = file.load().unwrap_or_else(|error| {
            tracing::error!("{error}");
            Kept::default()
        });
        let now = Instant::now();
        let mut clerk = Self {
            pool: Pool::new(kept.clone()),
            file,
            saved: kept,
            wiring,
            ready: BTreeMap::new(),
            waiting: Vec::new(),
            missing: BTreeMap::new(),
            report,
            counts,
            start: now,
            look: now,
            sweep: now + SWEEP,
            trouble: None,
            serving: false,
            adds,
            answered: Vec::new(),
        };
        clerk.find();
        clerk.publish();
        clerk
    }

    /// Pods that have a device and of which nothing was kept.
    fn find(&mut self) {
        match self.wiring.pods() {
            Ok(pods) => {
                for pod in pods {
                    let owner = Owner { container: pod.container, device: pod.device };
                    self.pool.found(owner, pod.address);
                }
            }
            Err(error) => self.note(Some(error.to_string())),
        }
    }

    /// Handles inputs until [`Input::End`], or until nobody can send any.
    pub fn run(mut self, inputs: &mpsc::Receiver<Input>) {
        loop {
            let due = self.look.min(self.sweep);
            let first = inputs.recv_timeout(due.saturating_duration_since(Instant::now()));
            let mut replies = Vec::new();
            match first {
                Err(mpsc::RecvTimeoutError::Disconnected) | Ok(Input::End) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Ok(first) => {
                    let more = inputs.try_iter().take(BATCH);
                    for input in std::iter::once(first).chain(more) {
                        match input {
                            Input::End => return,
                            input => self.input(input, &mut replies),
                        }
                    }
                }
            }
            self.time(&mut replies);
            self.answer(replies);
        }
    }

    fn input(&mut self, input: Input, replies: &mut Vec<(oneshot::Sender<Response>, Response)>) {
        match input {
            Input::Told(told) => {
                if self.pool.tell(told) {
                    self.look = Instant::now();
                }
            }
            Input::Asked(Request::Add { attachment, pod }, reply) => {
                let owner = owner(attachment);
                tracing::debug!(%owner, pod, "an address is asked for");
                self.waiting.push(Waiting { owner, reply, since: Instant::now() });
            }
            Input::Asked(request, reply) => {
                let response = self.request(request);
                replies.push((reply, response));
            }
            Input::Serving(serving) => self.serving = serving,
            Input::End => {}
        }
    }

    fn request(&mut self, request: Request) -> Response {
        match request {
            Request::Del { attachment } => {
                self.give_back(&owner(attachment));
                Response::Done
            }
            Request::Check { attachment } => match self.granted(&owner(attachment)) {
                Some(granted) => granted,
                None => Response::Refused {
                    code: Code::UnknownContainer as u32,
                    message: "the agent gave it no address".into(),
                },
            },
            Request::Gc { valid } => {
                let valid: BTreeSet<Owner> = valid.into_iter().map(owner).collect();
                let gone = self.pool.owners().map(|(owner, _)| owner);
                let gone: Vec<_> = gone.filter(|owner| !valid.contains(owner)).cloned().collect();
                gone.iter().for_each(|owner| self.give_back(owner));
                Response::Done
            }
            // That no address is free is no reason to take the node out of service: more were asked for.
            Request::Status | Request::Add { .. } if !self.ready.is_empty() => Response::Done,
            Request::Status | Request::Add { .. } => Response::Refused {
                code: Code::Unavailable as u32,
                message: "no interface of the node is known and set up yet".into(),
            },
        }
    }

    fn give_back(&mut self, owner: &Owner) {
        self.waiting.retain(|waiting| waiting.owner != *owner);
        self.missing.remove(owner);
        if let Some(address) = self.pool.remove(owner, self.now()) {
            tracing::debug!(%owner, %address, "an address is given back");
        }
    }

    fn granted(&self, owner: &Owner) -> Option<Response> {
        let granted = self.pool.get(owner)?;
        let mtu = self.ready.get(&granted.of.interface).copied().unwrap_or(0);
        // Zero: the interface is not set up; what a pod has stays.
        Some(Response::Granted { address: granted.address, mtu: if mtu == 0 { 1500 } else { mtu } })
    }

    /// What is due by now.
    fn time(&mut self, replies: &mut Vec<(oneshot::Sender<Response>, Response)>) {
        let now = Instant::now();
        if self.look <= now {
            self.bring();
        }
        if self.sweep <= now {
            self.sweep = now + SWEEP;
            self.sweep_pods(now);
        }
        self.serve(now, replies);
    }

    fn bring(&mut self) {
        match self.wiring.bring(&self.pool.kept().told.interfaces) {
            Ok(ready) => {
                self.pool.ready(ready.keys().cloned().collect());
                self.ready = ready;
                self.note(None);
            }
            Err(error) => self.note(Some(error.to_string())),
        }
        let complete = self.ready.len() == self.pool.kept().told.interfaces.len();
        self.look = Instant::now() + if complete { LOOK } else { SOON };
    }

    /// Gives addresses to those who wait, in the order in which they came.
    fn serve(&mut self, now: Instant, replies: &mut Vec<(oneshot::Sender<Response>, Response)>) {
        let milliseconds = self.now();
        let mut answered = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.reply.is_closed() {
                // The plugin was ended: nobody would use the address.
                if self.pool.get(&waiting.owner).is_none() {
                    self.pool.remove(&waiting.owner, milliseconds);
                }
                continue;
            }
            match self.pool.add(waiting.owner.clone(), milliseconds) {
                Ok(_) => {
                    answered.push(waiting.since);
                    self.missing.remove(&waiting.owner);
                    if let Some(granted) = self.granted(&waiting.owner) {
                        replies.push((waiting.reply, granted));
                    }
                }
                Err(_) if waiting.since + PATIENCE > now => self.waiting.push(waiting),
                Err(none) => {
                    // It counts as waiting until kubelet has tried again, or a while.
                    let code = Code::TryAgain as u32;
                    replies.push((
                        waiting.reply,
                        Response::Refused { code, message: none.to_string() },
                    ));
                    self.pool.remove(&waiting.owner, milliseconds);
                }
            }
        }
        if !self.waiting.is_empty() {
            self.look = self.look.min(now + SOON);
        }
        self.answered = answered;
    }

    /// Frees what belongs to nobody any more: a pod's end of which no plugin could tell.
    fn sweep_pods(&mut self, now: Instant) {
        let Ok(pods) = self.wiring.pods() else { return };
        let there: BTreeSet<Owner> = pods
            .into_iter()
            .map(|pod| Owner { container: pod.container, device: pod.device })
            .collect();
        let absent: BTreeSet<Owner> = self
            .pool
            .owners()
            .map(|(owner, _)| owner)
            .filter(|o| !there.contains(o))
            .cloned()
            .collect();
        self.missing.retain(|owner, _| absent.contains(owner));
        for owner in absent {
            let since = *self.missing.entry(owner.clone()).or_insert(now);
            if since + MISSING <= now {
                tracing::warn!(%owner, "the pod's device is gone: its address is free");
                self.give_back(&owner);
            }
        }
    }

    /// Writes down, then answers, then reports.
    fn answer(&mut self, replies: Vec<(oneshot::Sender<Response>, Response)>) {
        if *self.pool.kept() != self.saved {
            match self.file.save(self.pool.kept()) {
                Ok(()) => self.saved = self.pool.kept().clone(),
                Err(error) => {
                    self.note(Some(format!("what pods have cannot be written down: {error}")));
                    for (reply, response) in replies {
                        let refused = Response::Refused {
                            code: Code::TryAgain as u32,
                            message: format!("what pods have cannot be written down: {error}"),
                        };
                        let is_new = matches!(response, Response::Granted { .. } | Response::Done);
                        let _ = reply.send(if is_new { refused } else { response });
                    }
                    self.look = self.look.min(Instant::now() + SOON);
                    return;
                }
            }
        }
        for (reply, response) in replies {
            let _ = reply.send(response);
        }
        for since in self.answered.drain(..) {
            self.adds.observe(since.elapsed().as_secs_f64());
        }
        self.publish();
    }

    fn publish(&self) {
        let report = Report { serving: self.serving, ..self.pool.report() };
        let counts = Counts {
            interfaces: self.ready.len(),
            used: self.pool.owners().count(),
            waiting: report.pending as usize,
            all: report.known.values().flat_map(|i| &i.units).map(|unit| unit.size()).sum(),
            told: report.seen != penstock_config::address::Epoch::default(),
        };
        self.report.send_if_modified(|known| {
            let changed = *known != report;
            *known = report;
            changed
        });
        self.counts.send_if_modified(|known| std::mem::replace(known, counts) != counts);
    }

    fn note(&mut self, trouble: Option<String>) {
        if let Some(trouble) = &trouble
            && self.trouble.as_ref() != Some(trouble)
        {
            tracing::error!("{trouble}");
        }
        self.trouble = trouble;
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn owner(Attachment { container, device }: Attachment) -> Owner {
    Owner { container, device }
}
