//! The proxy as its owner sees it: start, apply, drain.

use crate::{
    ProxyOptions,
    snapshot::{Context, Snapshot, Unprepared},
    telemetry::{Metrics, MetricsOptions, MetricsPage, WorkerTelemetry},
    tls::Refusal,
    worker::{Bound, Command, Heartbeat, WorkerConfig, bind, spawn},
};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use penstock_config::{ApplyError, Delta, Key, Kind, State, Version};
use penstock_filter_host::Host;
use penstock_telemetry::{
    PageFormat,
    admin::{self, AdminSource},
};
use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::mpsc::UnboundedSender;

/// For a worker to prepare or commit; one that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running proxy. Dropping it drains it.
#[derive(Debug)]
pub struct Proxy {
    options: ProxyOptions,
    host: Host,
    metrics: Arc<Metrics>,
    workers: Vec<UnboundedSender<Command>>,
    threads: Mutex<Vec<Thread>>,
    snapshot: ArcSwap<Snapshot>,
    ready: AtomicBool,
    control: Mutex<Control>,
}

/// A worker's thread.
#[derive(Debug)]
struct Thread {
    handle: JoinHandle<()>,
    heartbeat: Arc<Heartbeat>,
}

/// What one change at a time uses.
#[derive(Debug, Default)]
struct Control {
    bound: Vec<Bound>,
    /// Sockets that the agent handed over, each with its worker.
    steered: Vec<(u16, usize)>,
}

/// The proxy cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system has no thread or no event queue left. A retry can help.
    #[error("cannot start a worker thread: {0}")]
    Worker(#[from] std::io::Error),
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq)]
pub struct Ack {
    /// The configuration that serves now.
    pub version: Version,
    /// What of it cannot be served. The rest is.
    pub refused: Vec<Refusal>,
    /// Filters among them whose last good generation serves on.
    pub kept: Vec<Key>,
}

/// Where a port is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundPort {
    /// Port of the listener.
    pub port: u32,
    /// Where it is bound.
    pub address: SocketAddr,
}

/// New sockets of one address: one for each worker.
type Opened = (Bound, Vec<TcpListener>);

impl Proxy {
    /// Starts the workers. They serve nothing until the first [`Proxy::apply`].
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(options: ProxyOptions, host: Host) -> Result<Self, StartError> {
        let count = options.workers.max(1);
        let metrics = Arc::new(Metrics::new(MetricsOptions::new(count)));
        let worker = |number| {
            let telemetry = WorkerTelemetry::new(
                number,
                metrics.clone(),
                options.tracer.clone(),
                options.access_log.clone(),
            );
            let heartbeat = Arc::new(Heartbeat::start(Instant::now()));
            let (host, pool) = (host.clone(), options.pool);
            let config = WorkerConfig { telemetry, host, pool, heartbeat: heartbeat.clone() };
            spawn(config).map(|(sender, handle)| (sender, Thread { handle, heartbeat }))
        };
        let spawned: Vec<_> = (0..count).map(worker).collect::<Result<_, _>>()?;
        let (workers, threads) = spawned.into_iter().unzip();
        Ok(Self {
            options,
            host,
            metrics,
            workers,
            threads: Mutex::new(threads),
            snapshot: ArcSwap::from_pointee(Snapshot::empty()),
            ready: AtomicBool::new(false),
            control: Mutex::default(),
        })
    }

    /// Applies a change: builds its snapshot beside the one that serves, binds new ports, has every
    /// worker prepare it, and only then has all of them swap. Blocks until it serves.
    ///
    /// What cannot be served is refused by name and the rest served. A change that does not fit the
    /// configuration at all is refused as a whole, and nothing changes.
    pub fn apply(&self, delta: &Delta) -> Ack {
        let mut control = self.control.lock();
        let previous = self.snapshot.load_full();
        let mut state = State::clone(&previous.state);
        if let Err(ApplyError::MissingParent { child, parent }) = state.apply(delta) {
            let message = format!("refers to {parent}, which does not exist");
            let refusal = Refusal { key: child, reason: "MissingParent", message };
            self.metrics.config.refused(refusal.reason);
            return Ack { version: previous.version, refused: vec![refusal], kept: Vec::new() };
        }
        let (snapshot, mut refused) = self.build(state, &previous);
        let opened = self.open(&control, &snapshot, &mut refused);
        self.commit(&mut control, &snapshot, opened);
        for slot in snapshot.filters.iter().filter(|slot| slot.stands_in) {
            // Refused again is no news.
            if previous.filter(&slot.name).is_some_and(|(_, before)| !before.stands_in) {
                let label = slot.config.generation_label();
                tracing::warn!(filter = &*slot.name, "refused: {label} serves on");
            }
        }
        self.snapshot.store(snapshot.clone());
        self.metrics.config.applied(snapshot.version);
        for refusal in &refused {
            self.metrics.config.refused(refusal.reason);
        }
        self.ready.store(true, Relaxed);
        let kept = snapshot.filters.iter().filter(|slot| slot.stands_in);
        let kept = kept.map(|slot| Key::new(Kind::Filter, &*slot.name)).collect();
        Ack { version: snapshot.version, refused, kept }
    }

