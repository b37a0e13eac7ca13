//! Measures Penstock in a real cluster of two nodes, installed from its chart, from where clients are:
//! one JSON object on standard output. Needs root and `cargo xtask images`.

mod changes;
mod latency;
mod objects;
mod rest;
mod usage;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use penstock_e2e::Site;
use serde_json::json;

use crate::objects::Objects;

/// Measure Penstock in a cluster.
#[derive(Debug, Parser)]
#[command(after_help = "Example: bench-cluster --routes 1,1000 --samples 10")]
struct Args {
    /// Numbers of routes to measure at, growing.
    #[arg(long, value_delimiter = ',', default_value = "1,1000,5000")]
    routes: Vec<usize>,
    /// Routes that are timed at each number.
    #[arg(long, default_value_t = 40)]
    samples: usize,
    /// Seconds with one change each, for the operator's load.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Changes under load.
    #[arg(long, default_value_t = 1000)]
    changes: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(result) => {
            println!("{result:#}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<serde_json::Value> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = std::env::temp_dir().join(format!("penstock-bench-{}", std::process::id()));
    let site = Site::new(&folder)?;
    site.namespace(objects::NAMESPACE, &["blue", "green"])?;
    site.module(objects::NAMESPACE, "header-rules")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let objects = runtime.block_on(Objects::new(&site))?;
    runtime.block_on(objects.base())?;
    let address = site.gateway(objects::NAMESPACE, "bench", 80)?;

    let idle = usage::all(&site)?;
    let mut steps = Vec::new();
    let mut have = 0;
    for &routes in &args.routes {
        let writes = rest::writes(&site)?;
        runtime.block_on(objects.grow(have, routes))?;
        objects::attached(&site, routes)?;
        let written = rest::settled(&site)?.since(&writes);
        let times = runtime.block_on(latency::measure(&objects, address, args.samples))?;
        eprintln!("  {routes} routes: {times:?}");
        steps.push(json!({
            "routes": routes,
            "added": routes - have,
            "first_answer": times.json(),
            "status_writes": written.json(),
        }));
        have = routes;
    }
    let rest = rest::quiet(&site, Duration::from_secs(15))?;
    let load = runtime.block_on(usage::with_changes(&site, &objects, args.seconds))?;
    let full = usage::all(&site)?;
    runtime.block_on(objects.shrink(have))?;
    let changes = runtime
        .block_on(changes::under_load(&site, &objects, address, args.changes))
        .context("changes under load")?;
    Ok(json!({
        "steps": steps,
        "writes_at_rest": rest.json(),
        "routes": have,
        "operator_cores": load,
        "idle": idle,
        "full": full,
        "changes": changes,
    }))
}
