//! The node agent.

use anyhow::Context as _;
use clap::Parser as _;
use penstock_agent::args::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => penstock_telemetry::init("penstock-agent", args.log_format)
            .context("cannot set up the log")
            .and_then(|_telemetry| penstock_agent::run(*args))
            .map(|()| ExitCode::SUCCESS),
        Command::Uninstall(args) => penstock_agent::uninstall(&args).map(|()| ExitCode::SUCCESS),
        Command::Probe(args) => Ok(penstock_agent::probe(&args.pins)),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
