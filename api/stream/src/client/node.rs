//! What a node has and does, whatever becomes of its connections.

use super::{
    backoff::Backoff,
    connect::Operator,
    modules::{Library, LoadModules},
    options::{Apply, ClientOptions},
    saver::Saver,
    store::Store,
};
use crate::{
    Change, Refused, Replica, ReplicaError,
    wire::{self, Answer, FromNode, Hello, Report, Update},
};
use penstock_config::{Delta, Kind, ResourceKind, State, Version};
use prost::Message;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};
use tracing::{Instrument as _, Span};

/// For the modules of an update; what did not come by then is refused, and comes later.
const MODULES: Duration = Duration::from_secs(15);

/// For the operator to bring a newer configuration than what is stored, before that serves: it may be
/// as old as this node was away, and other nodes do by now what was this one's.
const NEWER: Duration = Duration::from_secs(1);

/// For a module that comes later.
const LATE_MODULES: Duration = Duration::from_secs(90);

/// The node's end of things.
pub(super) struct Node<A> {
    /// Absent while a job has it.
    worker: Option<Worker<A>>,
    job: Option<JoinHandle<Done<A>>>,
    library: Option<Library>,
    saver: Saver,
    late: Late,
    /// When the stored configuration serves, unless a newer one came.
    stored_serves: Option<Instant>,
    /// See [`ClientOptions::follow`].
    follow: fn(&Span, &str),
}

/// What applies changes.
struct Worker<A> {
    replica: Replica,
    apply: A,
    /// What the data plane refuses of what it serves; `None` before it serves anything.
    refused: Option<Vec<Refused>>,
}

/// A job's result.
struct Done<A> {
    worker: Worker<A>,
    result: Result<FromNode, Diverged>,
}

/// The data plane has something else than it was given. That is a fault in this program.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the data plane serves version {found} after a change to {expected}")]
pub(super) struct Diverged {
    expected: Version,
    found: Version,
}

/// Modules that were not there in time.
struct Late {
    backoff: Backoff,
    next: Option<Instant>,
    fetch: Option<JoinHandle<BTreeSet<String>>>,
}

/// What happened.
pub(super) enum Event {
    /// There is something to say.
    Say(FromNode),
    /// A change did not work.
    Diverged(Diverged),
    /// Modules that were missing are there.
    Loaded(BTreeSet<String>),
    /// [`Node::serve_stored`] is to be called.
    Stored,
    /// The configuration is to be saved.
    Save,
    /// Missing modules are to be fetched.
    Fetch,
}

impl<A: Apply> Node<A> {
    /// Begins with what is stored.
    pub(super) async fn start(
        apply: A,
        modules: Option<Arc<dyn LoadModules>>,
        options: &mut ClientOptions,
    ) -> Self {
        let store = options.store.take().map(Arc::new);
        let library = modules.map(|modules| Library::new(modules, store.clone()));
        let worker = Worker { replica: Replica::default(), apply, refused: None };
        let mut node = Self {
            worker: Some(worker),
            job: None,
            library,
            saver: Saver::new(store.clone()),
            late: Late {
                backoff: Backoff::new(Duration::from_secs(2), Duration::from_secs(300)),
                next: None,
                fetch: None,
            },
            stored_serves: None,
            follow: options.follow,
        };
        if let Some(store) = store {
            node.load(store).await;
        }
        node
    }

    async fn load(&mut self, store: Arc<Store>) {
        let loaded = spawn_blocking(move || store.load()).await;
        let state = match loaded {
            Ok(Ok(Some(state))) => state,
            Ok(Ok(None)) | Err(_) => return,
            Ok(Err(error)) => {
                tracing::error!("{error}; the operator is asked for all of it");
                return;
            }
        };
        if let Some(library) = &self.library {
            library.load(library.missing(state.iter()), None, MODULES).await;
        }
        if let Some(worker) = &mut self.worker {
            worker.replica = Replica::new(state);
            self.stored_serves = Some(Instant::now() + NEWER);
        }
    }

    /// Waits until [`Node::serve_stored`] is to be called. Can be dropped at any time.
    pub(super) async fn stored(&self) {
        time(self.stored_serves.filter(|_| self.worker.is_some())).await;
    }

    /// No newer configuration came in time: what is stored serves.
    pub(super) async fn serve_stored(&mut self) {
        self.stored_serves = None;
        if let Some(worker) = self.worker.take() {
            self.worker = Some(unwind(spawn_blocking(|| worker.serve()).await));
            self.look_for_missing();
        }
    }

