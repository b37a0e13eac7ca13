//! The thread of a worker.

use super::{
    Clock, Command, Committed, Ending, Entrance, Heartbeat, Policies, Prepared, Registry, TICK,
    View, Worker,
};
use crate::{
    downstream,
    snapshot::Snapshot,
    telemetry::WorkerTelemetry,
    upstream::{Pool, PoolOptions},
};
use hashbrown::HashMap;
use penstock_filter_host::Host;
use std::{
    cell::{Cell, RefCell},
    io,
    net::TcpListener,
    rc::Rc,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};
use tokio::{
    runtime::{LocalOptions, LocalRuntime},
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior},
};

/// What a worker is started with.
#[derive(Debug)]
pub struct WorkerConfig {
    /// Its telemetry, which has its number.
    pub telemetry: WorkerTelemetry,
    /// Where policies run.
    pub host: Host,
    /// How its pool behaves.
    pub pool: PoolOptions,
    /// With which it says that it turns.
    pub heartbeat: Arc<Heartbeat>,
}

/// Starts a worker. The thread ends after [`Command::Drain`], or when the sender is dropped.
///
/// # Errors
/// The system has no thread or no event queue left.
pub fn spawn(config: WorkerConfig) -> io::Result<(mpsc::UnboundedSender<Command>, JoinHandle<()>)> {
    let (sender, commands) = mpsc::unbounded_channel();
    // The runtime cannot move to another thread, so it is made on its own.
    let (report, made) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name(format!("proxy-worker-{}", config.telemetry.worker()))
        .spawn(move || {
            // Who asked waits for the report.
            match runtime() {
                Ok(runtime) => {
                    let _ = report.send(Ok(()));
                    runtime.block_on(run(config, commands));
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                }
            }
        })?;
    made.recv().map_err(io::Error::other)??;
    Ok((sender, thread))
}

/// A runtime whose tasks all belong to its thread. Without a `LocalSet` around them a wake costs one
/// queue instead of two, and the worker's own loop is looked at only when it was woken.
fn runtime() -> io::Result<LocalRuntime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // Names of endpoints are resolved there; nothing else blocks.
        .max_blocking_threads(4)
        .build_local(LocalOptions::default())
}

/// The sockets of a worker: telling a sender ends the accept loop.
type Sockets = HashMap<Entrance, (watch::Sender<bool>, tokio::task::JoinHandle<()>)>;

async fn run(config: WorkerConfig, mut commands: mpsc::UnboundedReceiver<Command>) {
    let clock = Rc::new(Clock::default());
    let policies = Policies::new(&config.host, config.telemetry.worker(), config.heartbeat.clone());
    let policies = Rc::new(policies);
    let pool = Pool::new(config.pool, clock.clone());
    let (view, _) = View::prepare(Arc::new(Snapshot::empty()), None, &policies, &pool);
    let worker = Rc::new(Worker {
        telemetry: config.telemetry,
        policies,
        pool,
        clock,
        connections: Registry::default(),
        heartbeat: config.heartbeat,
        view: RefCell::new(Rc::new(view)),
        draining: Cell::new(false),
    });
    let mut sockets = Sockets::default();
    let mut prepared: Option<Rc<View>> = None;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let drain = loop {
        let command = tokio::select! {
            biased;
            command = commands.recv() => command,
            _ = ticks.tick() => {
                tick(&worker);
                continue;
            }
        };
        match command {
            Some(Command::Prepare { snapshot, done }) => {
                let (view, refused) =
                    View::prepare(snapshot, Some(&worker.view()), &worker.policies, &worker.pool);
                prepared = Some(Rc::new(view));
                // Who asked may have given up; then nobody commits either.
                let _ = done.send(Prepared { refused });
            }
            Some(Command::Commit { open, close, done }) => {
                let gone = prepared.take().map(|view| commit(&worker, view)).unwrap_or_default();
                stop(&mut sockets, close.into_iter().map(Entrance::Bound)).await;
                for port in gone {
                    worker.connections.finish(Some(port), Ending::Drain);
                }
                start(
                    &worker,
                    &mut sockets,
                    open.into_iter().map(|(b, s)| (Entrance::Bound(b), s)),
                );
                worker.policies.maintain();
                let _ = done.send(Committed);
            }
            Some(Command::Steer { open, close, done }) => {
                stop(&mut sockets, close.into_iter().map(Entrance::Steered)).await;
                start(
                    &worker,
                    &mut sockets,
                    open.into_iter().map(|(n, s)| (Entrance::Steered(n), s)),
                );
                let _ = done.send(Committed);
            }
            Some(Command::Drain(limit)) => break limit,
            None => break Duration::ZERO,
        }
    };
    end(&worker, sockets, ticks, drain).await;
}

/// Swaps what was prepared in. Gives the ports that are served no longer.
fn commit(worker: &Worker, view: Rc<View>) -> Vec<u32> {
    let before = worker.swap(view);
    let snapshot = worker.view().snapshot.clone();
    worker.connections.drain_outdated(|port, session| snapshot.admits(port, session));
    let ports = before.snapshot.ports.keys();
    ports.filter(|port| !snapshot.ports.contains_key(*port)).copied().collect()
}

fn tick(worker: &Worker) {
    worker.heartbeat.beat(std::time::Instant::now());
    worker.clock.tick();
    let now = worker.clock.now();
    worker.connections.tick(now);
    if now.is_multiple_of(10) {
        worker.pool.prune();
    }
    worker.policies.maintain();
}

fn start(
    worker: &Rc<Worker>,
    sockets: &mut Sockets,
    open: impl Iterator<Item = (Entrance, TcpListener)>,
) {
    for (entrance, socket) in open {
        let listener = match tokio::net::TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%entrance, "cannot accept connections: {error}");
                continue;
            }
        };
        let (close, closing) = watch::channel(false);
        let accept = downstream::accept(worker.clone(), entrance, listener, closing);
        sockets.insert(entrance, (close, tokio::task::spawn_local(accept)));
    }
}

/// Ends sockets. Connections that wait to be accepted still are.
async fn stop(sockets: &mut Sockets, close: impl Iterator<Item = Entrance>) {
    for entrance in close {
        if let Some((close, task)) = sockets.remove(&entrance) {
            close_socket(entrance, close, task).await;
        }
    }
}

async fn close_socket(
    entrance: Entrance,
    close: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
) {
    let _ = close.send(true);
    if let Err(error) = task.await {
        tracing::error!(%entrance, "accept loop: {error}");
    }
}

/// Lets the requests of all connections end.
async fn end(
    worker: &Worker,
    mut sockets: Sockets,
    mut ticks: tokio::time::Interval,
    limit: Duration,
) {
    worker.draining.set(true);
    for (entrance, (close, task)) in sockets.drain() {
        close_socket(entrance, close, task).await;
    }
    worker.connections.finish(None, Ending::Drain);
    let deadline = Instant::now() + limit;
    while worker.connections.open() > 0 && Instant::now() < deadline {
        ticks.tick().await;
        tick(worker);
    }
    let left = worker.connections.open();
    if left > 0 {
        tracing::warn!(left, "connections were still busy when the drain timeout was over");
        worker.connections.finish(None, Ending::Kill("drain-timeout"));
        tokio::task::yield_now().await;
    }
}
