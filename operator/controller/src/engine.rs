//! Drives the core on a thread of its own: nothing that waits for a network holds it up.

use crate::{
    clock::Clock,
    core::{Action, Core, InUse, Input, Question},
    metrics::Metrics,
};
use bytes::Bytes;
use parking_lot::Mutex;
use penstock_config::{State, Version};
use penstock_modules::Failure;
use penstock_resources::Kind;
use penstock_stream::Fleet;
use penstock_telemetry::trace::traceparent;
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc::UnboundedSender;
use tracing::Span;

/// Quiet time after which a series of inputs is taken as one.
const QUIET: Duration = Duration::from_millis(1);
/// A series that does not end is cut here, or after the time that the last one took: so the core
/// rests at least half of the time however fast inputs come.
const LONGEST_SERIES: Duration = Duration::from_millis(5);

/// Takes inputs for the core, from any thread.
#[derive(Clone, Debug)]
pub struct Inbox {
    sender: Sender<Input>,
    metrics: Metrics,
}

impl Inbox {
    /// An inbox, and where its inputs come out.
    pub fn new(metrics: Metrics) -> (Self, Receiver<Input>) {
        let (sender, receiver) = channel();
        (Self { sender, metrics }, receiver)
    }

    /// Hands in an input.
    pub fn send(&self, input: Input) {
        self.metrics.queue.inc();
        // The core ends only with the process.
        let _ = self.sender.send(input);
    }
}

/// A configuration and its version.
type Published = (Version, Arc<State>);

/// What was published, with the fleet that it was published to: both change together.
#[derive(Clone, Debug)]
pub struct Publisher {
    fleet: Fleet,
    published: Arc<Mutex<Option<Published>>>,
}

impl Publisher {
    /// Publishes to a fleet.
    pub fn new(fleet: Fleet) -> Self {
        Self { fleet, published: Arc::default() }
    }

    /// The fleet.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// What was published last.
    pub fn state(&self) -> Arc<State> {
        self.published.lock().as_ref().map(|(_, state)| state.clone()).unwrap_or_default()
    }

    fn publish(&self, version: Version, state: Arc<State>, traceparent: &str) {
        let mut published = self.published.lock();
        *published = Some((version, state.clone()));
        self.fleet.publish(state, traceparent);
    }

    /// The version that was published last, and what the nodes say about it.
    pub fn confirmation(&self) -> (Option<Version>, penstock_stream::Confirmation) {
        let published = self.published.lock();
        let version = published.as_ref().map(|(version, _)| *version);
        (version, self.fleet.confirmation(Instant::now()))
    }
}

/// For whoever looks at modules.
#[derive(Debug)]
pub enum ModuleTask {
    /// Look at these.
    Resolve(Vec<Question>),
    /// Look at this one, which was fetched or cannot be.
    Fetched(Box<Question>, Result<Bytes, Failure>),
    /// Let go of all others.
    Retain(InUse),
}

/// Whom the core's actions go to.
#[derive(Debug)]
pub struct Outlets {
    /// The nodes.
    pub publisher: Publisher,
    /// Writes to the API server, each with the span that it belongs to.
    pub writes: UnboundedSender<(Action, Span)>,
    /// Modules.
    pub modules: Sender<ModuleTask>,
    /// For which lists the core waits; for readiness.
    pub waiting_for: tokio::sync::watch::Sender<Vec<Kind>>,
}

/// A change on its way to the nodes.
struct Underway {
    version: Version,
    since: Instant,
    span: Span,
    /// Until they have acknowledged it.
    acknowledging: Option<Span>,
}

/// The core at work.
pub struct Engine {
    core: Core,
    clock: Clock,
    inputs: Receiver<Input>,
    outlets: Outlets,
    metrics: Metrics,
    underway: Option<Underway>,
    last: Duration,
}

impl Engine {
    /// A core that takes these inputs.
    pub fn new(
        core: Core,
        clock: Clock,
        inputs: Receiver<Input>,
        outlets: Outlets,
        metrics: Metrics,
    ) -> Self {
        Self { core, clock, inputs, outlets, metrics, underway: None, last: Duration::ZERO }
    }

    /// Runs until every inbox is gone.
    pub fn run(mut self) {
        let mut wake = None;
        while let Some(series) = self.series(wake) {
            wake = self.handle(series);
        }
    }

