//! `cargo xtask conformance`: the official suite of the Gateway API against a test cluster.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use penstock_test_cluster::{Cluster, Suite, default_dir};

/// Run the official conformance suite of the Gateway API where clients of the test cluster are
#[derive(Debug, clap::Args)]
pub(crate) struct ConformanceArgs {
    /// The profiles, with commas between
    #[arg(long, default_value = "GATEWAY-HTTP")]
    profiles: String,
    /// Only tests whose name matches this pattern, for example 'HTTPRoute.*Match'
    #[arg(long)]
    run: Option<String>,
    /// The GatewayClass, whose status says which features are claimed
    #[arg(long, default_value = "penstock")]
    class: String,
    /// The cluster's folder [default: in the cache]
    #[arg(long)]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &ConformanceArgs) -> Result<ExitCode> {
    let cluster = Cluster::open(&args.dir.clone().unwrap_or_else(default_dir))?;
    let suite =
        Suite { profiles: args.profiles.clone(), run: args.run.clone(), class: args.class.clone() };
    let status = suite.prepare(&cluster)?.status().context("cannot run the suite")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
