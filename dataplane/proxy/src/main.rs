//! The proxy on a node.

use anyhow::Context as _;
use clap::Parser as _;
use penstock_proxy::node::{self, args::Args};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    let result = penstock_telemetry::init("penstock-proxy", args.log_format)
        .context("cannot set up the log")
        .and_then(|telemetry| node::run(args, &telemetry));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
