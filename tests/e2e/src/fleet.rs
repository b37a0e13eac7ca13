//! Penstock's own pods in a cluster: who they are, where they run, how they end.

use anyhow::{Context as _, Result, ensure};
use penstock_test_cluster::{Node, install::NAMESPACE};
use rustix::process::Signal;
use serde_json::Value;
use std::net::IpAddr;

use crate::Site;

/// A pod that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// The node that it runs on.
    pub node: String,
    /// Its first address.
    pub ip: IpAddr,
    /// Its only container, as the runtime names it.
    container: String,
}

impl Site {
    /// The pods of one of our processes (`penstock-proxy` for example) that are ready and not ending.
    ///
    /// # Errors
    /// The API server does not answer.
    pub fn pods(&self, process: &str) -> Result<Vec<Pod>> {
        let label = format!("app.kubernetes.io/name={process}");
        let text = self.kubectl(&["-n", NAMESPACE, "get", "pods", "-l", &label, "-o", "json"])?;
        let list: Value = serde_json::from_str(&text)?;
        let pods = list["items"].as_array().context("no list")?;
        Ok(pods.iter().filter_map(ready).collect())
    }

    /// The one of these pods that runs on a node.
    ///
    /// # Errors
    /// There is none.
    pub fn pod_on(&self, process: &str, node: &str) -> Result<Pod> {
        let mut pods = self.pods(process)?.into_iter();
        pods.find(|pod| pod.node == node).with_context(|| format!("no {process} on {node}"))
    }

    /// The operator that holds the lease.
    ///
    /// # Errors
    /// Nobody does, or the pod is not ready (any more).
    pub fn leader(&self) -> Result<Pod> {
        let lease = self.object(NAMESPACE, "lease", "penstock-operator")?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let mut pods = self.pods("penstock-operator")?.into_iter();
        pods.find(|pod| pod.name == holder).with_context(|| format!("{holder:?} does not lead"))
    }

    /// Sends a signal to the process of a pod, through the runtime of its node: the API server is not
    /// asked, and kubelet starts the container again.
    ///
    /// # Errors
    /// It does not run any more.
    pub fn signal(&self, pod: &Pod, signal: Signal) -> Result<()> {
        let number = signal.as_raw().to_string();
        let arguments = ["tasks", "kill", "--signal", &number, &pod.container];
        self.runtime(&self.node(&pod.node)?, &arguments).map(drop)
    }

    /// Whether the container that a pod had when it was asked for still runs.
    ///
    /// # Errors
    /// Its node is down.
    pub fn runs(&self, pod: &Pod) -> Result<bool> {
        let running = self.runtime(&self.node(&pod.node)?, &["tasks", "list"])?;
        Ok(running.lines().any(|line| line.contains(&pod.container) && line.contains("RUNNING")))
    }

    /// The value of a metric of a pod, the sum of all series that have this text in their labels.
    ///
    /// # Errors
    /// The pod does not answer.
    pub fn metric(&self, pod: &Pod, name: &str, labels: &str) -> Result<f64> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{}:9090/proxy/metrics", pod.name);
        let page = self.kubectl(&["get", "--raw", &path])?;
        let series = page.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(labels))
        });
        Ok(series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// What a port of the node itself answers to `GET`, for example the agent's `/readyz` on 9091.
    ///
    /// # Errors
    /// It answers an error, or nothing.
    pub fn on_node(&self, node: &str, url: &str) -> Result<String> {
        let mut curl = self.node(node)?.machine.command("curl")?;
        let output = curl.args(["--silent", "--fail", "--max-time", "2", url]).output()?;
        ensure!(output.status.success(), "{url} on {node}: {}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    /// A node.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn node(&self, name: &str) -> Result<Node> {
        let mut nodes = self.cluster().nodes().into_iter();
        nodes.find(|node| node.name() == name).with_context(|| format!("no node {name}"))
    }

    /// The node that answers for an address on its uplink, as its kernel has it.
    ///
    /// # Errors
    /// Not exactly one does.
    pub fn announcer(&self, address: IpAddr) -> Result<String> {
        let shown = format!(" {address}/");
        let mut found = Vec::new();
        for node in self.cluster().nodes() {
            let Ok(mut ip) = node.machine.command("ip") else { continue };
            let output = ip.args(["-o", "address", "show", "dev", Node::UPLINK]).output()?;
            if String::from_utf8_lossy(&output.stdout).contains(&shown) {
                found.push(node.name().to_owned());
            }
        }
        ensure!(found.len() == 1, "{address} is answered for by {found:?}");
        found.pop().context("nobody")
    }

    fn runtime(&self, node: &Node, arguments: &[&str]) -> Result<String> {
        let mut ctr = node.machine.command("ctr")?;
        let output = ctr.arg("--namespace=k8s.io").args(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ctr {arguments:?} on {}: {said}", node.name());
        Ok(String::from_utf8(output.stdout)?)
    }
}

fn ready(pod: &Value) -> Option<Pod> {
    let container = &pod["status"]["containerStatuses"][0];
    let is_ready = container["ready"] == true && pod["metadata"]["deletionTimestamp"].is_null();
    is_ready.then_some(())?;
    Some(Pod {
        name: pod["metadata"]["name"].as_str()?.to_owned(),
        node: pod["spec"]["nodeName"].as_str()?.to_owned(),
        ip: pod["status"]["podIP"].as_str()?.parse().ok()?,
        container: container["containerID"].as_str()?.strip_prefix("containerd://")?.to_owned(),
    })
}
