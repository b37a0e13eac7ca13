//! The plugin as a runtime starts it, with an agent's clerk, in namespaces of the test. Needs root.

use penstock_agent::{AddressInput, Clerk, Counts, NodeWiring, StateFile, bind, serve};
use penstock_config::address::{Epoch, Interface, InterfaceId, NodeAddresses, Report};
use prometheus_client::{
    encoding::text::encode, metrics::histogram::Histogram, registry::Registry,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs::File,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
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

static NUMBER: AtomicU32 = AtomicU32::new(0);

fn run(command: &str) {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A network namespace, gone when dropped.
struct Namespace(String);

impl Namespace {
    fn new(role: &str) -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test makes namespaces: run it as root");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("pscni-{}-{number}-{role}", std::process::id());
        run(&format!("ip netns add {name}"));
        Self(name)
    }

    fn path(&self) -> PathBuf {
        format!("/run/netns/{}", self.0).into()
    }

    fn enter<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
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
struct Node {
    namespace: Namespace,
    folder: TempDir,
    agent: Option<Agent>,
}

struct Agent {
    clerk: mpsc::Sender<AddressInput>,
    counts: watch::Receiver<Counts>,
    report: watch::Receiver<Report>,
    adds: Histogram,
    threads: Vec<JoinHandle<()>>,
    stop: oneshot::Sender<()>,
}

impl Node {
    fn new() -> Self {
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

    fn file(&self) -> PathBuf {
        self.folder.path().join("state/addresses.json")
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("cni.sock")
    }

    fn start(&mut self) {
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

    fn stop(&mut self) {
        let Some(agent) = self.agent.take() else { return };
        let _ = agent.stop.send(());
        let _ = agent.clerk.send(AddressInput::End);
        agent.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }

    /// The operator says that there are these addresses.
    fn tell(&self, count: u32, units: &[&str]) {
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

    fn eventually(&self, is_so: impl Fn(&Counts) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !is_so(&self.agent().counts.borrow()) {
            assert!(Instant::now() < end, "{:?}", self.agent().counts.borrow());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts the plugin for a pod.
    fn plugin(&self, command: &str, pod: &Pod, more: Value) -> Plugin {
        let mut configuration = configuration(&self.socket());
        configuration.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (command, container, pod) =
            (command.to_owned(), pod.container.clone(), pod.namespace.path());
        let start = move || start(&command, &container, pod, &configuration);
        Plugin(self.namespace.enter(start).join().unwrap())
    }

    fn add(&self, pod: &Pod) -> Ipv4Addr {
        let added = self.plugin("ADD", pod, json!({})).ok();
        let address = added["ips"][0]["address"].as_str().unwrap();
        address.strip_suffix("/32").unwrap().parse().unwrap()
    }

    /// Starts a plugin for each pod, `at_a_time` of them; gives how long each took.
    fn burst(&self, pods: &[Pod], at_a_time: usize) -> Vec<Duration> {
        let socket = self.socket();
        let jobs: Vec<_> =
            pods.iter().map(|pod| (pod.container.clone(), pod.namespace.path())).collect();
        let jobs = Arc::new(Mutex::new(jobs));
        let workers = (0..at_a_time).map(|_| {
            let (jobs, socket) = (jobs.clone(), socket.clone());
            self.namespace.enter(move || {
                let next = || jobs.lock().unwrap().pop();
                let took = |(container, pod): (String, PathBuf)| {
                    let begun = Instant::now();
                    Plugin(start("ADD", &container, pod, &configuration(&socket))).ok();
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
    fn inside(&self) -> f64 {
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

    fn devices(&self) -> usize {
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

/// Starts the plugin in the network namespace of the calling thread.
fn start(command: &str, container: &str, pod: PathBuf, configuration: &Value) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_penstock-cni"))
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
struct Plugin(Child);

impl Plugin {
    fn end(self) -> (bool, Value) {
        let output = self.0.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.success(), serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    #[track_caller]
    fn ok(self) -> Value {
        let (ok, value) = self.end();
        assert!(ok, "{value}");
        value
    }

    #[track_caller]
    fn fails(self, code: u32) -> String {
        let (ok, value) = self.end();
        assert!(!ok && value["code"] == code, "{value}");
        value["msg"].as_str().unwrap().to_owned()
    }
}

struct Pod {
    namespace: Namespace,
    container: String,
}

impl Pod {
    fn new(name: &str) -> Self {
        Self { namespace: Namespace::new(name), container: format!("sandbox-{name}") }
    }

    fn listen(&self, address: Ipv4Addr) {
        let (ready, is_ready) = mpsc::channel();
        self.namespace.enter(move || {
            let listener = TcpListener::bind((address, 8080)).unwrap();
            ready.send(()).unwrap();
            listener.accept().unwrap();
        });
        is_ready.recv().unwrap();
    }

    fn reaches(&self, address: Ipv4Addr) {
        let to = SocketAddr::from((address, 8080));
        let connect = move || TcpStream::connect_timeout(&to, Duration::from_secs(5)).map(drop);
        self.namespace.enter(connect).join().unwrap().unwrap();
    }
}

#[test]
fn pods_are_added_checked_and_removed_as_the_specification_says() {
    let node = Node::new();
    let pods = ["a", "b", "c"].map(Pod::new);
    node.plugin("STATUS", &pods[0], json!({})).fails(50);
    node.tell(1, &["10.0.0.16/28"]);
    node.plugin("STATUS", &pods[0], json!({})).ok();
    let added = node.plugin("ADD", &pods[0], json!({})).ok();
    let first = node.add(&pods[0]);
    assert_eq!(added["ips"][0]["address"], format!("{first}/32"), "asked twice, given once");
    let second = node.add(&pods[1]);
    assert_ne!(first, second);
    pods[0].listen(first);
    pods[1].reaches(first);

    node.plugin("CHECK", &pods[0], json!({"prevResult": added})).ok();
    let stranger = json!({"prevResult": {"ips": [{"address": "10.0.0.99/32"}]}});
    let message = node.plugin("CHECK", &pods[0], stranger).fails(100);
    assert!(message.contains("10.0.0.99"), "{message}");
    node.plugin("CHECK", &pods[2], json!({})).fails(3);
    run(&format!("ip -n {} link set eth0 down", pods[0].namespace.0));
    let message = node.plugin("CHECK", &pods[0], json!({})).fails(100);
    assert!(message.contains("eth0 is down"), "{message}");

    assert_eq!(node.devices(), 2);
    for _ in 0..2 {
        node.plugin("DEL", &pods[0], json!({})).ok();
    }
    assert_eq!(node.devices(), 1);
    node.eventually(|counts| counts.used == 1);
    // What the runtime does not know any more is nobody's.
    let valid = json!({"cni.dev/valid-attachments": []});
    node.plugin("GC", &pods[0], valid).ok();
    node.eventually(|counts| counts.used == 0);
    let versions = node.plugin("VERSION", &pods[0], json!({})).ok();
    assert!(versions["supportedVersions"].as_array().unwrap().contains(&json!("1.1.0")));
    node.plugin("ADD", &pods[2], json!({"cniVersion": "7.0.0"})).fails(1);
}

#[test]
fn a_plugin_waits_for_an_agent_that_restarts_and_nothing_is_forgotten() {
    let mut node = Node::new();
    let pods = ["a", "b", "c"].map(Pod::new);
    node.tell(1, &["10.0.0.16/28"]);
    let first = node.add(&pods[0]);
    node.stop();
    let waits = node.plugin("ADD", &pods[1], json!({}));
    // A pod can be removed meanwhile; the agent finds out.
    thread::sleep(Duration::from_millis(500));
    node.start();
    let second = waits.ok()["ips"][0]["address"].as_str().unwrap().to_owned();
    assert_ne!(second, format!("{first}/32"));
    assert_eq!(node.add(&pods[0]), first);
    assert_eq!(node.agent().report.borrow().in_use(), 2);

    // A file that means nothing: what pods have is taken from their devices.
    node.stop();
    std::fs::write(node.file(), "{").unwrap();
    node.start();
    node.tell(2, &["10.0.0.16/28"]);
    node.eventually(|counts| counts.used == 2);
    let third = node.add(&pods[2]);
    let all: BTreeSet<String> = [format!("{first}/32"), second, format!("{third}/32")].into();
    assert_eq!(all.len(), 3, "{all:?}");
    let aside = std::fs::read_dir(node.file().parent().unwrap()).unwrap();
    let names: Vec<_> = aside.map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().any(|name| name.to_string_lossy().contains("unreadable")), "{names:?}");
}

#[test]
fn a_pod_for_which_there_is_no_address_waits_and_then_is_told_why() {
    let node = Node::new();
    let pods = ["a", "b", "c"].map(Pod::new);
    node.tell(1, &["10.0.0.17"]);
    node.add(&pods[0]);
    let waits = node.plugin("ADD", &pods[1], json!({}));
    node.eventually(|counts| counts.waiting == 1);
    assert_eq!(node.agent().report.borrow().pending, 1, "the operator hears of it");
    node.tell(2, &["10.0.0.17", "10.0.0.18"]);
    assert_eq!(waits.ok()["ips"][0]["address"], "10.0.0.18/32");
    let message = node.plugin("ADD", &pods[2], json!({})).fails(11);
    assert!(message.contains("2 of 2 are in use"), "{message}");
    // One whose runtime gave up waits no more.
    let mut ended = node.plugin("ADD", &pods[2], json!({}));
    node.eventually(|counts| counts.waiting == 1);
    ended.0.kill().unwrap();
    let _ = ended.0.wait();
    node.eventually(|counts| counts.waiting == 0);
}

/// With `--nocapture` it prints what `make bench BENCH=addresses` shows. The bound is that of a busy
/// machine and a build for tests.
#[test]
fn two_hundred_pods_at_once_all_get_addresses_of_their_own() {
    const PODS: usize = 200;
    let blocks: Vec<_> =
        (0..2 * PODS / 16 + 1).map(|n| format!("10.0.{}.{}/28", n / 16, n % 16 * 16)).collect();
    let blocks: Vec<_> = blocks.iter().map(String::as_str).collect();
    let processors = thread::available_parallelism().unwrap().get();
    for (name, at_a_time) in [("as many as processors", processors), ("all at once", PODS)] {
        let node = Node::new();
        node.tell(1, &blocks);
        let pods: Vec<_> = (0..PODS).map(|n| Pod::new(&n.to_string())).collect();
        let took = node.burst(&pods, at_a_time);
        node.eventually(|counts| counts.used == PODS);
        assert_eq!(node.devices(), PODS);
        let inside = node.inside() * 1000.0;
        let millis = |n: usize| took[n].as_secs_f64() * 1000.0;
        println!(
            "ADD of {PODS} pods, {name}: inside {inside:.1} ms, plugin {:.1} ms, median {:.1} ms",
            millis(PODS * 99 / 100),
            millis(PODS / 2)
        );
        assert!(took[PODS * 99 / 100] < Duration::from_secs(10), "{took:?}");
    }
}
