//! The parts, put together.

use crate::{
    Configuration, GRACE, Input, Keeper, Kernel, NoKernel, NodeKernel, Status,
    addresses::Addresses, admin::Health, args::RunArgs, handover, watch_devices,
};
use anyhow::Context as _;
use parking_lot::Mutex;
use penstock_handover::Listener;
use penstock_net::Feature;
use penstock_stream::{ClientOptions, Link, Role, Store};
use penstock_telemetry::admin::AdminServer;
use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::ExitCode,
    sync::{Arc, mpsc},
    thread,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// Something that the agent needs cannot be set up.
pub fn run(args: RunArgs) -> anyhow::Result<()> {
    for folder in &args.share {
        share(folder).with_context(|| format!("cannot open {} to proxies", folder.display()))?;
    }
    let status = Arc::<Mutex<Status>>::default();
    let (say, inputs) = mpsc::channel();
    let keeper = keep(kernel(&args, &status), inputs, status.clone())?;
    if let Err(error) = watch_devices(say.clone()) {
        tracing::warn!("{error}; new and old devices are noticed later");
    }
    let listener = Arc::new(Listener::bind(&args.handover)?);
    let taking = handover::listen(listener.clone(), say.clone())?;
    let (link, linked) = watch::channel(Link::default());
    let mut health = Health::new(status, linked);
    let mut addresses = None;
    let mut port = None;
    if args.addresses.addresses {
        let (started, own, seen) = Addresses::start(&args.addresses)?;
        (addresses, port, health) = (Some(started), Some(own), health.with_addresses(seen));
    } else if let Err(error) = penstock_net::egress::remove() {
        // Of an earlier agent that gave addresses. One without privilege has a word to say of that anyway.
        tracing::warn!("{error}");
    }
    let health = Arc::new(health);
    let admin = AdminServer::start(args.admin, health)
        .with_context(|| format!("cannot serve {}; use another --admin", args.admin))?;
    let options = ClientOptions { addresses: port, ..options(&args, link)? };
    let configuration = Configuration::new(say.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot receive SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot receive SIGINT")?;
        let asked = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("asked to end; what is steered goes on");
        };
        let stream = penstock_stream::run(options, configuration, None, asked);
        match &mut addresses {
            Some(addresses) => {
                let listener = addresses.bind()?;
                tokio::select! {
                    () = stream => {}
                    () = addresses.run(listener) => {}
                }
            }
            None => stream.await,
        }
        anyhow::Ok(())
    })?;
    drop(admin);
    listener.close();
    // The keeper may have ended by itself; then it said why.
    let _ = say.send(Input::End);
    if addresses.is_some_and(|addresses| addresses.end().is_err()) {
        anyhow::bail!("the thread that gives addresses panicked");
    }
    for thread in [taking, keeper] {
        if thread.join().is_err() {
            anyhow::bail!("a thread of the agent panicked");
        }
    }
    Ok(())
}

/// A folder that proxies may write to: they have no user that could make it, and share the agent's
/// group.
fn share(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::os::unix::fs::chown(folder, None, Some(rustix::process::getgid().as_raw()))?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o770))
}

/// The node's kernel, or what stands for one that cannot steer.
fn kernel(args: &RunArgs, status: &Mutex<Status>) -> Box<dyn Kernel> {
    let pins = args.pins.pins.as_path();
    let missing = penstock_net::probe(pins);
    for missing in &missing {
        // Without links there is another way onto a device.
        match missing.feature {
            Feature::DeviceLinks => tracing::info!("{missing}; filters are used instead"),
            _ => tracing::error!("{missing}"),
        }
    }
    let trouble = match missing.into_iter().find(|m| m.feature != Feature::DeviceLinks) {
        Some(missing) => missing.to_string(),
        None => match NodeKernel::start(pins, &args.node, args.addresses.pod_redirect) {
            Ok(kernel) => return Box::new(kernel),
            Err(error) => error.to_string(),
        },
    };
    let trouble = format!("nothing is steered, proxies bind their own ports: {trouble}");
    tracing::error!("{trouble}");
    status.lock().fallback = Some(trouble.clone());
    Box::new(NoKernel(trouble))
}

fn keep(
    kernel: Box<dyn Kernel>,
    inputs: mpsc::Receiver<Input>,
    status: Arc<Mutex<Status>>,
) -> std::io::Result<thread::JoinHandle<()>> {
    let keeper = Keeper::new(kernel, GRACE, status);
    thread::Builder::new().name("keeper".into()).spawn(move || keeper.run(&inputs))
}

fn options(args: &RunArgs, link: watch::Sender<Link>) -> anyhow::Result<ClientOptions> {
    let store = match &args.store {
        Some(directory) => Some(Store::open(directory, &args.store_key)?),
        None => None,
    };
    Ok(ClientOptions {
        endpoint: args.operator.clone(),
        server_name: args.operator_name.clone(),
        ca: args.ca.clone(),
        token: args.token.clone(),
        node: args.node.clone(),
        pod: args.pod.clone(),
        role: Role::Agent,
        store,
        addresses: None,
        link: Some(link),
        follow: penstock_telemetry::trace::follow,
    })
}

/// Prints what the node lacks.
pub fn probe(pins: &Path) -> ExitCode {
    let missing = penstock_net::probe(pins);
    for missing in &missing {
        println!("{missing}");
    }
    match missing.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
