//! A cluster with Penstock in it, as tests see it: from where its clients are.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::gateway::penstock;
use anyhow::{Context as _, Result, ensure};
use penstock_test_cluster::{Cluster, Options, conformance, crds, install, wait};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

/// Longest wait for what a cluster does by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster with Penstock installed from its chart. This thread, and those that it starts, are where
/// the cluster's clients are: outside, before the uplinks.
#[derive(Debug)]
pub struct Site {
    cluster: Cluster,
}

impl Site {
    /// Makes a cluster of two nodes and installs Penstock; it is taken down when this is dropped. Where
    /// `PENSTOCK_E2E_CLUSTER` names the folder of a cluster that is up (`cargo xtask cluster up`), that
    /// one is used as it is, and left.
    ///
    /// # Errors
    /// Not root; the images are not built (`cargo xtask images`); something does not come up.
    pub fn new(folder: &Path) -> Result<Self> {
        let cluster = match std::env::var_os("PENSTOCK_E2E_CLUSTER") {
            Some(dir) => Cluster::open(&PathBuf::from(dir))?,
            None => {
                // What an earlier, failed run has left is no matter of this one.
                Cluster::down(folder)?;
                let cluster =
                    Cluster::up(&Options { nodes: 2, dir: folder.to_owned(), vpc: false })?;
                crds::apply(&cluster)?;
                cluster.install(&install::images(), &[])?;
                cluster
            }
        };
        Self::of(cluster)
    }

    /// A cluster that somebody else made, with Penstock installed.
    ///
    /// # Errors
    /// Its clients' network cannot be entered.
    pub(crate) fn of(cluster: Cluster) -> Result<Self> {
        conformance::import_echo(&cluster)?;
        let namespace = File::open(Path::new("/run/netns").join(cluster.client_netns()))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .context("cannot enter the network of the cluster's clients")?;
        Ok(Self { cluster })
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Runs kubectl and returns what it prints.
    ///
    /// # Errors
    /// It failed: what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.kubectl(arguments)
    }

    /// Runs the `penstock` command where the cluster's clients are: whether all is well, and the result
    /// that it prints.
    ///
    /// # Errors
    /// There is no such binary.
    pub fn penstock(&self, arguments: &[&str]) -> Result<(bool, String)> {
        let mut command = self.cluster.client(penstock()?);
        let done = command.args(arguments).stderr(Stdio::inherit()).output()?;
        Ok((done.status.success(), String::from_utf8(done.stdout)?))
    }

