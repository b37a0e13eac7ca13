//! A real Kubernetes cluster on one machine, for tests: etcd, API server, controller manager and
//! scheduler in one network namespace, each node (containerd, kubelet, kube-proxy) in another, and a
//! client outside of the cluster. What it is made of is built from source by `build.sh`; which
//! address is where is drawn in `layout.rs`.
//!
//! It needs root: it makes network, mount and PID namespaces, control groups and file systems. The
//! machine that runs it gets no address, no route, no interface and no changed kernel setting.

mod cgroups;
mod cluster;
pub mod conformance;
mod control;
pub mod crds;
pub mod install;
mod layout;
mod machine;
mod network;
mod node;
mod pki;
mod process;
mod programs;
mod teardown;
pub mod wait;

pub use cluster::{Cluster, Node, Options, default_dir};
pub use conformance::Suite;
pub use layout::VPC_RANGE;
pub use machine::Machine;
pub use node::{AGENT_TAINT, INSTANCE_TYPE, ZONE};
pub use rustix::process::Signal;
pub use teardown::Remains;
