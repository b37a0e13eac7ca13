//! The operator.

use anyhow::Context as _;
use clap::Parser as _;
use penstock_controller::args::{Cli, Command, PreflightArgs, RunArgs, UninstallArgs, client};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use std::{io::Write as _, process::ExitCode};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Threads for everything that waits for a network.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let args = match Cli::parse().command {
        Command::Run(args) => args,
        Command::Uninstall(args) => return exit(uninstall(args)),
        Command::Preflight(args) => return preflight(&args),
        Command::Compile(args) => return penstock_modules::compile_and_exit(args.limits()),
    };
    exit(run(*args))
}

fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn uninstall(args: UninstallArgs) -> anyhow::Result<()> {
    let telemetry = penstock_telemetry::init("penstock-operator", args.log_format)?;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = client(args.kubeconfig.as_deref()).await?;
        penstock_controller::uninstall::run(client, args.into()).await
    })?;
    drop(telemetry);
    Ok(())
}

/// Exit code where nothing could be asked.
const FAILED: u8 = 2;

fn preflight(args: &PreflightArgs) -> ExitCode {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let report = runtime.context("no runtime").and_then(|runtime| {
        runtime.block_on(async {
            // Without Kubernetes there still is EC2.
            let client = client(args.kubeconfig.as_deref()).await;
            penstock_controller::addresses::preflight(&args.addresses, client).await
        })
    });
    let printed = report.and_then(|report| {
        std::io::stdout().write_all(report.text(args.output)?.as_bytes())?;
        Ok(ExitCode::from(u8::from(!report.is_well())))
    });
    printed.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(FAILED)
    })
}

fn run(args: RunArgs) -> anyhow::Result<()> {
    // What compiles modules has this user as well, and must not read our keys out of our memory.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .context("cannot close this process's memory to others of its user")?;
    let telemetry = penstock_telemetry::init("penstock-operator", args.log_format)?;
    // The client of the API server takes what is set for the process.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("operator")
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot receive SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot receive SIGINT")?;
        let (asked, shutdown) = watch::channel(false);
        let signals = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("asked to end");
            asked.send_replace(true);
            std::future::pending::<()>().await;
        };
        let client = client(args.kubeconfig.as_deref()).await?;
        tokio::select! {
            result = penstock_controller::run(args.options()?, client, shutdown) => result,
            () = signals => Ok(()),
        }
    })?;
    drop(telemetry);
    Ok(())
}
