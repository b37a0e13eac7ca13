//! The parts, put together.

use super::{Handover, Health, Serve, SignedModules, args::Args};
use crate::{
    Proxy, ProxyOptions,
    telemetry::{AccessLog, Tracer},
};
use anyhow::Context as _;
use penstock_filter_host::{Host, HostConfig};
use penstock_stream::{ClientOptions, LoadModules, Role, Store};
use penstock_telemetry::{Guard, admin::AdminServer};
use std::{io, path::Path, sync::Arc, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// For the last lines of the access log.
const LAST_LINES: Duration = Duration::from_secs(2);
/// For the next agent to take the sockets, before this process ends. The chart's grace period has
/// room for it beside the drain timeout.
const NEXT_AGENT: Duration = Duration::from_secs(10);
const AGENT_RETRY: Duration = Duration::from_millis(50);
/// For the agent to make the folder of the store.
const STORE_ATTEMPTS: u32 = 25;
const STORE_RETRY: Duration = Duration::from_millis(200);

/// Serves until SIGTERM or SIGINT, then lets what is in flight end.
///
/// # Errors
/// Something that the proxy needs cannot be set up.
pub fn run(args: Args, telemetry: &Guard) -> anyhow::Result<()> {
    let host = Host::new(HostConfig::default())?;
    let access_log = args
        .access_log
        .map(|format| AccessLog::start(format, io::stdout()).map(Arc::new))
        .transpose()?;
    let mut options = ProxyOptions {
        bind: args.bind.clone(),
        drain_timeout: Duration::from_secs(args.drain_timeout),
        tracer: telemetry.spans().map(|sink| Arc::new(Tracer::new(sink))),
        export: telemetry.export_stats(),
        access_log: access_log.clone(),
        ..ProxyOptions::default()
    };
    if let Some(workers) = args.workers {
        options.workers = workers.into();
    }
    let workers = options.workers;
    let proxy = Arc::new(Proxy::start(options, host.clone())?);
    let handover = args.agent.clone().map(|path| {
        let (pod, addresses) = (args.pod.clone(), args.pod_ips.clone());
        Arc::new(Handover::new(path, pod, addresses, workers, proxy.clone()))
    });
    let health = Health::new(proxy.clone(), handover.clone());
    let admin = AdminServer::start(args.admin, Arc::new(health))
        .with_context(|| format!("cannot serve {}; use another --admin", args.admin))?;
    let talking = handover.as_ref().map(Handover::start).transpose()?;
    let modules: Arc<dyn LoadModules> =
        Arc::new(SignedModules::new(host, args.modules_key.clone()));
    let serve = Serve::new(proxy.clone(), handover.clone());
    let options = stream(&args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot receive SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot receive SIGINT")?;
        let asked = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("asked to end: draining");
            if let Some(handover) = &handover {
                wait_for_agent(handover).await;
                handover.leave();
            }
        };
        penstock_stream::run(options, serve, Some(modules), asked).await;
        anyhow::Ok(())
    })?;
    proxy.drain();
    if talking.is_some_and(|thread| thread.join().is_err()) {
        tracing::error!("the thread of the handover panicked");
    }
    drop(admin);
    if let Some(log) = access_log {
        log.shutdown(LAST_LINES);
    }
    Ok(())
}

/// While an agent is replaced only this process has the sockets: connections that wait in them would be
/// reset with its end.
async fn wait_for_agent(handover: &Handover) {
    let end = tokio::time::Instant::now() + NEXT_AGENT;
    while handover.alone() && tokio::time::Instant::now() < end {
        tokio::time::sleep(AGENT_RETRY).await;
    }
}

/// The store. The agent opens its folder to proxies, and may be a little later; without a store a
/// proxy serves as well, it only has to ask the operator when it starts again.
fn open(directory: &Path, key: &Path) -> Option<Store> {
    for _ in 0..STORE_ATTEMPTS {
        match Store::open(directory, key) {
            Ok(store) => return Some(store),
            Err(error) => tracing::debug!("{error}"),
        }
        std::thread::sleep(STORE_RETRY);
    }
    let opened = Store::open(directory, key);
    opened.map_err(|error| tracing::warn!("the configuration is not kept: {error}")).ok()
}

fn stream(args: &Args) -> anyhow::Result<ClientOptions> {
    let store = args.store.as_ref().and_then(|directory| open(directory, &args.store_key));
    Ok(ClientOptions {
        endpoint: args.operator.clone(),
        server_name: args.operator_name.clone(),
        ca: args.ca.clone(),
        token: args.token.clone(),
        node: args.node.clone(),
        pod: args.pod.clone(),
        role: Role::Proxy,
        store,
        addresses: None,
        link: None,
        follow: penstock_telemetry::trace::follow,
    })
}
