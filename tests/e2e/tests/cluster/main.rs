//! Penstock in a real cluster, installed from its chart, seen from where its clients are. All scenarios
//! share one cluster and run one after the other: arguments name those to run.
//!
//! `PENSTOCK_E2E_CLUSTER=FOLDER` uses a cluster that is up already (`cargo xtask cluster up`).

mod addresses;
mod chart;
mod compiler;
mod confinement;
mod conformance;
mod example;
mod failures;
mod invalid;
mod objects;
mod permissions;
mod policies;
mod registry;
mod traces;
mod traps;
mod versions;
mod world;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Error, Result};
use penstock_e2e::Site;

/// A scenario.
type Scenario = (&'static str, fn(&Site) -> Result<()>);

fn scenarios() -> Vec<Scenario> {
    [
        policies::ALL,
        example::ALL,
        addresses::ALL,
        confinement::ALL,
        permissions::ALL,
        versions::ALL,
        invalid::ALL,
        traps::ALL,
        registry::ALL,
        compiler::ALL,
        failures::ALL,
        traces::ALL,
        conformance::ALL,
        // Last: the release comes and goes.
        chart::ALL,
    ]
    .concat()
}

/// A route of a Gateway, and of its namespace, to the backend `echo`.
fn route(namespace: &str, gateway: &str) -> String {
    format!(
        "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: echo, namespace: {namespace} }}
spec:
  parentRefs: [{{ name: {gateway} }}]
  rules: [{{ backendRefs: [{{ name: echo, port: 80 }}] }}]
"
    )
}

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted =
        |name: &str| asked.is_empty() || asked.iter().any(|part| name.contains(part.as_str()));
    let scenarios: Vec<_> = scenarios().into_iter().filter(|(name, _)| wanted(name)).collect();
    if scenarios.is_empty() {
        return ExitCode::SUCCESS;
    }
    match run(&scenarios) {
        Ok(failed) if failed.is_empty() => ExitCode::SUCCESS,
        Ok(failed) => {
            // Once more, in short: where only the end of an output is kept, it says what to look for.
            eprintln!("{} of {} scenarios failed:", failed.len(), scenarios.len());
            failed.iter().for_each(|(name, error)| eprintln!("  {name}: {error:#}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("no cluster with Penstock in it: {error:?}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the scenarios and says which failed, and why.
fn run(scenarios: &[Scenario]) -> Result<Vec<(&'static str, Error)>> {
    let start = Instant::now();
    let site = Site::new(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e"))?;
    println!("the cluster is up, Penstock installed: {:.1} s", start.elapsed().as_secs_f32());
    let mut failed = Vec::new();
    for (name, scenario) in scenarios {
        let start = Instant::now();
        let result = scenario(&site);
        let took = start.elapsed().as_secs_f32();
        match result {
            Ok(()) => println!("scenario {name} ... ok ({took:.1} s)"),
            Err(error) => {
                println!("scenario {name} ... FAILED ({took:.1} s)\n{error:?}\n{}", site.report());
                failed.push((*name, error));
            }
        }
    }
    Ok(failed)
}
