//! Everything put together.

use crate::{
    addresses::{self, Lead},
    admin::Health,
    args::Options,
    clock::Clock,
    core::{Core, CoreOptions, Input},
    engine::{Engine, Inbox, Outlets, Publisher},
    fetching::Fetching,
    identity::TokenReviews,
    lease::{ElectOptions, elect},
    metrics::Metrics,
    modules::{self, Shelf},
    names, nodes, preflight, taints,
    trust::{Keeper, KeeperOptions, Trust},
    watch as watches,
    write::{self, Leader},
};
use anyhow::Context as _;
use futures_util::future::BoxFuture;
use kube::Client;
use penstock_filter_host::{Host, HostConfig};
use penstock_modules::Fetcher;
use penstock_stream::{Fleet, router};
use penstock_telemetry::admin::AdminServer;
use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, thread, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};

/// For the lease to be given back and the streams to end.
const LAST_WORDS: Duration = Duration::from_secs(8);

/// Where a replica listens, once it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The stream.
    pub stream: SocketAddr,
    /// Health and metrics.
    pub metrics: SocketAddr,
}

/// Runs a replica until `shutdown`: then the lease is given back, the streams end, and it returns. The
/// future is boxed, so that the operator is compiled here, once, and not by every crate that awaits it.
///
/// # Errors
/// When it cannot listen or start its threads. What the API server does is no error: it is waited
/// for.
pub fn run(
    options: Options,
    client: Client,
    shutdown: watch::Receiver<bool>,
) -> BoxFuture<'static, anyhow::Result<()>> {
    run_and_tell(options, client, shutdown, Box::new(|_| {}))
}

/// The same, and says where it listens.
///
/// # Errors
/// As [`run`].
pub fn run_and_tell(
    options: Options,
    client: Client,
    shutdown: watch::Receiver<bool>,
    listening: Box<dyn FnOnce(Listening) + Send>,
) -> BoxFuture<'static, anyhow::Result<()>> {
    Box::pin(replica(options, client, shutdown, listening))
}

