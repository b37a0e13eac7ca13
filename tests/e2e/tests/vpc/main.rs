//! Penstock as the only network of a cluster: pods have addresses of a VPC. All scenarios share one
//! cluster and run one after the other: arguments name those to run.

mod again;
mod churn;
mod egress;
mod pods;

use penstock_e2e::{VpcSite, play};
use std::{path::Path, process::ExitCode};

/// A scenario.
type Scenario = penstock_e2e::Scenario<VpcSite>;

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vpc");
    let scenarios: Vec<Scenario> = [pods::ALL, egress::ALL, churn::ALL, again::ALL].concat();
    play(&scenarios, || VpcSite::new(&folder), |site| site.report())
}