    /// The version that serves, also one without any resource; `None` where there was none yet.
    pub(super) fn serves(&self) -> Option<Version> {
        let worker = self.worker.as_ref()?;
        worker.refused.is_some().then(|| worker.replica.version())
    }

    /// Waits for what is under way, and gives the first message of a new stream.
    pub(super) async fn hello(&mut self, options: &ClientOptions) -> Hello {
        // Whatever came of it: the Hello says what the node has then.
        self.settle().await;
        let (engine, target) = self.library.as_ref().map(Library::engine).unwrap_or_default();
        let mut hello = Hello {
            node: options.node.clone(),
            pod: options.pod.clone(),
            role: options.role.number(),
            engine,
            target,
            ..Hello::default()
        };
        hello.version = self.serves().map(|version| version.0.to_vec()).unwrap_or_default();
        if let Some(worker) = &mut self.worker {
            worker.replica.begin();
            hello.known = worker.replica.known();
            if hello.encoded_len() > wire::MAX_NODE_MESSAGE {
                tracing::warn!("there is too much to say what it is; all of it is asked for");
                worker.replica.ask_for_everything();
                hello.known.clear();
            }
        }
        hello
    }

    /// Whether a part of an update can be taken.
    pub(super) fn is_idle(&self) -> bool {
        self.worker.is_some()
    }

    /// Takes a part of an update, and begins to apply it when it is whole.
    pub(super) fn receive(
        &mut self,
        update: Update,
        operator: &Operator,
    ) -> Result<(), ReplicaError> {
        let Some(mut worker) = self.worker.take() else {
            return Ok(());
        };
        match worker.replica.receive(update) {
            Ok(Some(change)) => {
                let (library, operator) = (self.library.clone(), operator.clone());
                let span = self.span(&change);
                self.job = Some(tokio::spawn(worker.change(change, library, operator, span)));
                Ok(())
            }
            Ok(None) => {
                self.worker = Some(worker);
                Ok(())
            }
            Err(error) => {
                self.worker = Some(worker);
                Err(error)
            }
        }
    }

    /// This node's part of a change's trace, where there is one.
    fn span(&self, change: &Change) -> Span {
        if change.traceparent.is_empty() {
            return Span::none();
        }
        let span = tracing::info_span!("apply", version = %change.version);
        (self.follow)(&span, &change.traceparent);
        span
    }

    /// Waits for the next thing to do. Can be dropped at any time.
    pub(super) async fn event(&mut self) -> Event {
        if self.job.is_some() {
            return match self.work_done().await {
                Ok(message) => Event::Say(message),
                Err(diverged) => Event::Diverged(diverged),
            };
        }
        tokio::select! {
            () = self.saver.due() => Event::Save,
            () = time(self.stored_serves) => Event::Stored,
            event = self.late.event() => event,
        }
    }

    /// Saves the configuration in the background.
    pub(super) fn save(&mut self) {
        if let Some(worker) = &self.worker {
            self.saver.save(worker.replica.state());
        }
    }

    /// Fetches missing modules in the background.
    pub(super) fn fetch(&mut self, operator: &Operator) {
        self.late.next = None;
        if let (Some(library), Some(worker)) = (self.library.clone(), &self.worker) {
            let missing = library.missing(worker.replica.state().of_kind(Kind::Filter));
            let operator = operator.clone();
            self.late.fetch = Some(tokio::spawn(async move {
                library.load(missing, Some(&operator), LATE_MODULES).await
            }));
        }
    }

    /// Has the filters of modules that came late applied again.
    pub(super) fn use_loaded(&mut self, loaded: &BTreeSet<String>) {
        let Some(worker) = self.worker.take() else {
            return;
        };
        let uses = |resource: &&penstock_config::Versioned| matches!(&*resource.content, ResourceKind::Filter(f) if loaded.contains(&f.module));
        let upserts: Vec<_> =
            worker.replica.state().of_kind(Kind::Filter).filter(uses).cloned().collect();
        if upserts.is_empty() {
            self.worker = Some(worker);
            self.look_for_missing();
        } else {
            let delta = Delta { upserts, removals: Vec::new() };
            self.job = Some(tokio::spawn(worker.again(delta)));
        }
    }

    /// Ends: what is under way is finished, and what is not saved is.
    pub(super) async fn finish(mut self) {
        self.settle().await;
        if let Some(worker) = &self.worker {
            self.saver.finish(worker.replica.state()).await;
        }
    }