    /// The next series of inputs; empty when the time has come. `None` when there will be no more.
    fn series(&self, wake: Option<Duration>) -> Option<Vec<Input>> {
        let first = match wake {
            Some(at) => {
                let rest = at.saturating_sub(self.clock.now().since_start);
                match self.inputs.recv_timeout(rest) {
                    Ok(input) => input,
                    Err(RecvTimeoutError::Timeout) => return Some(Vec::new()),
                    Err(RecvTimeoutError::Disconnected) => return None,
                }
            }
            None => self.inputs.recv().ok()?,
        };
        // What the nodes answer is told at once.
        let mut series = vec![first];
        let end = Instant::now() + LONGEST_SERIES.max(self.last);
        while series.iter().any(is_object) {
            let rest = end.saturating_duration_since(Instant::now()).min(QUIET);
            match self.inputs.recv_timeout(rest) {
                Ok(input) => series.push(input),
                Err(_) => break,
            }
        }
        series.extend(self.inputs.try_iter());
        Some(series)
    }

    fn handle(&mut self, series: Vec<Input>) -> Option<Duration> {
        let began = Instant::now();
        let objects = series.iter().filter(|input| is_object(input)).count();
        // The first lists are no change.
        let span = match objects > 0 && self.outlets.waiting_for.borrow().is_empty() {
            true => tracing::info_span!("change", objects, version = tracing::field::Empty),
            false => Span::none(),
        };
        for input in series {
            self.metrics.queue.dec();
            let now = self.clock.now();
            self.acknowledged(&input);
            self.core.take(input, now);
        }
        let translating = within(&span, || tracing::info_span!(parent: &span, "translate"));
        let settled = translating.in_scope(|| self.core.settle(self.clock.now()));
        drop(translating);
        self.outlets.waiting_for.send_if_modified(|waiting| {
            let changed = *waiting != settled.waiting_for;
            waiting.clone_from(&settled.waiting_for);
            changed
        });
        for action in settled.actions {
            self.perform(action, &span, began);
        }
        // Its trace ends here; what is being written holds its own part of it.
        self.underway.take_if(|underway| underway.acknowledging.is_none());
        self.last = began.elapsed();
        settled.wake
    }

    fn perform(&mut self, action: Action, span: &Span, began: Instant) {
        match action {
            Action::Publish(version, state) => {
                self.metrics.resources.set(i64::try_from(state.len()).unwrap_or(i64::MAX));
                span.record("version", tracing::field::display(version));
                // In it are the nodes' own parts.
                let acknowledging =
                    within(span, || tracing::info_span!(parent: span, "acknowledge"));
                let traceparent = traceparent(&acknowledging);
                self.outlets.publisher.publish(version, state, &traceparent);
                self.metrics.took("publish", began.elapsed());
                let (span, acknowledging) = (span.clone(), Some(acknowledging));
                self.underway = Some(Underway { version, since: began, span, acknowledging });
            }
            Action::Resolve(questions) => {
                // The thread ends only with the process.
                let _ = self.outlets.modules.send(ModuleTask::Resolve(questions));
            }
            Action::Retain(in_use) => {
                let _ = self.outlets.modules.send(ModuleTask::Retain(in_use));
            }
            Action::WriteStatus(_)
            | Action::ApplyService(_)
            | Action::DeleteService(_)
            | Action::Tell(_) => {
                // What is told once nodes have answered belongs to the change that they answered to.
                let of_change = self.underway.as_ref().map(|underway| &underway.span);
                let span = if span.is_none() { of_change.unwrap_or(span) } else { span };
                let _ = self.outlets.writes.send((action, span.clone()));
            }
        }
    }

    /// Ends what an acknowledgement ends.
    fn acknowledged(&mut self, input: &Input) {
        let Input::Fleet(fleet) = input else { return };
        let Some(underway) = &mut self.underway else { return };
        if fleet.version == Some(underway.version)
            && fleet.confirmation.acknowledged
            && underway.acknowledging.take().is_some()
        {
            self.metrics.took("acknowledge", underway.since.elapsed());
        }
    }
}

/// A part of a trace, where there is one.
fn within(trace: &Span, part: impl FnOnce() -> Span) -> Span {
    if trace.is_none() { Span::none() } else { part() }
}

/// Whether an input comes from a watch.
fn is_object(input: &Input) -> bool {
    matches!(
        input,
        Input::ListBegins(_)
            | Input::Listed(_)
            | Input::ListEnds(_)
            | Input::Applied(_)
            | Input::Removed(_)
            | Input::Definitions { .. }
    )
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("core", &self.core).finish_non_exhaustive()
    }
}