async fn replica(
    options: Options,
    client: Client,
    shutdown: watch::Receiver<bool>,
    listening: Box<dyn FnOnce(Listening) + Send>,
) -> anyhow::Result<()> {
    let clock = Clock::start();
    let metrics = Metrics::default();
    let (inbox, inputs) = Inbox::new(metrics.clone());
    let publisher = Publisher::new(Fleet::new());
    let (leading, is_leading) = watch::channel(false);
    let (terms, term) = watch::channel(0);
    let (trusting, trust) = watch::channel(None);
    let (waiting, waiting_for) = watch::channel(penstock_resources::KINDS.to_vec());
    let (writes, wanted) = mpsc::unbounded_channel();
    let (module_tasks, tasks) = std::sync::mpsc::channel();
    let shelf = Shelf::new(trust.clone());

    // Where it cannot listen it must not take the lease.
    let stream = TcpListener::bind(options.stream_bind).await.with_context(|| {
        format!("cannot listen on {}: choose another --stream-bind", options.stream_bind)
    })?;
    let health = Health {
        metrics: metrics.clone(),
        waiting_for,
        trust: trust.clone(),
        publisher: publisher.clone(),
    };
    let admin = AdminServer::start(options.metrics_bind, Arc::new(health)).with_context(|| {
        format!("cannot listen on {}: choose another --metrics-bind", options.metrics_bind)
    })?;
    let at = Listening { stream: stream.local_addr()?, metrics: admin.address() };
    tracing::info!(stream = %at.stream, metrics = %at.metrics, me = options.me, "listening");
    listening(at);

    let fetcher = Fetcher::new(options.fetch.clone()).context("TLS cannot be set up")?;
    let fetching = Fetching::new(fetcher, client.clone(), module_tasks.clone());
    let outlets = Outlets {
        publisher: publisher.clone(),
        writes,
        modules: module_tasks,
        waiting_for: waiting,
    };
    let core = Core::new(CoreOptions {
        namespace: options.namespace.clone(),
        grace: options.grace,
        refresh: options.refresh,
    });
    let engine = Engine::new(core, clock, inputs, outlets, metrics.clone());
    spawn("core", move || engine.run())?;
    let host = Host::new(HostConfig::default())?;
    let known = modules::modules(host, options.compiler.clone());
    let (facts, artifacts) = (inbox.clone(), shelf.clone());
    spawn("modules", move || modules::run(known, &tasks, &fetching, &facts, &artifacts))?;

    let mut background = JoinSet::new();
    let untaints = !options.node_taint.is_empty();
    let does = preflight::Does { untaints, addresses: options.addresses.is_some() };
    background.spawn(preflight::look(client.clone(), options.namespace.clone(), does));
    background.spawn(watches::watch(client.clone(), inbox.clone()));
    let (agents, ready) = watch::channel(BTreeSet::new());
    let (serving, serves) = watch::channel(BTreeSet::new());
    background.spawn(nodes::follow(publisher.clone(), inbox.clone(), metrics.clone(), agents));
    if untaints {
        let (key, leading) = (options.node_taint.clone(), is_leading.clone());
        let serving = options.addresses.is_some();
        let serving = serving.then(|| (serves.clone(), options.agent_absence));
        background.spawn(taints::follow(client.clone(), clock, key, leading, ready, serving));
    }
    let me = options.me.clone();
    background.spawn(write::write(
        client.clone(),
        clock,
        metrics.clone(),
        inbox.clone(),
        me,
        is_leading.clone(),
        wanted,
    ));
    let keeper = keeper(&options);
    let keeper = Keeper::new(client.clone(), keeper, clock, is_leading.clone(), trusting);
    background.spawn(keeper.run());
    match options.pod_ip {
        Some(address) => {
            let leader = Leader {
                namespace: options.namespace.clone(),
                service: options.stream_service.clone(),
                address,
                port: at.stream.port(),
                pod: options.me.clone(),
            };
            background.spawn(write::lead(client.clone(), leader, is_leading.clone()));
        }
        None => tracing::info!("no --pod-ip: the endpoint of the stream's Service is not written"),
    }
    let fleet = publisher.fleet().clone();
    if let Some(addresses) = options.addresses.clone() {
        let (me, leading) = (options.me.clone(), is_leading.clone());
        let lead = Lead { me, leading, terms: term, serving };
        let (client, fleet, metrics) = (client.clone(), fleet.clone(), metrics.addresses.clone());
        background.spawn(addresses::drive(addresses, client, clock, fleet, metrics, lead));
    }
    background.spawn(follow_lease(is_leading, fleet.clone(), inbox, metrics));

    let reviews = TokenReviews::new(client.clone(), options.accounts.clone());
    let serve = serve(stream, trust, router(fleet, reviews, shelf), shutdown.clone());
    let mut ending = JoinSet::new();
    ending.spawn(async move {
        if let Err(error) = serve.await {
            tracing::error!(%error, "nodes are not served any more");
        }
    });
    let election = ElectOptions {
        namespace: options.namespace.clone(),
        lease: options.lease.clone(),
        me: options.me.clone(),
        timing: options.timing,
    };
    ending.spawn(elect(client, election, clock, leading, terms, shutdown.clone()));

    let mut asked = shutdown;
    // A sender that is gone means the same.
    let _ = asked.wait_for(|asked| *asked).await;
    let ended = timeout(LAST_WORDS, async { while ending.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::warn!("some of it did not end in time");
    }
    background.shutdown().await;
    tracing::info!("ended");
    Ok(())
}

/// Serves the stream as soon as there is a certificate.
async fn serve(
    listener: TcpListener,
    mut trust: watch::Receiver<Option<Trust>>,
    router: penstock_stream::Router,
    mut shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut end = shutdown.clone();
    let first = tokio::select! {
        first = trust.wait_for(Option::is_some) => first?.clone(),
        _ = end.wait_for(|asked| *asked) => return Ok(()),
    };
    let Some(first) = first else { return Ok(()) };
    let (rotate, tls) = watch::channel(first.tls);
    let rotation = async move {
        while trust.changed().await.is_ok() {
            if let Some(trust) = &*trust.borrow_and_update() {
                rotate.send_replace(trust.tls.clone());
            }
        }
        // Nobody rotates any more, and what is served stays.
        std::future::pending::<()>().await;
    };
    let asked = async move {
        let _ = shutdown.wait_for(|asked| *asked).await;
    };
    tokio::select! {
        served = router.serve(listener, tls, asked) => Ok(served?),
        () = rotation => Ok(()),
    }
}

/// Tells everybody who has to know whether this replica leads; never ends.
async fn follow_lease(
    mut leading: watch::Receiver<bool>,
    fleet: Fleet,
    inbox: Inbox,
    metrics: Metrics,
) {
    loop {
        let leads = *leading.borrow_and_update();
        fleet.set_leading(leads);
        metrics.leader.set(i64::from(leads));
        inbox.send(Input::Leading(leads));
        if leading.changed().await.is_err() {
            // The election is over, and with it the process.
            std::future::pending::<()>().await;
        }
    }
}

fn keeper(options: &Options) -> KeeperOptions {
    let (service, namespace) = (&options.stream_service, &options.namespace);
    let names = ["", ".svc", ".svc.cluster.local"];
    KeeperOptions {
        namespace: namespace.clone(),
        secret: names::AUTHORITY.into(),
        config_map: names::TRUST.into(),
        names: names.iter().map(|end| format!("{service}.{namespace}{end}")).collect(),
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let spawned = thread::Builder::new().name(name.into()).spawn(run);
    spawned.map(drop).with_context(|| format!("cannot start the thread {name}"))
}