    /// Builds a snapshot that every worker has prepared. A filter that one of them cannot prepare
    /// is refused on all, so that none serves what another does not.
    fn build(&self, state: State, previous: &Snapshot) -> (Arc<Snapshot>, Vec<Refusal>) {
        let state = Arc::new(state);
        let mut unprepared = Vec::new();
        loop {
            let context = Context {
                host: &self.host,
                metrics: &self.metrics,
                previous,
                unprepared: &unprepared,
            };
            let (snapshot, refused) = Snapshot::build(state.clone(), &context);
            let snapshot = Arc::new(snapshot);
            let failed = self.prepare(&snapshot);
            // A version is prepared once: this comes to an end.
            if failed.is_empty() {
                return (snapshot, refused);
            }
            unprepared.extend(failed.into_iter().filter_map(|refusal| {
                let version = snapshot.filter_version(&refusal.key.name)?;
                Some(Unprepared { version, refusal })
            }));
        }
    }

    /// Binds the ports that are new, for all workers.
    fn open(
        &self,
        control: &Control,
        snapshot: &Snapshot,
        refused: &mut Vec<Refusal>,
    ) -> Vec<Opened> {
        let mut opened = Vec::new();
        for (number, port) in &snapshot.ports {
            for ip in &self.options.bind {
                if control.bound.iter().any(|b| b.port == *number && b.address.ip() == *ip) {
                    continue;
                }
                let offset = self.options.port_offset;
                match bind(*ip, *number, offset, self.workers.len()) {
                    Ok(sockets) => opened.push(sockets),
                    Err(error) => {
                        refused.extend(port.listeners.iter().map(|listener| Refusal {
                            key: Key::new(Kind::Listener, &*listener.key),
                            reason: error.reason(),
                            message: error.to_string(),
                        }));
                    }
                }
            }
        }
        opened
    }

    /// Has all workers prepare a snapshot. Gives what they could not.
    fn prepare(&self, snapshot: &Arc<Snapshot>) -> Vec<Refusal> {
        let (done, prepared) = mpsc::channel();
        self.tell(|_| Command::Prepare { snapshot: snapshot.clone(), done: done.clone() });
        drop(done);
        let mut refused: Vec<Refusal> = Vec::new();
        for worker in self.wait(&prepared) {
            for refusal in worker.refused {
                if !refused.contains(&refusal) {
                    refused.push(refusal);
                }
            }
        }
        refused
    }

    /// Has all workers swap and serve the sockets.
    fn commit(&self, control: &mut Control, snapshot: &Snapshot, mut opened: Vec<Opened>) {
        let serves = |bound: &Bound| snapshot.ports.contains_key(&bound.port);
        let (kept, closed): (Vec<_>, Vec<_>) =
            std::mem::take(&mut control.bound).into_iter().partition(serves);
        control.bound = kept;
        control.bound.extend(opened.iter().map(|(bound, _)| *bound));
        let (done, committed) = mpsc::channel();
        self.tell(|_| {
            let mine = |(bound, sockets): &mut Opened| Some((*bound, sockets.pop()?));
            Command::Commit {
                open: opened.iter_mut().filter_map(mine).collect(),
                close: closed.clone(),
                done: done.clone(),
            }
        });
        drop(done);
        self.wait(&committed);
    }