    /// Makes a namespace anew with a Deployment and a Service (port 80) of each of these names, whose
    /// pods say in JSON what reached them, and waits until they are ready.
    ///
    /// # Errors
    /// They do not come up.
    pub fn namespace(&self, namespace: &str, backends: &[&str]) -> Result<()> {
        self.kubectl(&["delete", "namespace", namespace, "--ignore-not-found", "--wait=true"])?;
        self.kubectl(&["create", "namespace", namespace])?;
        wait::until("a ServiceAccount", PATIENCE, || {
            Ok(self.kubectl(&["-n", namespace, "get", "serviceaccount", "default"]).is_ok())
        })?;
        for name in backends {
            self.cluster.apply(&backend(namespace, name))?;
        }
        for name in backends {
            let deployment = format!("deployment/{name}");
            self.kubectl(&["-n", namespace, "rollout", "status", &deployment, "--timeout=60s"])?;
            // Written a little later, by another controller.
            self.eventually(&format!("Service {namespace}/{name} has an endpoint"), || {
                let label = format!("kubernetes.io/service-name={name}");
                let ready = "jsonpath={.items[*].endpoints[*].conditions.ready}";
                let query = ["-n", namespace, "get", "endpointslices", "-l", &label, "-o", ready];
                ensure!(self.kubectl(&query)?.contains("true"), "no endpoint is ready");
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Applies a manifest.
    ///
    /// # Errors
    /// What the API server says of it.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        self.cluster.apply(manifest)
    }

    /// Puts a built filter (`header-rules` for example) into a ConfigMap of its name, key
    /// `module.wasm`.
    ///
    /// # Errors
    /// It is not built, or the API server refuses it.
    pub fn module(&self, namespace: &str, filter: &str) -> Result<()> {
        let file = crate::filters_folder()?.join(format!("{filter}.wasm"));
        self.module_file(namespace, filter, &file)
    }

    /// Puts a file into a ConfigMap, key `module.wasm`.
    ///
    /// # Errors
    /// The API server refuses it.
    pub fn module_file(&self, namespace: &str, name: &str, file: &Path) -> Result<()> {
        let from = format!("--from-file=module.wasm={}", file.display());
        let create = ["create", "configmap", name, "-n", namespace, &from, "-o", "yaml"];
        let manifest = self.kubectl(&[&create[..], &["--dry-run=client"]].concat())?;
        self.apply(&manifest)
    }

    /// An object as the API server has it.
    ///
    /// # Errors
    /// There is none.
    pub fn object(&self, namespace: &str, kind: &str, name: &str) -> Result<Value> {
        let text = self.kubectl(&["-n", namespace, "get", kind, name, "-o", "json"])?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Waits until a Gateway is programmed in its newest generation and has an IPv4 address; gives that
    /// with a port of it.
    ///
    /// # Errors
    /// Its conditions, where it is not in time.
    pub fn gateway(&self, namespace: &str, name: &str, port: u16) -> Result<SocketAddr> {
        self.eventually(&format!("Gateway {namespace}/{name} is programmed"), || {
            let gateway = self.object(namespace, "gateway", name)?;
            is_true(&gateway, &gateway["status"]["conditions"], "Programmed")?;
            let addresses = gateway["status"]["addresses"].as_array().context("no addresses")?;
            let mut addresses =
                addresses.iter().filter_map(|one| one["value"].as_str()?.parse().ok());
            let address = addresses.find(IpAddr::is_ipv4).context("no IPv4 address")?;
            Ok(SocketAddr::new(address, port))
        })
    }

    /// Waits until a route's first parent has accepted its newest generation, and all that it refers to
    /// is there: its filters are compiled.
    ///
    /// # Errors
    /// Its conditions, where it has not in time.
    pub fn route(&self, namespace: &str, name: &str) -> Result<()> {
        self.eventually(&format!("HTTPRoute {namespace}/{name} is accepted"), || {
            let route = self.object(namespace, "httproute", name)?;
            let conditions = &route["status"]["parents"][0]["conditions"];
            is_true(&route, conditions, "Accepted")?;
            is_true(&route, conditions, "ResolvedRefs")
        })
    }

    /// What the cluster looks like and what our processes said last, for whoever looks into a failure.
    pub fn report(&self) -> String {
        let all = ["get", "pods,services,gateways,httproutes,wasmfilters", "-A", "-o", "wide"];
        let mut report = self.kubectl(&all).unwrap_or_default();
        for name in ["penstock-operator", "penstock-agent", "penstock-proxy"] {
            let label = format!("app.kubernetes.io/name={name}");
            let logs = ["logs", "-n", install::NAMESPACE, "--prefix", "--tail=40", "-l", &label];
            report += &self.kubectl(&logs).unwrap_or_default();
        }
        report
    }

    /// Tries until it works, for at most a minute.
    ///
    /// # Errors
    /// That of the last attempt.
    pub fn eventually<T>(&self, what: &str, attempt: impl FnMut() -> Result<T>) -> Result<T> {
        eventually(what, PATIENCE, attempt)
    }
}

/// The Gateway `edge` of a namespace, with an HTTP listener on port 80.
pub fn edge(namespace: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: edge, namespace: {namespace} }}
spec:
  gatewayClassName: penstock
  listeners: [{{ name: http, port: 80, protocol: HTTP }}]
"
    )
}

/// Tries until it works.
///
/// # Errors
/// That of the last attempt, when the time is over.
pub fn eventually<T>(
    what: &str,
    patience: Duration,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let mut last = attempt();
    let done = wait::until(what, patience, || {
        if last.is_err() {
            last = attempt();
        }
        Ok(last.is_ok())
    });
    match (last, done) {
        (Err(error), Err(over)) => Err(error.context(over)),
        (last, _) => last,
    }
}

/// Whether a condition is true of an object's newest generation.
fn is_true(object: &Value, conditions: &Value, kind: &str) -> Result<()> {
    let conditions = conditions.as_array().context("no conditions")?;
    let condition = conditions.iter().find(|condition| condition["type"] == kind);
    let condition = condition.with_context(|| format!("no condition {kind}"))?;
    let newest = condition["observedGeneration"] == object["metadata"]["generation"];
    ensure!(newest && condition["status"] == "True", "{condition}");
    Ok(())
}

fn backend(namespace: &str, name: &str) -> String {
    let image = conformance::ECHO_IMAGE;
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: {name}, namespace: {namespace} }}
spec:
  selector: {{ matchLabels: {{ app: {name} }} }}
  template:
    metadata: {{ labels: {{ app: {name} }} }}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: echo
          image: {image}
          env:
            - {{ name: POD_NAME, valueFrom: {{ fieldRef: {{ fieldPath: metadata.name }} }} }}
            - {{ name: NAMESPACE, valueFrom: {{ fieldRef: {{ fieldPath: metadata.namespace }} }} }}
            - {{ name: SERVICE_NAME, value: {name} }}
          readinessProbe: {{ tcpSocket: {{ port: 3000 }}, periodSeconds: 1 }}
---
apiVersion: v1
kind: Service
metadata: {{ name: {name}, namespace: {namespace} }}
spec:
  selector: {{ app: {name} }}
  ports: [{{ port: 80, targetPort: 3000 }}]
"
    )
}
