//! What was read of a cluster: the value that a report is made of.

use crate::cluster::Denied;
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        coordination::v1::Lease,
        core::v1::{Event, Node, Pod},
    },
    jiff::Timestamp,
};
use penstock_resources::{
    Kind, LoadBalancerPool, WasmFilter,
    gateway_api::{Gateway, GatewayClass, HttpRoute},
};
use std::collections::BTreeSet;

/// Name of the operator's Deployment and of its Lease.
pub(crate) const OPERATOR: &str = "penstock-operator";
/// Name of the agents' DaemonSet.
pub(crate) const AGENT: &str = "penstock-agent";
/// Name of the proxies' DaemonSet.
pub(crate) const PROXY: &str = "penstock-proxy";
/// Label of everything that the chart makes.
pub(crate) const PART_OF: &str = "app.kubernetes.io/part-of=penstock";
/// Label with the name of the component that a pod belongs to.
pub(crate) const COMPONENT_LABEL: &str = "app.kubernetes.io/name";

/// Everything that was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// By the clock of the API server.
    pub(crate) now: Timestamp,
    /// Address of the API server.
    pub(crate) server: String,
    /// Its version.
    pub(crate) kubernetes: String,
    /// Namespaces that components were found in, and the one that was asked for.
    pub(crate) namespaces: BTreeSet<String>,
    /// The one that the rest was read of.
    pub(crate) namespace: Option<String>,
    pub(crate) operator: Option<Deployment>,
    pub(crate) agent: Option<DaemonSet>,
    pub(crate) proxy: Option<DaemonSet>,
    pub(crate) lease: Option<Lease>,
    pub(crate) pods: Vec<Pod>,
    /// Warnings of the namespace.
    pub(crate) events: Vec<Event>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) classes: Vec<GatewayClass>,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) routes: Vec<HttpRoute>,
    pub(crate) filters: Vec<WasmFilter>,
    pub(crate) pools: Vec<LoadBalancerPool>,
    /// Kinds that the API server does not know.
    pub(crate) missing: Vec<Kind>,
    /// What could not be read.
    pub(crate) denied: Vec<Denied>,
}

impl Seen {
    /// Whether objects of a kind (its plural) could be read.
    pub(crate) fn may_read(&self, resource: &str) -> bool {
        self.denied.iter().all(|denied| denied.resource != resource)
    }

    /// Whether a kind is there and its objects could be read.
    pub(crate) fn knows(&self, kind: Kind, resource: &str) -> bool {
        !self.missing.contains(&kind) && self.may_read(resource)
    }
}
