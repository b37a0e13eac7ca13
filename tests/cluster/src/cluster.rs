//! The cluster as a whole: up, used, down.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

use crate::layout::{CLIENT, CONTROL, Layout, NodePlan};
use crate::machine::Machine;
use crate::teardown::Remains;
use crate::{control, network, node, pki, programs, teardown, wait};

/// What a cluster is to be like.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many nodes, 1 to 100.
    pub nodes: u8,
    /// Its folder, which nobody else uses: made by `up`, removed by `down`.
    pub dir: PathBuf,
    /// Whether the nodes are instances in a VPC, whose router the control plane's machine is, and have no
    /// CNI plugin of their own: they are ready once Penstock gives their pods addresses.
    pub vpc: bool,
}

/// A node of a cluster.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its machine: name, namespaces, programs.
    pub machine: Machine,
    /// Its `InternalIP`, both families.
    pub address: (Ipv4Addr, Ipv6Addr),
    /// The EC2 instance that it is in a VPC.
    pub instance: String,
    /// Its addresses on its uplink, by which the client reaches it.
    pub uplink: (Ipv4Addr, Ipv6Addr),
}

impl Node {
    /// The network device that leads out of the cluster.
    pub const UPLINK: &'static str = "uplink";

    /// Its name, in Kubernetes too.
    pub fn name(&self) -> &str {
        self.machine.name()
    }
}

/// A cluster that is up. When it is dropped it is taken down; [`Cluster::keep`] leaves it.
#[derive(Debug)]
pub struct Cluster {
    layout: Layout,
    state: State,
    keep: bool,
}

/// What its folder says of a cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    nodes: u8,
    #[serde(default)]
    vpc: bool,
    /// Where its programs are.
    bin: PathBuf,
}

/// Where a cluster is made when nobody says where.
pub fn default_dir() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into()));
    cache.unwrap_or_else(|| home().join(".cache")).join("penstock/cluster/default")
}

