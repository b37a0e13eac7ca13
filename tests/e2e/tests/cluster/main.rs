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

use penstock_e2e::{Site, play};

/// A scenario.
type Scenario = penstock_e2e::Scenario<Site>;

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
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e");
    play(&scenarios(), || Site::new(&folder), Site::report)
}
