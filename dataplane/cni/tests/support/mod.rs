//! A node with an agent's clerk, pods, and the plugin as a runtime starts it, in namespaces of the test.
//! Needs root.

#![allow(dead_code, reason = "each test file uses a part")]

use parking_lot::Mutex;
use penstock_agent::{AddressInput, Clerk, Counts, NodeWiring, StateFile, bind, serve};
use penstock_config::address::{Epoch, Interface, InterfaceId, NodeAddresses, Report};
use prometheus_client::{
    encoding::text::encode, metrics::histogram::Histogram, registry::Registry,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};

/// Of what an answer takes inside the agent.
const SECONDS: [f64; 13] =
    [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.5];

/// The plugin.
pub(crate) const OURS: &str = env!("CARGO_BIN_EXE_penstock-cni");

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Runs a command that must succeed.
pub(crate) fn run(command: &str) {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A network namespace, gone when dropped.
pub(crate) struct Namespace(pub(crate) String);

impl Namespace {
    pub(crate) fn new(role: &str) -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test makes namespaces: run it as root");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("pscni-{}-{number}-{role}", std::process::id());
        run(&format!("ip netns add {name}"));
        Self(name)
    }

    pub(crate) fn path(&self) -> PathBuf {
        format!("/run/netns/{}", self.0).into()
    }

    pub(crate) fn enter<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let path = self.path();
        thread::spawn(move || {
            let namespace = File::open(path).unwrap();
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            task()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// A node with one interface for pods.
pub(crate) struct Node {
    pub(crate) namespace: Namespace,
    pub(crate) folder: TempDir,
    agent: Option<Agent>,
}

pub(crate) struct Agent {
    clerk: mpsc::Sender<AddressInput>,
    pub(crate) counts: watch::Receiver<Counts>,
    pub(crate) report: watch::Receiver<Report>,
    adds: Histogram,
    threads: Vec<JoinHandle<()>>,
    stop: oneshot::Sender<()>,
}

impl Node {
    pub(crate) fn new() -> Self {
        let namespace = Namespace::new("node");
        let name = &namespace.0;
        run(&format!("ip -n {name} link set lo up"));
        run(&format!(
            "ip -n {name} link add eth1 address 02:00:00:00:00:01 type veth peer name vpc"
        ));
        run(&format!("ip -n {name} link set eth1 mtu 9001"));
        run(&format!("ip -n {name} link set vpc up"));
        let mut node = Self { namespace, folder: tempfile::tempdir().unwrap(), agent: None };
        node.start();
        node
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("state/addresses.json")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("cni.sock")
    }

    pub(crate) fn start(&mut self) {
        let (path, socket) = (self.file(), self.socket());
        let (reports, report) = watch::channel(Report::default());
        let (counting, counts) = watch::channel(Counts::default());
        let (clerk, inputs) = mpsc::channel();
        let adds = Histogram::new(SECONDS);
        let histogram = adds.clone();
        let deciding = self.namespace.enter(move || {
            let file = StateFile::open(&path).unwrap();
            let wiring = Box::new(NodeWiring::default());
            Clerk::new(file, wiring, reports, counting, histogram).run(&inputs);
        });
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let to = clerk.clone();
        let serving = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = bind(&socket).unwrap();
                ready.send(()).unwrap();
                tokio::select! {
                    () = serve(listener, to) => {}
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv().unwrap();
        let threads = vec![deciding, serving];
        self.agent = Some(Agent { clerk, counts, report, adds, threads, stop });
    }

    pub(crate) fn stop(&mut self) {
        let Some(agent) = self.agent.take() else { return };
        let _ = agent.stop.send(());
        let _ = agent.clerk.send(AddressInput::End);
        agent.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    pub(crate) fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }

    /// The operator says that there are these addresses.
    pub(crate) fn tell(&self, count: u32, units: &[&str]) {
        let id: InterfaceId = "eni-1".into();
        let interface = Interface {
            id: id.clone(),
            mac: "02:00:00:00:00:01".into(),
            card: 0,
            index: 1,
            primary: Ipv4Addr::new(10, 0, 0, 5),
            subnet: "subnet-1".into(),
            gateway: Ipv4Addr::new(10, 0, 0, 1),
            units: units.iter().map(|unit| unit.parse().unwrap()).collect(),
        };
        let told = NodeAddresses {
            epoch: Epoch { term: 1, count },
            interfaces: [(id, interface)].into(),
            ..NodeAddresses::default()
        };
        self.agent().clerk.send(AddressInput::Told(told)).unwrap();
        self.eventually(|counts| counts.interfaces == 1);
    }

    pub(crate) fn eventually(&self, is_so: impl Fn(&Counts) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !is_so(&self.agent().counts.borrow()) {
            assert!(Instant::now() < end, "{:?}", self.agent().counts.borrow());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts the plugin for a pod.
    pub(crate) fn plugin(&self, command: &str, pod: &Pod, more: Value) -> Plugin {
        let mut configuration = configuration(&self.socket());
        configuration.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.program(Path::new(OURS), command, pod, configuration)
    }

    /// Starts a program of a list of plugins for a pod.
    pub(crate) fn program(
        &self,
        program: &Path,
        command: &str,
        pod: &Pod,
        configuration: Value,
    ) -> Plugin {
        let (program, command) = (program.to_owned(), command.to_owned());
        let (container, pod) = (pod.container.clone(), pod.namespace.path());
        let start = move || start(&program, &command, &container, pod, &configuration);
        Plugin(self.namespace.enter(start).join().unwrap())
    }

    pub(crate) fn add(&self, pod: &Pod) -> Ipv4Addr {
        let added = self.plugin("ADD", pod, json!({})).ok();
        let address = added["ips"][0]["address"].as_str().unwrap();
        address.strip_suffix("/32").unwrap().parse().unwrap()
    }

    /// Starts a plugin for each pod, `at_a_time` of them; gives how long each took.
    pub(crate) fn burst(&self, pods: &[Pod], at_a_time: usize) -> Vec<Duration> {
        let socket = self.socket();
        let jobs: Vec<_> =
            pods.iter().map(|pod| (pod.container.clone(), pod.namespace.path())).collect();
        let jobs = Arc::new(Mutex::new(jobs));
        let workers = (0..at_a_time).map(|_| {
            let (jobs, socket) = (jobs.clone(), socket.clone());
            self.namespace.enter(move || {
                let next = || jobs.lock().pop();
                let took = |(container, pod): (String, PathBuf)| {
                    let begun = Instant::now();
                    Plugin(start(Path::new(OURS), "ADD", &container, pod, &configuration(&socket)))
                        .ok();
                    begun.elapsed()
                };
                std::iter::from_fn(next).map(took).collect::<Vec<_>>()
            })
        });
        let workers: Vec<_> = workers.collect();
        let mut took: Vec<_> = workers.into_iter().flat_map(|w| w.join().unwrap()).collect();
        took.sort();
        took
    }

    /// The least bound of the agent's histogram under which 99 of a hundred answers were.
    pub(crate) fn inside(&self) -> f64 {
        let mut registry = Registry::default();
        registry.register("adds", "", self.agent().adds.clone());
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let buckets = text.lines().filter_map(|line| {
            let (bound, count) = line.strip_prefix("adds_bucket{le=\"")?.split_once("\"} ")?;
            Some((bound.parse().unwrap_or(f64::INFINITY), count.parse::<f64>().ok()?))
        });
        let buckets: Vec<(f64, f64)> = buckets.collect();
        let all = buckets.last().unwrap().1;
        buckets.iter().find(|(_, count)| *count >= 0.99 * all).unwrap().0
    }

    pub(crate) fn devices(&self) -> usize {
        self.namespace.enter(|| penstock_net::pods::wires().unwrap().len()).join().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

fn configuration(socket: &Path) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "penstock", "type": "penstock-cni", "agentSocket": socket,
    })
}

/// Starts a plugin in the network namespace of the calling thread.
fn start(
    program: &Path,
    command: &str,
    container: &str,
    pod: PathBuf,
    configuration: &Value,
) -> Child {
    let mut child = Command::new(program)
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", container)
        .env("CNI_IFNAME", "eth0")
        .env("CNI_NETNS", pod)
        .env("CNI_PATH", "/opt/cni/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(configuration.to_string().as_bytes()).unwrap();
    child
}

/// A plugin that runs.
pub(crate) struct Plugin(pub(crate) Child);

impl Plugin {
    pub(crate) fn end(self) -> (bool, Value) {
        let output = self.0.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.success(), serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        let (ok, value) = self.end();
        assert!(ok, "{value}");
        value
    }

    #[track_caller]
    pub(crate) fn fails(self, code: u32) -> String {
        let (ok, value) = self.end();
        assert!(!ok && value["code"] == code, "{value}");
        value["msg"].as_str().unwrap().to_owned()
    }
}

pub(crate) struct Pod {
    pub(crate) namespace: Namespace,
    pub(crate) container: String,
}

impl Pod {
    pub(crate) fn new(name: &str) -> Self {
        Self { namespace: Namespace::new(name), container: format!("sandbox-{name}") }
    }

    pub(crate) fn listen(&self, address: Ipv4Addr) {
        let (ready, is_ready) = mpsc::channel();
        self.namespace.enter(move || {
            let listener = TcpListener::bind((address, 8080)).unwrap();
            ready.send(()).unwrap();
            listener.accept().unwrap();
        });
        is_ready.recv().unwrap();
    }

    pub(crate) fn reaches(&self, address: Ipv4Addr) {
        let to = SocketAddr::from((address, 8080));
        let connect = move || TcpStream::connect_timeout(&to, Duration::from_secs(5)).map(drop);
        self.namespace.enter(connect).join().unwrap().unwrap();
    }
}
