//! A node: containerd, kubelet and kube-proxy on a machine of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::layout::{DNS_SERVICE, Layout, NodePlan, POD_RANGE, VPC_RANGE, pair};
use crate::machine::Machine;

/// Its programs, in the order in which they start.
pub(crate) const PROGRAMS: [&str; 3] = ["containerd", "kubelet", "kube-proxy"];
/// The image that holds a pod's namespaces.
pub(crate) const SANDBOX_IMAGE: &str = "docker.io/penstock/test-pod:dev";
/// Where Debian puts the CNI plugins, where containerd, and where everybody else looks for them.
const CNI_DEBIAN: &str = "/usr/lib/cni";
const SOCKET: &str = "/run/containerd/containerd.sock";
/// Zone of nodes that are instances.
pub const ZONE: &str = "eu-central-1a";
/// Their type.
pub const INSTANCE_TYPE: &str = "m5.large";
/// The taint with which they begin.
pub const AGENT_TAINT: &str = "node.penstock.dev/agent-not-ready";

/// Writes the configurations of a node's programs and tells the machine what to run.
pub(crate) fn define(
    machine: &Machine,
    layout: &Layout,
    plan: NodePlan,
    bin: &Path,
    vpc: bool,
) -> Result<()> {
    let dir = machine.dir();
    let config = dir.join("config");
    fs::create_dir_all(&config)?;
    let path = |file: &str| config.join(file).display().to_string();

    // The machine sees its own folder `opt` as /opt, and `etc/upper` in its /etc.
    let plugins = dir.join("opt/cni/bin");
    fs::create_dir_all(&plugins)?;
    let installed = fs::read_dir(CNI_DEBIAN)
        .with_context(|| format!("no CNI plugins in {CNI_DEBIAN} (containernetworking-plugins)"))?;
    for plugin in installed {
        let plugin = plugin?;
        let link = plugins.join(plugin.file_name());
        if !link.exists() {
            symlink(plugin.path(), link)?;
        }
    }
    let network = dir.join("etc/upper/cni/net.d");
    fs::create_dir_all(&network)?;
    if !vpc {
        write(&network.join("90-test.conflist"), &pod_network(plan))?;
    }

    fs::write(config.join("containerd.toml"), containerd())?;
    machine.define(
        Path::new("/usr/bin/containerd"),
        &[format!("--config={}", path("containerd.toml"))],
    )?;

    fs::write(config.join("resolv.conf"), "options ndots:1\n")?;
    let mut kubelet = kubelet(layout, plan, &path("resolv.conf"));
    if vpc {
        // As a node group of EKS is set up for a network that comes later.
        kubelet["providerID"] = json!(format!("aws:///{ZONE}/{}", plan.instance()));
        let taint = json!({"key": AGENT_TAINT, "value": "true", "effect": "NoExecute"});
        kubelet["registerWithTaints"] = json!([taint]);
    }
    write(&config.join("kubelet.json"), &kubelet)?;
    let node_ip = match vpc {
        false => pair(plan.internal()),
        true => plan.internal().0.to_string(),
    };
    let mut arguments = vec![
        format!("--config={}", path("kubelet.json")),
        format!("--kubeconfig={}", layout.pki(&format!("{}.kubeconfig", plan.name())).display()),
        format!("--hostname-override={}", plan.name()),
        format!("--node-ip={node_ip}"),
    ];
    if vpc {
        arguments.push(format!(
            "--node-labels=node.kubernetes.io/instance-type={INSTANCE_TYPE},topology.kubernetes.io/zone={ZONE}"
        ));
    }
    machine.define(&bin.join(PROGRAMS[1]), &arguments)?;

    write(&config.join("kube-proxy.json"), &kube_proxy(layout, plan, vpc))?;
    machine.define(&bin.join(PROGRAMS[2]), &[format!("--config={}", path("kube-proxy.json"))])
}

fn write(path: &Path, value: &Value) -> Result<()> {
    fs::write(path, format!("{value:#}\n"))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// `ptp`: a veth pair and a host route for each pod, no bridge; the peers know the way to its range.
fn pod_network(plan: NodePlan) -> Value {
    let ranges: Vec<Value> = plan.pods().iter().map(|range| json!([{ "subnet": range }])).collect();
    json!({
        "cniVersion": "0.4.0",
        "name": "test",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "ranges": ranges,
                    "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }],
                    "dataDir": "/run/cni-addresses",
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true }, "snat": true },
        ],
    })
}

fn containerd() -> String {
    // A container may not lower its own chance of being killed where the machine that runs the tests
    // has no CAP_SYS_RESOURCE.
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
  address = "{SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{SANDBOX_IMAGE}"
  restrict_oom_score_adj = true
  enable_unprivileged_ports = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"#
    )
}

fn kubelet(layout: &Layout, plan: NodePlan, resolv_conf: &str) -> Value {
    let pki = |file: &str| layout.pki(file).display().to_string();
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "cgroupDriver": "cgroupfs",
        // Machines with the first version of control groups run the tests too.
        "failCgroupV1": false,
        "failSwapOn": false,
        "localStorageCapacityIsolation": false,
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": pki("ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": pki(&format!("{}-server.crt", plan.name())),
        "tlsPrivateKeyFile": pki(&format!("{}-server.key", plan.name())),
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "resolvConf": resolv_conf,
        // Images are imported, not pulled: none may be thrown away, and a full disk of the machine
        // that runs the tests is no reason to evict.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "0%",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
        },
        "serializeImagePulls": false,
        "healthzBindAddress": "127.0.0.1",
    })
}

fn kube_proxy(layout: &Layout, plan: NodePlan, vpc: bool) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": { "kubeconfig": layout.pki("kube-proxy.kubeconfig") },
        "hostnameOverride": plan.name(),
        "clusterCIDR": if vpc { VPC_RANGE } else { POD_RANGE },
        // Also on the uplink.
        "nodePortAddresses": ["0.0.0.0/0", "::/0"],
        // These would be set for the whole kernel.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        "metricsBindAddress": "127.0.0.1:10249",
    })
}