    /// Accepts on exactly these sockets, which the agent handed over, each by its name; one that is
    /// accepted on already stays with its worker. Blocks until it is so.
    ///
    /// What waits in a socket that is no longer among them is still accepted.
    pub fn steer(&self, sockets: Vec<(u16, TcpListener)>) {
        let mut control = self.control.lock();
        let count = self.workers.len();
        let mut open: Vec<Vec<(u16, TcpListener)>> = (0..count).map(|_| Vec::new()).collect();
        let mut close: Vec<Vec<u16>> = vec![Vec::new(); count];
        let kept = |name: u16| sockets.iter().any(|(socket, _)| *socket == name);
        let (steered, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut control.steered).into_iter().partition(|(name, _)| kept(*name));
        control.steered = steered;
        for (name, worker) in gone {
            close[worker].push(name);
        }
        for (name, socket) in sockets {
            if control.steered.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let load =
                |worker: &usize| control.steered.iter().filter(|(_, of)| of == worker).count();
            let worker = (0..count).min_by_key(load).unwrap_or_default();
            control.steered.push((name, worker));
            open[worker].push((name, socket));
        }
        let (done, committed) = mpsc::channel();
        self.tell(|worker| Command::Steer {
            open: std::mem::take(&mut open[worker]),
            close: std::mem::take(&mut close[worker]),
            done: done.clone(),
        });
        drop(done);
        self.wait(&committed);
    }

    fn tell(&self, mut command: impl FnMut(usize) -> Command) {
        for (number, sender) in self.workers.iter().enumerate() {
            if sender.send(command(number)).is_err() {
                tracing::error!(number, "a worker has ended");
            }
        }
    }

    /// The answers of all workers.
    fn wait<T>(&self, answers: &mpsc::Receiver<T>) -> Vec<T> {
        let mut found = Vec::with_capacity(self.workers.len());
        while found.len() < self.workers.len() {
            match answers.recv_timeout(PATIENCE) {
                Ok(answer) => found.push(answer),
                Err(error) => {
                    tracing::error!("a worker does not answer: {error}");
                    break;
                }
            }
        }
        found
    }

    /// Whether a configuration was applied and serves.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Relaxed)
    }

    /// Where ports are served.
    pub fn ports(&self) -> Vec<BoundPort> {
        let control = self.control.lock();
        let bound = control.bound.iter();
        bound.map(|bound| BoundPort { port: bound.port, address: bound.address }).collect()
    }

    /// The configuration that serves.
    pub fn state(&self) -> Arc<State> {
        self.snapshot.load().state.clone()
    }

    /// The cells of all metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Where filters run.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Addresses that listeners are bound to.
    pub fn bind(&self) -> &[IpAddr] {
        &self.options.bind
    }

    /// The metrics page as of now.
    pub fn metrics_text(&self) -> String {
        self.page().render(PageFormat::OpenMetrics)
    }

    /// The configuration that serves, without secrets.
    pub fn config_dump(&self) -> serde_json::Value {
        let snapshot = self.snapshot.load();
        let stands_in = snapshot.filters.iter().filter(|slot| slot.stands_in);
        admin::dump(&snapshot.state, stands_in.map(|slot| (&*slot.config, slot.version)))
    }

    fn page(&self) -> MetricsPage {
        let host = self.host.clone();
        MetricsPage {
            metrics: self.metrics.clone(),
            filters: Some(Arc::new(move || host.stats())),
            tracer: self.options.tracer.clone(),
            export: self.options.export.clone(),
            log: self.options.access_log.clone(),
        }
    }

    /// Ends the proxy: no new connections, the others after their requests, at the latest after
    /// [`ProxyOptions::drain_timeout`]. Blocks until all workers have ended; a second call does
    /// nothing.
    pub fn drain(&self) {
        self.ready.store(false, Relaxed);
        let threads = std::mem::take(&mut *self.threads.lock());
        if threads.is_empty() {
            return;
        }
        let limit = self.options.drain_timeout;
        self.tell(|_| Command::Drain(limit));
        for thread in threads {
            if thread.handle.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

impl AdminSource for Proxy {
    fn live(&self) -> Result<(), String> {
        let now = Instant::now();
        for Thread { handle, heartbeat } in self.threads.lock().iter() {
            let name = handle.thread().name().unwrap_or("proxy-worker");
            if handle.is_finished() {
                return Err(format!("thread {name} has ended"));
            }
            if let Some(silent) = heartbeat.stuck(now) {
                return Err(format!("thread {name} is stuck for {} s", silent.as_secs()));
            }
        }
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        match self.is_ready() {
            true => Ok(()),
            false => Err("no configuration is in effect yet, or the proxy is ending".into()),
        }
    }

    fn metrics(&self, format: PageFormat) -> String {
        self.page().render(format)
    }

    fn config(&self) -> serde_json::Value {
        self.config_dump()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.drain();
    }
}
