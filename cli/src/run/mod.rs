//! `penstock run`: serves the objects in files, and what they become.

mod events;
mod gateway;
mod watch;

pub(crate) use events::Event;
pub(crate) use gateway::Gateway;

use crate::args::RunArgs;
use anyhow::Context as _;
use events::Printer;
use penstock_telemetry::LogFormat;
use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};
use tokio::signal::unix::{SignalKind, signal};
use watch::{Wake, Watcher};

/// Serves until the process is asked to end.
///
/// # Errors
/// When it cannot start.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<()> {
    let telemetry = penstock_telemetry::init("penstock", LogFormat::default())?;
    let (wake, wakes) = channel();
    listen_to_signals(wake.clone())?;
    let printer = Printer(args.output);
    let gateway = Gateway::start(&args.files.paths, &args.serve, &telemetry)?;
    serve(gateway, wake, &wakes, |events| printer.print(events));
    Ok(())
}

/// The control loop: reads, serves, waits for a change, until the process is asked to end.
pub(crate) fn serve(
    mut gateway: Gateway,
    wake: Sender<Wake>,
    wakes: &Receiver<Wake>,
    mut tell: impl FnMut(&[Event]),
) {
    let (mut watcher, problem) = Watcher::new(wake);
    if let Some(problem) = problem {
        let slowly = "files are read every ten seconds instead";
        tell(&[Event::Note(format!("the system cannot watch files ({problem}): {slowly}"))]);
    }
    if let Some(address) = gateway.admin_address() {
        tell(&[Event::Admin(address)]);
    }
    loop {
        let paths: Vec<_> = gateway.paths().map(ToOwned::to_owned).collect();
        // Before reading, so that no change falls between.
        watcher.watch(&paths, gateway.module_files().iter().map(AsRef::as_ref));
        let known = gateway.module_files();
        let events = gateway.reload();
        tell(&events);
        if gateway.module_files() != known {
            continue;
        }
        if watch::wait(wakes, gateway.read_time()) == Wake::Stop {
            break;
        }
    }
    tell(&[Event::Draining]);
    gateway.drain();
    tell(&[Event::Ended]);
}

/// SIGTERM and SIGINT end, SIGHUP reads again. A second SIGTERM or SIGINT ends at once.
pub(crate) fn listen_to_signals(wake: Sender<Wake>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let mut terminate = signal(SignalKind::terminate()).context("cannot receive SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot receive SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot receive SIGHUP")?;
    drop(_entered);
    let listen = move || {
        runtime.block_on(async {
            let mut stopping = false;
            loop {
                let next = tokio::select! {
                    _ = terminate.recv() => Wake::Stop,
                    _ = interrupt.recv() => Wake::Stop,
                    _ = hangup.recv() => Wake::Reload,
                };
                if next == Wake::Stop && std::mem::replace(&mut stopping, true) {
                    #[expect(clippy::disallowed_methods, reason = "asked for twice: at once")]
                    std::process::exit(130);
                }
                // The loop is gone only when the process ends.
                let _ = wake.send(next);
            }
        });
    };
    thread::Builder::new().name("signals".into()).spawn(listen)?;
    Ok(())
}
