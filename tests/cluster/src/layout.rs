//! Names, paths and addresses of a cluster, as a function of its folder and of numbers: nothing has to
//! be remembered to find everything again.
//!
//! ```text
//!   control ── 10.89.0.1 ─┬─ bridge "cluster" (10.89.0.0/24, the nodes' InternalIP) ─┬─ node1, node2, ...
//!      │                  └──────────────────────────────────────────────────────────┘        │
//!   10.87.0.1/30                                                                          "uplink"
//!      │                                                                                      │
//!   client ── 10.88.0.1 ─── bridge "lan" (10.88.0.0/24, where announced addresses live) ──────┘
//! ```
//! Every link has IPv6 beside it: `fd89::/64` in the cluster, `fd88::/64` on the uplinks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Port of the API server.
pub(crate) const API_PORT: u16 = 6443;
/// Addresses of Services, both families.
pub(crate) const SERVICE_RANGE: &str = "10.96.0.0/16,fd96::/112";
/// Address of the `kubernetes` Service: the first of the range.
pub(crate) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// Address of cluster DNS.
pub(crate) const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Addresses of a VPC: subnets of nodes and of their pods.
pub const VPC_RANGE: &str = "10.89.0.0/16";
/// Addresses of pods, both families; each node has a /24 and a /64 of them.
pub(crate) const POD_RANGE: &str = "10.244.0.0/16,fd44::/48";
/// Addresses of the API server on the nodes' link.
pub(crate) const CONTROL: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(10, 89, 0, 1), Ipv6Addr::new(0xfd89, 0, 0, 0, 0, 0, 0, 1));
/// Addresses of the client on the uplinks.
pub(crate) const CLIENT: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(10, 88, 0, 1), Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, 1));

/// Where a cluster lives and what its parts are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    dir: PathBuf,
    id: String,
}

impl Layout {
    /// The layout of the cluster whose folder this is (an absolute path).
    pub(crate) fn new(dir: &Path) -> Self {
        let hash = Sha256::digest(dir.as_os_str().as_encoded_bytes());
        let id = hash.iter().take(4).fold(String::new(), |id, byte| format!("{id}{byte:02x}"));
        Self { dir: dir.to_owned(), id }
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What every process of the cluster's machines has in its environment, to be found by.
    pub(crate) fn mark(&self) -> String {
        format!("PENSTOCK_TEST_CLUSTER={}", self.id)
    }

    /// How the names of its network namespaces begin.
    pub(crate) fn prefix(&self) -> String {
        format!("penstock-{}-", self.id)
    }

    /// The network namespace of a machine, or of the client.
    pub(crate) fn netns(&self, machine: &str) -> String {
        format!("{}{machine}", self.prefix())
    }

    /// The folder of control groups, below each hierarchy.
    pub(crate) fn cgroup(&self) -> String {
        format!("penstock-{}", self.id)
    }

    /// The folder of a machine.
    pub(crate) fn machine(&self, machine: &str) -> PathBuf {
        self.dir.join(machine)
    }

    /// A file of the cluster's keys and certificates.
    pub(crate) fn pki(&self, file: &str) -> PathBuf {
        self.dir.join("pki").join(file)
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// The file that says that there is a cluster.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join("state.json")
    }
}

/// The numbers of a node, from its own (1 to 100).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodePlan {
    number: u8,
}

impl NodePlan {
    /// Nodes that the addresses have room for.
    pub(crate) const MOST: u8 = 100;

    /// The plan of the node with a number.
    pub(crate) fn new(number: u8) -> Self {
        Self { number }
    }

    /// `node1` and so on: host name, and name in Kubernetes.
    pub(crate) fn name(self) -> String {
        format!("node{}", self.number)
    }

    /// Its address in the cluster, in both families.
    pub(crate) fn internal(self) -> (Ipv4Addr, Ipv6Addr) {
        let host = 10 + self.number;
        (Ipv4Addr::new(10, 89, 0, host), Ipv6Addr::new(0xfd89, 0, 0, 0, 0, 0, 0, host.into()))
    }

    /// The EC2 instance that it is in a VPC.
    pub(crate) fn instance(self) -> String {
        format!("i-{:017x}", self.number)
    }

    /// Its address on the uplink, in both families.
    pub(crate) fn uplink(self) -> (Ipv4Addr, Ipv6Addr) {
        let host = 10 + self.number;
        (Ipv4Addr::new(10, 88, 0, host), Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, host.into()))
    }

    /// The addresses of its pods, in both families.
    pub(crate) fn pods(self) -> [String; 2] {
        [format!("10.244.{}.0/24", self.number), format!("fd44:0:0:{:x}::/64", self.number)]
    }
}

/// Both addresses as text with a comma between, as Kubernetes takes a dual-stack pair.
pub(crate) fn pair((v4, v6): (Ipv4Addr, Ipv6Addr)) -> String {
    format!("{},{}", IpAddr::from(v4), IpAddr::from(v6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_in_two_folders_share_no_name() {
        let one = Layout::new(Path::new("/a"));
        let two = Layout::new(Path::new("/b"));
        assert_eq!(one, Layout::new(Path::new("/a")));
        assert_ne!(one.mark(), two.mark());
        assert!(!two.netns("node1").starts_with(&one.prefix()));
        assert!(one.netns("node1").starts_with(&one.prefix()));
        assert_ne!(one.cgroup(), two.cgroup());
    }

    #[test]
    fn the_last_node_still_has_addresses() {
        let last = NodePlan::new(NodePlan::MOST);
        assert_eq!(pair(last.internal()), "10.89.0.110,fd89::6e");
        assert_eq!(pair(last.uplink()), "10.88.0.110,fd88::6e");
        assert_eq!(last.pods(), ["10.244.100.0/24", "fd44:0:0:64::/64"]);
    }
}
