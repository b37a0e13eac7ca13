//! What was read of a cluster: the value that reports are made of.

use crate::cluster::Denied;
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        core::v1::{Event, Node, Pod},
    },
    jiff::Timestamp,
};
use kube::api::DynamicObject;
use penstock_resources::PenstockNode;

/// Everything that was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// By the clock of the API server.
    pub(crate) now: Timestamp,
    /// Address of the API server.
    pub(crate) server: String,
    /// Its version.
    pub(crate) kubernetes: String,
    /// The operator's Deployment, wherever it is.
    pub(crate) operator: Option<Deployment>,
    pub(crate) nodes: Vec<Node>,
    /// `None`: the kind is not defined.
    pub(crate) published: Option<Vec<PenstockNode>>,
    /// Every DaemonSet of the cluster.
    pub(crate) sets: Vec<DaemonSet>,
    /// Pods that have not started yet.
    pub(crate) pending: Vec<Pod>,
    /// Pods whose network could not be made.
    pub(crate) events: Vec<Event>,
    /// `ENIConfig`, a kind of aws-node.
    pub(crate) eni_configs: Vec<DynamicObject>,
    /// What could not be read.
    pub(crate) denied: Vec<Denied>,
}

impl Seen {
    /// Whether objects of a kind (its plural) could be read.
    pub(crate) fn may_read(&self, resource: &str) -> bool {
        self.denied.iter().all(|denied| denied.resource != resource)
    }
}
