//! What the operator that runs was told.

use crate::args::EniPreflightArgs;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Container};
use serde_json::Value;

/// Name of the operator's Deployment.
pub(crate) const OPERATOR: &str = "penstock-operator";

/// Variable with `eni` and `ipam` of the values: in ENI mode the chart sets it.
const ADDRESSES: &str = "PENSTOCK_ADDRESSES";

/// Key of the taint of nodes whose agent is not ready, where the operator is told no other.
const TAINT: &str = "node.penstock.dev/agent-not-ready";

/// What decides how many addresses a node can have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Prefixes of sixteen instead of single addresses.
    pub(crate) prefixes: bool,
    /// The first interface whose addresses pods get, by device index.
    pub(crate) first_interface: u8,
}

/// What is asked for on the command line, else of the operator that runs.
pub(crate) fn asked(operator: Option<&Deployment>, args: &EniPreflightArgs) -> Asked {
    let runs = operator.and_then(addresses).map(|told| told_of(&told)).unwrap_or_default();
    Asked {
        prefixes: args.prefix_delegation || runs.prefixes,
        first_interface: args.first_interface_index.unwrap_or(runs.first_interface),
    }
}

/// Whether the operator looks after addresses.
pub(crate) fn is_in_eni_mode(operator: &Deployment) -> bool {
    addresses(operator).is_some()
}

/// Key of the taint that the operator takes off nodes; empty: it leaves taints alone.
pub(crate) fn taint(operator: Option<&Deployment>) -> String {
    let args = operator.and_then(container).and_then(|container| container.args.as_ref());
    let told = args.into_iter().flatten().find_map(|arg| arg.strip_prefix("--node-taint="));
    told.unwrap_or(TAINT).to_owned()
}

fn told_of(addresses: &Value) -> Asked {
    let eni = &addresses["eni"];
    let first = eni["nodeSpec"]["firstInterfaceIndex"].as_u64();
    Asked {
        prefixes: eni["awsEnablePrefixDelegation"].as_bool().unwrap_or_default(),
        first_interface: first.and_then(|first| first.try_into().ok()).unwrap_or_default(),
    }
}

fn addresses(operator: &Deployment) -> Option<Value> {
    let mut variables = container(operator)?.env.iter().flatten();
    let told = variables.find(|variable| variable.name == ADDRESSES)?;
    serde_json::from_str(told.value.as_deref()?).ok()
}

fn container(operator: &Deployment) -> Option<&Container> {
    operator.spec.as_ref()?.template.spec.as_ref()?.containers.first()
}
