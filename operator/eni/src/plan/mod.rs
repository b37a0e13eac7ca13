//! From a node to what is to be done.

mod grow;
mod lifecycle;
mod shrink;

use crate::{action::Action, groups::SecurityGroup, node::Node, subnet::Subnets, time::Time};
use std::collections::BTreeMap;

/// What is to be done, and what cannot be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// All of these can be done at once: no two change the same interface.
    pub actions: Vec<Action>,
    /// Why pods may wait, if they may.
    pub problem: Option<Problem>,
}

/// Why a node cannot get as many addresses as it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Why.
    pub reason: ProblemReason,
    /// Addresses that are missing.
    pub missing: u32,
    /// Cause and remedy.
    pub message: String,
}

/// Why a node cannot get addresses: a bounded set, label of metrics and reason of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemReason {
    /// The limits of the instance type are not known.
    UnknownInstanceType,
    /// No subnet can be used, or none of those has free addresses.
    NoSubnet,
    /// The security groups of the settings do not exist.
    NoSecurityGroups,
    /// The instance type takes no more.
    InstanceFull,
    /// A call was refused for a reason that somebody has to mend.
    Refused,
}

impl ProblemReason {
    /// As a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownInstanceType => "UnknownInstanceType",
            Self::NoSubnet => "NoSubnet",
            Self::NoSecurityGroups => "NoSecurityGroups",
            Self::InstanceFull => "InstanceFull",
            Self::Refused => "Refused",
        }
    }
}

/// What a node shares with others: the VPC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vpc<'a> {
    pub(crate) subnets: &'a Subnets,
    pub(crate) groups: &'a BTreeMap<String, SecurityGroup>,
}

/// What is to be done for a node now.
///
/// First what is needed again is kept, then what is begun is brought to its end (attached, deleted,
/// given back), then what is missing is asked for, and where nothing is, what is more than enough is
/// proposed to be given back. An interface with a call on the way gets no second one.
pub fn plan(
    node: &Node,
    subnets: &Subnets,
    groups: &BTreeMap<String, SecurityGroup>,
    now: Time,
) -> Plan {
    let vpc = Vpc { subnets, groups };
    let mut plan = Plan::default();
    let Some(limits) = &node.limits else {
        plan.problem = Some(unknown_type(node));
        return plan;
    };
    let kept = shrink::withdraw(node, &mut plan.actions);
    lifecycle::go_on(node, limits, now, &mut plan.actions);
    let demand = &node.demand;
    let (used, pending) = (demand.in_use(), demand.pending);
    let marks = &node.settings.watermarks;
    let available = node.available() + node.coming() + kept;
    let missing = marks.missing(used, pending, available);
    if missing > 0 {
        grow::grow(node, limits, vpc, now, missing, &mut plan);
    } else {
        shrink::propose(
            node,
            marks.excess(used, pending, node.available()),
            now,
            &mut plan.actions,
        );
    }
    shrink::give(node, now, &mut plan.actions);
    plan
}

fn unknown_type(node: &Node) -> Problem {
    let missing = node.settings.watermarks.missing(node.demand.in_use(), node.demand.pending, 0);
    let message = format!(
        "EC2 does not describe instance type {:?} in this region: check its name, and that the operator may call DescribeInstanceTypes",
        node.instance.kind
    );
    Problem { reason: ProblemReason::UnknownInstanceType, missing, message }
}
