//! A cluster in a VPC: its nodes are instances of EC2's model, and Penstock is its only CNI plugin.

use crate::{Site, repository};
use anyhow::{Context as _, Result, ensure};
use penstock_eni::Limits;
use penstock_test_cluster::{Cluster, INSTANCE_TYPE, Node, Options, ZONE, crds, install};
use penstock_test_eni::{
    http::Server,
    model::{Model, ModelSubnet, Space},
    vpc::{Plan, Vpc},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    ops::Deref,
    path::Path,
};

/// Port of EC2's API at the router.
const API: u16 = 8180;

/// A cluster in a VPC, with Penstock installed from its chart.
#[derive(Debug)]
pub struct VpcSite {
    site: Site,
    vpc: Vpc,
}

impl Deref for VpcSite {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl VpcSite {
    /// The subnet of pods.
    pub const PODS: &'static str = "subnet-pods";

    /// Makes a cluster of two nodes without any network for pods, and installs Penstock with the values of
    /// the guide: nodes are ready when this returns.
    ///
    /// # Errors
    /// Not root; the images are not built (`cargo xtask images`); something does not come up.
    pub fn new(folder: &Path) -> Result<Self> {
        Cluster::down(folder)?;
        let options = Options { nodes: 2, dir: folder.to_owned(), vpc: true };
        let cluster = Cluster::up(&options)?;
        crds::apply(&cluster)?;
        let vpc = Self::start(&cluster)?;
        let values = values(&cluster);
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        cluster.install(&install::images(), &values)?;
        Ok(Self { site: Site::of(cluster)?, vpc })
    }

    fn start(cluster: &Cluster) -> Result<Vpc> {
        let mut model = Model::new();
        for (id, cidr) in [("subnet-nodes", "10.89.0.0/24"), (Self::PODS, "10.89.16.0/20")] {
            let mut tags = BTreeMap::from([("Name".to_owned(), id.to_owned())]);
            if id == Self::PODS {
                tags.insert("penstock.dev/pods".into(), "true".into());
            }
            let (zone, vpc, space) = (ZONE.into(), "vpc-1".into(), Space::new(cidr));
            let subnet = ModelSubnet { zone, vpc, space, tags };
            model.subnets.insert(id.into(), subnet);
        }
        model.groups.insert("sg-nodes".into(), "vpc-1".into());
        model.types.insert(INSTANCE_TYPE.into(), limits());
        let mut instances = BTreeMap::new();
        for node in cluster.nodes() {
            let mac = crate::node::run(&node, "cat /sys/class/net/eth0/address")?;
            let at = (node.address.0, mac.trim());
            let launched =
                model.launch_at(&node.instance, limits(), "subnet-nodes", &["sg-nodes"], at);
            launched.map_err(|error| anyhow::anyhow!("{error:?}"))?;
            let port = node.name().to_owned();
            instances.insert(node.instance.clone(), (node.machine.netns(), port));
        }
        let api = SocketAddr::from((cluster.control_address(), API));
        let plan = Plan { router: cluster.control_netns(), api, instances };
        Vpc::start(plan, model).context("no VPC")
    }

    /// Takes Penstock away, by its chart's hook.
    ///
    /// # Errors
    /// What helm said.
    pub fn uninstall(&self) -> Result<()> {
        self.cluster().helm_uninstall()
    }

    /// Installs it again.
    ///
    /// # Errors
    /// What helm said.
    pub fn install(&self) -> Result<()> {
        self.helm("install", &[])
    }

    /// Upgrades the release to the values that it was installed with and further arguments of helm.
    ///
    /// # Errors
    /// Helm refuses or does not see everything ready in two minutes.
    pub fn upgrade(&self, more: &[&str]) -> Result<()> {
        self.helm("upgrade", more)
    }

    fn helm(&self, action: &str, more: &[&str]) -> Result<()> {
        let values = values(self.cluster());
        let values: Vec<_> =
            values.iter().map(String::as_str).chain(more.iter().copied()).collect();
        self.cluster().helm(action, &values)
    }

    /// EC2's model, and the calls that it got.
    pub fn ec2(&self) -> &Server {
        self.vpc.server()
    }

    /// Runs a command where a pod's network is, with the programs of its node.
    ///
    /// # Errors
    /// No such pod is there; the command failed.
    pub fn in_pod(&self, node: &Node, address: IpAddr, command: &str) -> Result<String> {
        let script = format!(
            "for n in /run/netns/*; do
               if nsenter --net=$n ip -o -4 address show | grep -q ' {address}/32 '; then
                 exec nsenter --net=$n sh -c '{command}'
               fi
             done
             echo 'no pod has {address}' >&2; exit 1"
        );
        let output = node.machine.command("sh")?.args(["-c", &script]).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{command} in {address}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Three interfaces for pods, of 48 addresses each: the pods that kubelet takes need all of them.
fn limits() -> Limits {
    Limits::one_card(4, 4, true)
}

/// The values of the guide, and where this EC2 is. Region and keys come from the instance's metadata.
fn values(cluster: &Cluster) -> Vec<String> {
    let guide = repository().join("examples/eks/values.yaml");
    let sets = [
        format!("eni.endpoint=http://{}:{API}", cluster.control_address()),
        // What is idle goes back while a test waits.
        "eni.releaseDelay=5".into(),
    ];
    let sets = sets.into_iter().flat_map(|set| ["--set".to_owned(), set]);
    // Nor for a node whose agent stays away.
    let absence = ["--set-string", "operator.environment.PENSTOCK_AGENT_ABSENCE=20"];
    let sets = sets.chain(absence.map(str::to_owned));
    ["--values".to_owned(), guide.display().to_string()].into_iter().chain(sets).collect()
}
