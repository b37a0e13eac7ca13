//! What a Node says of the machine that it is.

use k8s_openapi::{
    api::core::v1::{Node, Taint},
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt as _;

/// Label of the instance type, set by the cloud controller.
const TYPE: &str = "node.kubernetes.io/instance-type";
/// Label of the zone, set by the cloud controller.
const ZONE: &str = "topology.kubernetes.io/zone";
/// Label of what EKS runs a node on, where that is no instance of the cluster's own.
const COMPUTE: &str = "eks.amazonaws.com/compute-type";

/// What runs a node, as far as addresses are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    /// An EC2 instance.
    Instance,
    /// One that EKS Auto Mode runs, with a network of its own.
    Auto,
    /// Fargate, or a hybrid node: no agent runs there, or no interface of EC2 is there.
    Elsewhere,
    /// Nothing says which instance it is.
    Unknown,
}

/// What runs a node.
pub(crate) fn machine(node: &Node) -> Machine {
    let compute = label(node, COMPUTE);
    let id = provider_id(node);
    match compute {
        "auto" => return Machine::Auto,
        "fargate" | "hybrid" => return Machine::Elsewhere,
        _ if id.starts_with("eks-hybrid:") => return Machine::Elsewhere,
        _ => {}
    }
    // As the operator reads it.
    let place = id.strip_prefix("aws://").map(|id| id.trim_start_matches('/'));
    match place.and_then(|place| place.split_once('/')) {
        Some((_, id)) if id.starts_with("i-") => Machine::Instance,
        _ => Machine::Unknown,
    }
}

/// `aws:///ZONE/i-...`; empty where nobody has set it.
pub(crate) fn provider_id(node: &Node) -> &str {
    node.spec.as_ref().and_then(|spec| spec.provider_id.as_deref()).unwrap_or_default()
}

/// Its instance type; empty where nobody has said it.
pub(crate) fn kind(node: &Node) -> &str {
    label(node, TYPE)
}

/// Its zone; empty where nobody has said it.
pub(crate) fn zone(node: &Node) -> &str {
    label(node, ZONE)
}

fn label<'a>(node: &'a Node, key: &str) -> &'a str {
    node.labels().get(key).map_or("", String::as_str)
}

/// Pods that kubelet takes at most.
pub(crate) fn pods(node: &Node) -> Option<u32> {
    node.status.as_ref()?.allocatable.as_ref()?.get("pods")?.0.parse().ok()
}

/// For how long a node has had a taint.
pub(crate) fn tainted_for(node: &Node, key: &str, now: Timestamp) -> Option<SignedDuration> {
    let taints = node.spec.as_ref()?.taints.as_ref()?;
    let taint: &Taint = taints.iter().find(|taint| taint.key == key)?;
    // Where it began with the node, nobody noted when.
    let since = taint.time_added.as_ref().or(node.metadata.creation_timestamp.as_ref())?;
    Some(now.duration_since(since.0))
}
