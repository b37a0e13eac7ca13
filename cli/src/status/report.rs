//! What a report says. Field names are those of `-o json`.

use crate::cluster::Problem;
use serde::Serialize;

/// How Penstock is in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Whether there is no problem.
    pub(crate) well: bool,
    /// Where the chart is installed.
    pub(crate) namespace: Option<String>,
    /// Address of the API server.
    pub(crate) server: String,
    /// Its version.
    pub(crate) kubernetes: String,
    /// Version of this command.
    pub(crate) command: String,
    pub(crate) components: Vec<Component>,
    pub(crate) nodes: Vec<NodeLine>,
    pub(crate) gateway_classes: Vec<ClassLine>,
    pub(crate) gateways: Vec<GatewayLine>,
    /// HTTPRoutes that name a Gateway of ours.
    pub(crate) routes: Tally,
    pub(crate) wasm_filters: Tally,
    pub(crate) load_balancer_pools: Vec<PoolLine>,
    /// What is worth knowing and no problem.
    pub(crate) notes: Vec<String>,
    pub(crate) problems: Vec<Problem>,
}

/// Operator, agents or proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Component {
    pub(crate) name: String,
    /// Deployment or DaemonSet.
    pub(crate) kind: String,
    /// Whether it is there.
    pub(crate) installed: bool,
    pub(crate) wanted: i32,
    pub(crate) ready: i32,
    /// Pods of the current template.
    pub(crate) updated: i32,
    /// Versions of the images that run, and of the one that is wanted.
    pub(crate) versions: Vec<String>,
    /// The operator's replica that leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) leader: Option<String>,
    pub(crate) unready: Vec<UnreadyPod>,
}

/// A pod that is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UnreadyPod {
    pub(crate) name: String,
    /// Empty where it is on none.
    pub(crate) node: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// A node and what of Penstock is on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeLine {
    pub(crate) name: String,
    pub(crate) ready: bool,
    pub(crate) agent: Presence,
    pub(crate) proxy: Presence,
    pub(crate) kernel: String,
}

/// Whether a node has a pod of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Presence {
    Absent,
    NotReady,
    Ready,
}

/// A GatewayClass of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClassLine {
    pub(crate) name: String,
    pub(crate) accepted: bool,
}

/// A Gateway of one of these classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GatewayLine {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) class: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) accepted: bool,
    pub(crate) programmed: bool,
    pub(crate) listeners: Vec<ListenerLine>,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListenerLine {
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) port: i32,
    pub(crate) programmed: bool,
    pub(crate) attached_routes: i32,
}

/// How many objects there are, and which of them are not well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tally {
    pub(crate) total: usize,
    /// Namespace and name.
    pub(crate) not_well: Vec<String>,
}

/// A LoadBalancerPool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PoolLine {
    pub(crate) name: String,
    pub(crate) accepted: bool,
    pub(crate) used: u32,
    /// A number in decimal, as the pool's status has it.
    pub(crate) free: String,
}
