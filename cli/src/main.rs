//! The penstock command: Gateway API on one machine, and what a cluster makes of it.

mod args;
mod check;
mod cluster;
mod control;
mod demo;
mod echo;
mod eni;
mod loader;
mod run;
mod sources;
mod status;
mod table;

use args::{Cli, Command};
use clap::Parser as _;
use std::{
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code where nothing could be done at all.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Check(args) => check::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Echo(args) => echo::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Eni(command) => eni::run(&command),
        Command::Run(args) => run::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Status(args) => status::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(FAILED)
    })
}

/// Seconds since 1970.
fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}