impl Cluster {
    /// Makes a cluster: its nodes are ready when this returns. What is left of one that was made in
    /// the same folder and not taken down is taken away first, unless it is up.
    ///
    /// # Errors
    /// Not root; a program that is missing; something that does not come up: what it said last.
    pub fn up(options: &Options) -> Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "a test cluster makes network, mount and PID namespaces and control groups: that needs \
             root (sudo -E)"
        );
        ensure!(
            (1..=NodePlan::MOST).contains(&options.nodes),
            "a test cluster has 1 to {} nodes",
            NodePlan::MOST
        );
        let dir = std::path::absolute(&options.dir)?;
        ensure!(
            Self::open(&dir).is_err(),
            "there is a cluster in {}: take it down first",
            dir.display()
        );
        let layout = Layout::new(&dir);
        let bin = programs::bin()?;
        // Whoever makes a cluster holds this lock, and a process that is killed holds none.
        let free = fs::File::open(layout.state()).map_or(true, |state| state.try_lock().is_ok());
        ensure!(free, "somebody else is making a cluster in {}", dir.display());
        teardown::remove(&layout)?;
        fs::create_dir_all(&dir)?;
        let state = State { nodes: options.nodes, vpc: options.vpc, bin };
        let mut file = fs::File::create_new(layout.state())
            .with_context(|| format!("somebody else makes a cluster in {}", dir.display()))?;
        file.try_lock().context("cannot lock the cluster's folder")?;
        file.write_all(&serde_json::to_vec_pretty(&state)?)?;
        // From here on whatever fails takes everything away.
        let cluster = Self { layout, state, keep: false };
        cluster.make()?;
        Ok(cluster)
    }

    /// The cluster in a folder, which somebody else made and keeps.
    ///
    /// # Errors
    /// There is none, or it is not up.
    pub fn open(dir: &Path) -> Result<Self> {
        let layout = Layout::new(&std::path::absolute(dir)?);
        let state = fs::read(layout.state())
            .with_context(|| format!("no cluster in {}", layout.dir().display()))?;
        let cluster = Self { layout, state: serde_json::from_slice(&state)?, keep: true };
        ensure!(
            cluster.control().running(),
            "the cluster in {} is not up",
            cluster.layout.dir().display()
        );
        Ok(cluster)
    }

    /// Takes the cluster in a folder away, or what is left of it.
    ///
    /// # Errors
    /// Something cannot be taken away: it is named.
    pub fn down(dir: &Path) -> Result<()> {
        teardown::remove(&Layout::new(&std::path::absolute(dir)?))
    }

    /// What exists of the cluster of a folder.
    ///
    /// # Errors
    /// The mounts of this process cannot be read.
    pub fn remains(dir: &Path) -> Result<Remains> {
        teardown::remains(&Layout::new(&std::path::absolute(dir)?))
    }

    /// Leaves the cluster up when this value is dropped.
    pub fn keep(mut self) -> Self {
        self.keep = true;
        self
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.layout.dir()
    }

    /// The folder of the programs that it is made of, `kubectl`, `helm` and `coredns` among them.
    pub fn bin(&self) -> &Path {
        &self.state.bin
    }

    /// The administrator's kubeconfig, for programs in the client's namespace or on a node.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig()
    }

    /// The network namespace of the client, outside of the cluster: only the uplinks lead in, and a
    /// link of its own to the API server.
    pub fn client_netns(&self) -> String {
        self.layout.netns("client")
    }

    /// The network namespace of the control plane; in a VPC the router too, where each node's first
    /// interface has a port of the node's name.
    pub fn control_netns(&self) -> String {
        self.layout.netns("control")
    }

    /// The address of that, as nodes see it.
    pub fn control_address(&self) -> Ipv4Addr {
        CONTROL.0
    }

    /// The addresses of the client, as nodes see it.
    pub fn client_address(&self) -> (Ipv4Addr, Ipv6Addr) {
        CLIENT
    }

    /// The machine of the control plane, with `etcd`, `kube-apiserver`, `kube-controller-manager` and
    /// `kube-scheduler`.
    pub fn control(&self) -> Machine {
        Machine::new(&self.layout, "control")
    }

    /// The nodes.
    pub fn nodes(&self) -> Vec<Node> {
        let nodes = self.plans().into_iter().map(|plan| Node {
            machine: Machine::new(&self.layout, &plan.name()),
            address: plan.internal(),
            instance: plan.instance(),
            uplink: plan.uplink(),
        });
        nodes.collect()
    }

    /// A program that will run in the client's network namespace, with the kubeconfig and the
    /// cluster's own `kubectl` and `helm` at hand.
    pub fn client(&self, program: impl AsRef<OsStr>) -> Command {
        let mut path = self.state.bin.clone().into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        // `env` looks the program up in the new PATH, nsenter would in its own.
        let mut command = network::inside(&self.client_netns(), "env");
        command.arg(program).env("PATH", path).env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// Runs kubectl from the client's namespace and returns what it prints.
    ///
    /// # Errors
    /// It failed: what it said.
    pub fn kubectl<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String> {
        output(self.client("kubectl").args(arguments))
    }

    /// Imports the images of an OCI archive into every node.
    ///
    /// # Errors
    /// A node is down or refuses the archive.
    pub fn import_images(&self, archive: &Path) -> Result<()> {
        each(&self.nodes(), |node| import(&node.machine, archive))
    }

    /// Starts a node again after [`Machine::power_off`], with an empty network namespace: what the
    /// disk remembers is left, what ran is not.
    ///
    /// # Errors
    /// It does not come up.
    pub fn reboot(&self, node: &Node) -> Result<()> {
        let plan = self
            .plans()
            .into_iter()
            .find(|plan| plan.name() == node.name())
            .context("a node of another cluster")?;
        node.machine.power_off()?;
        network::unplug(&self.layout, plan)?;
        network::node(&self.layout, plan, self.state.vpc)?;
        if !self.state.vpc {
            network::routes(&self.layout, &self.plans())?;
        }
        node.machine.power_on()?;
        let [runtime, agents @ ..] = node::PROGRAMS;
        node.machine.start(runtime)?;
        // A kubelet without a runtime ends.
        runtime_answers(&node.machine)?;
        agents.into_iter().try_for_each(|program| node.machine.start(program))
    }

    /// Waits until all nodes are ready.
    ///
    /// # Errors
    /// They are not in time: what their kubelets wrote last.
    pub fn wait_for_nodes(&self, patience: Duration) -> Result<()> {
        let nodes = self.nodes();
        let condition = r#"{range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Ready")].status} {end}"#;
        let query = format!("jsonpath={condition}");
        wait::until("the nodes are ready", patience, || {
            let ready = self.kubectl(&["get", "nodes", "-o", &query]).unwrap_or_default();
            let is =
                |node: &Node| ready.split(' ').any(|said| said == format!("{}=True", node.name()));
            Ok(nodes.iter().all(is))
        })
        .with_context(|| {
            let logs = nodes.iter().map(|node| node.machine.log("kubelet"));
            logs.collect::<Vec<_>>().join("\n")
        })
    }

    fn plans(&self) -> Vec<NodePlan> {
        (1..=self.state.nodes).map(NodePlan::new).collect()
    }

    fn make(&self) -> Result<()> {
        let (layout, bin, plans) = (&self.layout, &self.state.bin, self.plans());
        let images = layout.dir().join("images.tar");
        programs::images(bin, &images)?;
        pki::make(layout, &plans)?;
        network::base(layout, self.state.vpc)?;
        let control = self.control();
        control::define(&control, layout, bin)?;
        control.power_on()?;
        let [etcd, apiserver, clients @ ..] = control::PROGRAMS;
        control.start(etcd)?;
        control.start(apiserver)?;

        let vpc = self.state.vpc;
        for plan in &plans {
            network::node(layout, *plan, vpc)?;
        }
        if !vpc {
            network::routes(layout, &plans)?;
        }
        let nodes = self.nodes();
        let [runtime, agents @ ..] = node::PROGRAMS;
        let pairs: Vec<_> = nodes.iter().zip(&plans).collect();
        each(&pairs, |(node, plan)| {
            node::define(&node.machine, layout, **plan, bin, vpc)?;
            node.machine.power_on()?;
            node.machine.start(runtime)?;
            import(&node.machine, &images)
        })?;

        wait::until("the API server is ready", Duration::from_secs(60), || {
            Ok(self.kubectl(&["get", "--raw", "/readyz"]).is_ok())
        })
        .with_context(|| format!("{}\n{}", control.log(apiserver), control.log(etcd)))?;
        for program in clients {
            control.start(program)?;
        }
        for node in &nodes {
            for program in agents {
                node.machine.start(program)?;
            }
        }
        // Without a network of its own a node becomes ready when it gets one.
        if !vpc {
            self.wait_for_nodes(Duration::from_secs(60))?;
        }
        wait::until("pods may be created", Duration::from_secs(30), || {
            Ok(self.kubectl(&["get", "serviceaccount", "default"]).is_ok())
        })
        .with_context(|| control.log("kube-controller-manager"))?;
        // It comes up beside whatever is done next.
        let dns = layout.dir().join("dns.yaml");
        fs::write(&dns, include_str!("dns.yaml"))?;
        self.kubectl(&["apply".as_ref(), "-f".as_ref(), dns.as_os_str()]).map(drop)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = teardown::remove(&self.layout)
        {
            eprintln!("the test cluster is not entirely gone: {error:#}");
        }
    }
}

/// Waits until a node's containerd answers.
fn runtime_answers(machine: &Machine) -> Result<()> {
    wait::until("containerd answers", Duration::from_secs(20), || {
        Ok(ctr(machine, &["version".as_ref()]).is_ok())
    })
    .with_context(|| machine.log("containerd"))
}

/// Imports an archive into one node.
fn import(machine: &Machine, archive: &Path) -> Result<()> {
    runtime_answers(machine)?;
    ctr(machine, &["images".as_ref(), "import".as_ref(), archive.as_os_str()]).map(drop)
}

fn ctr(machine: &Machine, arguments: &[&OsStr]) -> Result<String> {
    output(machine.command("ctr")?.arg("--namespace=k8s.io").args(arguments))
}

/// Does the same for each, at the same time.
fn each<T: Sync>(items: &[T], act: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let running: Vec<_> = items.iter().map(|item| scope.spawn(|| act(item))).collect();
        running.into_iter().try_for_each(|thread| {
            thread.join().map_err(|_panic| anyhow!("a thread of the cluster panicked"))?
        })
    })
}

/// Runs a program and returns what it prints.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}
