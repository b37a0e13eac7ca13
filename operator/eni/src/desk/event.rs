//! What a [`Desk`](super::Desk) hears of the world and does in it.

use crate::{
    action::Action,
    eni::Eni,
    failure::Failure,
    groups::SecurityGroup,
    leak::Loose,
    limits::Limits,
    machine::{CallId, Outcome},
    node::Instance,
    plan::Problem,
    subnet::Subnets,
    time::Time,
};
use penstock_config::address::{InterfaceId, NodeAddresses, Report};
use std::collections::BTreeMap;

/// The call of [`Effect::Delete`].
const DELETE: &str = "DeleteNetworkInterface";

/// A node's name and the instance that it is: what is said of an earlier instance of that name counts
/// for nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey {
    /// Name of the Node.
    pub node: String,
    /// `i-...`.
    pub instance: String,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is a node. Its VPC and subnet may be empty: its first interface says.
    Node(String, Instance),
    /// There is not.
    NodeGone(String),
    /// Every node has been named: what belongs to none has leaked.
    NodesKnown,
    /// A node said something.
    Reported(String, Report),
    /// A call, by its name, was answered.
    Called(NodeKey, CallId, &'static str, Result<Outcome, Failure>),
    /// [`Look::Interfaces`], which began at a time, was answered.
    Described(NodeKey, Time, Result<Vec<Eni>, Failure>),
    /// [`Look::Vpc`] was answered.
    Vpc(String, Result<(Subnets, BTreeMap<String, SecurityGroup>), Failure>),
    /// [`Look::Type`] was answered: `None` where EC2 does not know the type.
    Type(String, Result<Option<Limits>, Failure>),
    /// [`Look::Loose`] was answered.
    Loose(Result<Vec<Loose>, Failure>),
    /// [`Effect::Delete`] was answered.
    Deleted(Result<(), Failure>),
    /// Time went by.
    Tick,
}

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// A node's interfaces.
    Interfaces(NodeKey),
    /// Subnets and security groups of a VPC.
    Vpc(String),
    /// An instance type.
    Type(String),
    /// Interfaces of this cluster in a VPC that are attached to nothing.
    Loose(String),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Look at something.
    Look(Look),
    /// Make a call.
    Call(NodeKey, CallId, Action),
    /// Delete an interface that leaked.
    Delete(InterfaceId),
    /// Tell a node.
    Tell(String, NodeAddresses),
    /// Say why pods of a node may wait, or that they need not any more.
    Problem(String, Option<Problem>),
}

const INTERFACES: &str = "DescribeNetworkInterfaces";
const VPC: &str = "DescribeSubnets";
const TYPE: &str = "DescribeInstanceTypes";

impl Event {
    /// The call that failed, if this says so of one.
    pub fn failure(&self) -> Option<(&'static str, &Failure)> {
        match self {
            Event::Called(_, _, name, Err(failure)) => Some((*name, failure)),
            Event::Described(_, _, Err(failure)) | Event::Loose(Err(failure)) => {
                Some((INTERFACES, failure))
            }
            Event::Vpc(_, Err(failure)) => Some((VPC, failure)),
            Event::Type(_, Err(failure)) => Some((TYPE, failure)),
            Event::Deleted(Err(failure)) => Some((DELETE, failure)),
            _ => None,
        }
    }
}

impl Event {
    /// The look that this answers, and why it failed, if it did.
    pub(super) fn looked(&self) -> Option<(&'static str, Option<&Failure>)> {
        match self {
            Event::Described(_, _, result) => Some((INTERFACES, result.as_ref().err())),
            Event::Loose(result) => Some((INTERFACES, result.as_ref().err())),
            Event::Vpc(_, result) => Some((VPC, result.as_ref().err())),
            Event::Type(_, result) => Some((TYPE, result.as_ref().err())),
            _ => None,
        }
    }
}

impl Look {
    /// The first call that it makes, as IAM and the metrics have it.
    pub fn name(&self) -> &'static str {
        match self {
            Look::Interfaces(_) | Look::Loose(_) => INTERFACES,
            Look::Vpc(_) => VPC,
            Look::Type(_) => TYPE,
        }
    }
}

impl Effect {
    /// The call of EC2 that it is; `None` where it is none.
    pub fn call(&self) -> Option<&'static str> {
        match self {
            Effect::Look(look) => Some(look.name()),
            Effect::Call(_, _, action) => Some(action.name()),
            Effect::Delete(_) => Some(DELETE),
            Effect::Tell(..) | Effect::Problem(..) => None,
        }
    }
}
