//! `PenstockNode`: what a node has of interfaces and addresses.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Nothing is asked of it: the operator writes it, people read it.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "PenstockNode",
    status = "PenstockNodeStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "pn",
    category = "penstock",
    doc = "What a node has of network interfaces and addresses for pods, and what it lacks. Has the name of its Node, and goes with it. Written by the operator alone.",
    printcolumn = r#"{"name": "Type", "type": "string", "jsonPath": ".status.instanceType"}"#,
    printcolumn = r#"{"name": "Zone", "type": "string", "jsonPath": ".status.zone"}"#,
    printcolumn = r#"{"name": "ENIs", "type": "integer", "jsonPath": ".status.addresses.interfaces"}"#,
    printcolumn = r#"{"name": "Prefixes", "type": "integer", "jsonPath": ".status.addresses.prefixes"}"#,
    printcolumn = r#"{"name": "Used", "type": "integer", "jsonPath": ".status.addresses.used"}"#,
    printcolumn = r#"{"name": "Free", "type": "integer", "jsonPath": ".status.addresses.free"}"#,
    printcolumn = r#"{"name": "Pending", "type": "integer", "jsonPath": ".status.addresses.pending"}"#,
    printcolumn = r#"{"name": "Capacity", "type": "integer", "jsonPath": ".status.addresses.capacity"}"#,
    printcolumn = r#"{"name": "Problem", "type": "string", "jsonPath": ".status.problem.reason"}"#,
    printcolumn = r#"{"name": "Instance", "type": "string", "jsonPath": ".status.instanceId", "priority": 1}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.problem.message", "priority": 1}"#
)]
pub struct PenstockNodeSpec {}

/// What a node has.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PenstockNodeStatus {
    /// The EC2 instance, `i-...`.
    #[serde(default)]
    pub instance_id: String,
    /// Its type.
    #[serde(default)]
    pub instance_type: String,
    /// Its availability zone.
    #[serde(default)]
    pub zone: String,
    /// Its VPC.
    #[serde(default)]
    pub vpc: String,
    /// Counts.
    #[serde(default)]
    pub addresses: AddressCounts,
    /// Its interfaces, those that are attached and those that shall be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = crate::schema_rules::keys(&["id"])
    ))]
    pub interfaces: Vec<InterfaceStatus>,
    /// Why pods may wait for addresses. Absent: they need not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<AddressProblem>,
}

/// Addresses of a node.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressCounts {
    /// Interfaces that pods get addresses of.
    #[serde(default)]
    #[schemars(with = "i32")]
    pub interfaces: u32,
    /// Prefixes of sixteen addresses among them.
    #[serde(default)]
    #[schemars(with = "i32")]
    pub prefixes: u32,
    /// Addresses that pods have.
    #[serde(default)]
    #[schemars(with = "i32")]
    pub used: u32,
    /// Addresses that pods can have at once.
    #[serde(default)]
    #[schemars(with = "i32")]
    pub free: u32,
    /// Pods that wait for one.
    #[serde(default)]
    #[schemars(with = "i32")]
    pub pending: u32,
    /// Addresses that are being given back.
    #[serde(default)]
    #[schemars(with = "i32")]
    pub releasing: u32,
    /// The most that the instance can have.
    #[serde(default)]
    #[schemars(with = "i32")]
    pub capacity: u32,
}

/// An interface.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceStatus {
    /// `eni-...`.
    pub id: String,
    /// `02:00:00:00:00:01`.
    #[serde(default)]
    pub mac: String,
    /// Its subnet.
    #[serde(default)]
    pub subnet: String,
    /// Network card and device index, as `0/1`. Absent: it is not attached yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Its own address.
    #[serde(default)]
    pub primary: String,
    /// Secondary addresses.
    #[serde(default)]
    #[schemars(with = "i32")]
    pub addresses: u32,
    /// Prefixes, as `10.0.0.16/28`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub prefixes: Vec<String>,
}

/// Why pods may wait.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressProblem {
    /// One of a few words.
    pub reason: String,
    /// How many addresses are missing.
    #[serde(default)]
    #[schemars(with = "i32")]
    pub missing: u32,
    /// Cause and remedy.
    pub message: String,
}