    async fn settle(&mut self) {
        while self.job.is_some() {
            if let Err(diverged) = self.work_done().await {
                tracing::error!("{diverged}");
            }
        }
    }

    async fn work_done(&mut self) -> Result<FromNode, Diverged> {
        let Some(job) = &mut self.job else {
            return std::future::pending().await;
        };
        let done = unwind(job.await);
        self.job = None;
        self.worker = Some(done.worker);
        if done.result.is_ok() {
            self.stored_serves = None;
            self.saver.changed();
        }
        self.look_for_missing();
        done.result
    }

    fn look_for_missing(&mut self) {
        let (Some(library), Some(worker)) = (&self.library, &self.worker) else {
            return;
        };
        if library.missing(worker.replica.state().of_kind(Kind::Filter)).is_empty() {
            self.late.backoff.reset();
            self.late.next = None;
        } else if self.late.next.is_none() && self.late.fetch.is_none() {
            self.late.next = Some(Instant::now() + self.late.backoff.wait());
        }
    }
}

impl Late {
    async fn event(&mut self) -> Event {
        if let Some(fetch) = &mut self.fetch {
            let loaded = fetch.await.unwrap_or_default();
            self.fetch = None;
            return Event::Loaded(loaded);
        }
        time(self.next).await;
        Event::Fetch
    }
}

/// Waits for a moment, for ever where there is none.
async fn time(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl<A: Apply> Worker<A> {
    /// Serves what was stored, if nothing serves yet.
    fn serve(mut self) -> Self {
        if self.refused.is_some() {
            return self;
        }
        let state = self.replica.state();
        let (expected, applied) =
            (state.version(), self.apply.apply(&State::default().diff(state)));
        let found = applied.version;
        match found == expected {
            true => {
                tracing::info!(version = %found, "the stored configuration serves");
                self.refused = Some(applied.refused);
            }
            false => {
                tracing::error!(
                    "{}; the operator is asked for all of it",
                    Diverged { expected, found }
                );
                self.replica = Replica::default();
            }
        }
        self
    }

    async fn change(
        mut self,
        mut change: Change,
        library: Option<Library>,
        operator: Operator,
        span: Span,
    ) -> Done<A> {
        if let Some(library) = library {
            let missing = library.missing(&change.delta.upserts);
            if !missing.is_empty() && !self.replica.state().is_empty() {
                self = unwind(spawn_blocking(|| self.serve()).await);
            }
            library.load(missing, Some(&operator), MODULES).instrument(span.clone()).await;
        }
        if self.refused.is_none() {
            change.delta = State::default().diff(&change.state);
        }
        unwind(spawn_blocking(move || span.in_scope(|| self.swap(change))).await)
    }

    /// The node's only way to acknowledge: after the data plane has swapped. Where nothing changed
    /// (another operator leads, and has the same), it is left alone.
    fn swap(mut self, change: Change) -> Done<A> {
        if self.refused.is_none() || !change.delta.is_empty() {
            let applied = self.apply.apply(&change.delta);
            let expected = match change.unsupported.is_empty() {
                true => change.version,
                false => change.state.version(),
            };
            if applied.version != expected {
                let result = Err(Diverged { expected, found: applied.version });
                return Done { worker: self, result };
            }
            self.refused = Some(applied.refused);
        }
        let (nonce, version) = (change.nonce, change.version.0.to_vec());
        self.replica.commit(change);
        let answer = Answer { nonce, version, refused: self.refusals() };
        Done { worker: self, result: Ok(FromNode::Answer(answer)) }
    }

    async fn again(mut self, delta: Delta) -> Done<A> {
        let again = move || {
            self.refused = Some(self.apply.apply(&delta).refused);
            let version = self.replica.version().0.to_vec();
            let report = Report { version, refused: self.refusals() };
            Done { worker: self, result: Ok(FromNode::Report(report)) }
        };
        unwind(spawn_blocking(again).await)
    }

    /// All that this node cannot use.
    fn refusals(&self) -> Vec<wire::Refusal> {
        let mut refused = self.replica.unsupported();
        refused.extend(self.refused.iter().flatten().cloned());
        if refused.len() > wire::MAX_REFUSALS {
            tracing::warn!("{} resources are refused, the first are reported", refused.len());
        }
        wire::refusals(&refused)
    }
}

/// What a job gave. One that panicked has the data plane in an unknown state: the panic goes on.
fn unwind<T>(joined: Result<T, tokio::task::JoinError>) -> T {
    match joined {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => std::panic::resume_unwind(Box::new(error.to_string())),
        },
    }
}
