//! The actions on network interfaces as calls of EC2.
//!
//! Nothing else names the SDK. A call is made once and has ten seconds: what a failure means, and
//! whether it is tried again, is for `penstock-eni` to say. The IAM actions that are needed are those of
//! [`IAM_ACTIONS`]; the chart's policy file has exactly these.
//!
//! Calls are boxed futures, so that the SDK's large ones are compiled here, once, and not by every crate that
//! awaits a call.

mod call;
mod client;
mod convert;
mod credentials;
mod describe;
mod may;
mod trust;

pub use client::{Access, Cluster, Ec2};
pub use describe::Described;
pub use may::LOOKS;
pub use trust::TrustError;

/// The IAM actions that the operator needs.
pub const IAM_ACTIONS: [&str; 13] = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:AttachNetworkInterface",
    "ec2:CreateNetworkInterface",
    "ec2:CreateTags",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DetachNetworkInterface",
    "ec2:ModifyNetworkInterfaceAttribute",
    "ec2:UnassignPrivateIpAddresses",
];
