//! What reports say. Field names are those of `-o json`.

use crate::cluster::Problem;
use anyhow::ensure;
use penstock_resources::penstock_node::{AddressCounts, AddressProblem};
use serde::Serialize;

/// What the nodes of a cluster have of addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Whether there is no problem.
    pub(crate) well: bool,
    /// Address of the API server.
    pub(crate) server: String,
    /// Its version.
    pub(crate) kubernetes: String,
    /// Version of this command.
    pub(crate) command: String,
    /// By name.
    pub(crate) nodes: Vec<NodeLine>,
    /// Of those nodes that are published.
    pub(crate) totals: Totals,
    pub(crate) problems: Vec<Problem>,
    /// Problems of one node each, by its name: part of `problems`.
    #[serde(skip)]
    pub(crate) of_nodes: Vec<(String, Problem)>,
}

/// A node, and what the operator publishes of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeLine {
    pub(crate) name: String,
    pub(crate) instance_type: String,
    pub(crate) zone: String,
    /// `null`: nothing is published.
    pub(crate) addresses: Option<AddressCounts>,
    pub(crate) problem: Option<AddressProblem>,
}

/// Sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Totals {
    /// Nodes that something is published of.
    pub(crate) nodes: u32,
    #[serde(flatten)]
    pub(crate) addresses: AddressCounts,
}

impl Totals {
    /// The sums of some nodes.
    pub(crate) fn of(nodes: &[NodeLine]) -> Self {
        let mut totals = Self::default();
        for counts in nodes.iter().filter_map(|node| node.addresses) {
            totals.nodes += 1;
            let sum = &mut totals.addresses;
            sum.interfaces += counts.interfaces;
            sum.prefixes += counts.prefixes;
            sum.used += counts.used;
            sum.free += counts.free;
            sum.pending += counts.pending;
            sum.releasing += counts.releasing;
            sum.capacity += counts.capacity;
        }
        totals
    }
}

impl Report {
    /// Only some nodes and what is said of them or of no node; all where none is named.
    ///
    /// # Errors
    /// Where a name is of no node.
    pub(crate) fn only(mut self, names: &[String]) -> anyhow::Result<Self> {
        for name in names {
            let known = self.nodes.iter().any(|node| node.name == *name);
            ensure!(
                known,
                "--node {name}: the cluster has no node of that name; kubectl get nodes lists them"
            );
        }
        if !names.is_empty() {
            self.nodes.retain(|node| names.contains(&node.name));
            self.totals = Totals::of(&self.nodes);
            self.of_nodes.retain(|(node, _)| names.contains(node));
        }
        self.problems.extend(self.of_nodes.drain(..).map(|(_, problem)| problem));
        self.well = self.problems.is_empty();
        Ok(self)
    }
}

/// What stands in the way of ENI mode.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Preflight {
    /// Whether nothing does.
    pub(crate) well: bool,
    /// Address of the API server.
    pub(crate) server: String,
    /// Its version.
    pub(crate) kubernetes: String,
    /// Version of this command.
    pub(crate) command: String,
    /// How many nodes were looked at.
    pub(crate) nodes: usize,
    /// Whether prefixes of sixteen addresses were reckoned with.
    pub(crate) prefix_delegation: bool,
    /// The first interface that was reckoned with.
    pub(crate) first_interface_index: u8,
    pub(crate) problems: Vec<Problem>,
}
