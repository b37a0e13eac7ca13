//! The whole list of plugins that the agent writes for a node, run as a runtime runs it (CNI
//! specification, section 3), with the CNI project's own portmap and bandwidth. Needs root, and
//! Debian's containernetworking-plugins.

mod support;

use penstock_agent::Conflist;
use serde_json::{Value, json};
use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
    time::{Duration, Instant},
};
use support::{Namespace, Node, OURS, Pod, run};

/// Where Debian puts the CNI project's plugins.
const DEBIAN: &str = "/usr/lib/cni";
/// The node's own address, of its first interface, and that of a client there.
const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
/// A port of the node, and the one of the pod that it leads to.
const HOST_PORT: u16 = 8081;
const PORT: u16 = 8080;

/// The list of plugins as the agent writes it.
struct Chain {
    list: Value,
    binaries: PathBuf,
}

impl Chain {
    fn of(node: &Node) -> Self {
        let binaries = node.folder.path().join("bin");
        let configurations = node.folder.path().join("net.d");
        let conflist = Conflist::new(&binaries, &configurations);
        conflist.install_plugin(Path::new(OURS)).unwrap();
        for plugin in ["portmap", "bandwidth"] {
            let from = Path::new(DEBIAN).join(plugin);
            assert!(from.exists(), "{} is missing: containernetworking-plugins", from.display());
            symlink(from, binaries.join(plugin)).unwrap();
        }
        conflist.write(&node.socket()).unwrap();
        let file = configurations.join("05-penstock.conflist");
        let list: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        assert_eq!(list["plugins"].as_array().unwrap().len(), 3, "{list}");
        Self { list, binaries }
    }

    /// What a plugin is given: its own part, what it said that it is able to do, the result so far.
    fn run(
        &self,
        node: &Node,
        command: &str,
        pod: &Pod,
        plugin: &Value,
        wants: (&Value, &Value),
    ) -> Value {
        let (asked, previous) = wants;
        let mut given = plugin.clone();
        given["cniVersion"] = self.list["cniVersion"].clone();
        given["name"] = self.list["name"].clone();
        let able = plugin["capabilities"].as_object().into_iter().flatten();
        let able = able.filter(|(_, able)| **able == json!(true));
        let runtime = able.filter_map(|(name, _)| Some((name.clone(), asked.get(name)?.clone())));
        given["runtimeConfig"] = Value::Object(runtime.collect());
        if !previous.is_null() {
            given["prevResult"] = previous.clone();
        }
        let program = self.binaries.join(plugin["type"].as_str().unwrap());
        node.program(&program, command, pod, given).ok()
    }

    fn plugins(&self) -> impl DoubleEndedIterator<Item = &Value> {
        self.list["plugins"].as_array().unwrap().iter()
    }

    /// Gives the result.
    fn add(&self, node: &Node, pod: &Pod, asked: &Value) -> Value {
        let run = |previous: Value, plugin: &Value| {
            self.run(node, "ADD", pod, plugin, (asked, &previous))
        };
        self.plugins().fold(Value::Null, run)
    }

    fn del(&self, node: &Node, pod: &Pod, asked: &Value, result: &Value) {
        for plugin in self.plugins().rev() {
            self.run(node, "DEL", pod, plugin, (asked, result));
        }
    }
}

/// A node whose pods have addresses of a second interface, and a client before its first one.
fn site() -> (Node, Namespace) {
    let (node, client) = (Node::new(), Namespace::new("client"));
    let (of_node, of_client) = (&node.namespace.0, &client.0);
    run(&format!("ip -n {of_node} link add eth0 type veth peer name eth0 netns {of_client}"));
    for (namespace, address) in [(of_node, NODE), (of_client, CLIENT)] {
        run(&format!("ip -n {namespace} addr add {address}/24 dev eth0"));
        run(&format!("ip -n {namespace} link set eth0 up"));
    }
    node.tell(1, &["10.0.0.16/28"]);
    (node, client)
}

fn address(result: &Value) -> Ipv4Addr {
    let address = result["ips"][0]["address"].as_str().unwrap();
    address.strip_suffix("/32").unwrap().parse().unwrap()
}

/// Tells everybody who asks at the pod's port from where they ask.
fn serve(pod: &Namespace) {
    let (ready, is_ready) = mpsc::channel();
    pod.enter(move || {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let from = stream.peer_addr().unwrap().ip();
            let _ = stream.write_all(from.to_string().as_bytes());
        }
    });
    is_ready.recv().unwrap();
}

fn seen_by(from: &Namespace, to: SocketAddr) -> std::io::Result<IpAddr> {
    let asked = from.enter(move || {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(3))?;
        stream.set_read_timeout(Some(Duration::from_secs(3)))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        text.parse().map_err(std::io::Error::other)
    });
    asked.join().unwrap()
}

/// What a command prints in the node's namespace.
fn on_node(node: &Node, command: &str) -> String {
    let words = ["netns", "exec", &node.namespace.0].into_iter().chain(command.split(' '));
    let output = Command::new("ip").args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_host_port_leads_to_the_pod_from_outside_from_pods_from_the_node_and_from_itself() {
    let (node, client) = site();
    let chain = Chain::of(&node);
    let pods = ["a", "b"].map(Pod::new);
    let asked = json!({"portMappings": [
        {"hostPort": HOST_PORT, "containerPort": PORT, "protocol": "tcp"},
    ]});
    let result = chain.add(&node, &pods[0], &asked);
    let other = chain.add(&node, &pods[1], &json!({}));
    serve(&pods[0].namespace);
    let port = SocketAddr::from((NODE, HOST_PORT));
    assert_eq!(seen_by(&client, port).unwrap(), CLIENT, "a client's address is kept");
    assert_eq!(seen_by(&pods[1].namespace, port).unwrap(), address(&other));
    assert_eq!(seen_by(&node.namespace, port).unwrap(), NODE);
    // Its answers would not pass by the node, were it not translated.
    assert_ne!(seen_by(&pods[0].namespace, port).unwrap(), address(&result), "a hairpin");
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, HOST_PORT));
    assert_ne!(seen_by(&node.namespace, loopback).unwrap(), Ipv4Addr::LOCALHOST);

    chain.del(&node, &pods[0], &asked, &result);
    assert!(seen_by(&client, port).is_err(), "the port leads nowhere");
    let left = on_node(&node, "iptables-save -t nat");
    assert!(!left.contains(&HOST_PORT.to_string()), "{left}");
    chain.del(&node, &pods[1], &json!({}), &other);
    assert_eq!(node.devices(), 0);
}

/// Why this kernel cannot limit what pods send.
fn cannot_limit() -> Option<String> {
    let namespace = Namespace::new("probe");
    let tries = [
        ("ip", "link add ifb0 type ifb"),
        ("ip", "link set ifb0 up"),
        ("tc", "qdisc add dev ifb0 root tbf rate 1mbit burst 16kb latency 25ms"),
        ("tc", "qdisc add dev lo handle ffff: ingress"),
    ];
    tries.iter().find_map(|(program, arguments)| {
        let mut command = Command::new(program);
        command.args(["-n", &namespace.0]).args(arguments.split(' '));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        (!output.status.success()).then(|| format!("{program} {arguments}: {}", said.trim()))
    })
}

/// How long a pod takes to send so many bytes to its node.
fn sends(node: &Node, pod: &Pod, bytes: usize) -> Duration {
    let (ready, at) = mpsc::channel();
    let sink = node.namespace.enter(move || {
        let listener = TcpListener::bind((NODE, 0)).unwrap();
        ready.send(listener.local_addr().unwrap()).unwrap();
        let mut stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap()
    });
    let at = at.recv().unwrap();
    let start = Instant::now();
    let sender = pod.namespace.enter(move || {
        let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(5)).unwrap();
        stream.write_all(&vec![0; bytes]).unwrap();
    });
    sender.join().unwrap();
    assert_eq!(sink.join().unwrap(), bytes as u64);
    start.elapsed()
}

#[test]
fn what_a_pod_sends_is_limited_to_the_bandwidth_that_it_is_given() {
    if let Some(why) = cannot_limit() {
        println!("SKIPPED: this kernel cannot limit what pods send ({why})");
        return;
    }
    let (node, client) = site();
    let chain = Chain::of(&node);
    let pods = ["limited", "free"].map(Pod::new);
    // 1 MB a second, and 200 kB at once; both are given in bits.
    let asked = json!({
        "bandwidth": {"egressRate": 8_000_000, "egressBurst": 1_600_000},
        "portMappings": [{"hostPort": HOST_PORT, "containerPort": PORT, "protocol": "tcp"}],
    });
    let result = chain.add(&node, &pods[0], &asked);
    let free = chain.add(&node, &pods[1], &json!({}));
    let bytes = 3_000_000;
    let (slow, fast) = (sends(&node, &pods[0], bytes), sends(&node, &pods[1], bytes));
    println!("3 MB: {slow:?} at 1 MB/s with 0.2 MB at once, {fast:?} without a limit");
    assert!(slow >= Duration::from_millis(2_500), "{slow:?}");
    assert!(fast < slow / 2, "{fast:?}");
    // What it is limited by does not keep its answers from the right interface.
    serve(&pods[0].namespace);
    assert_eq!(seen_by(&client, (NODE, HOST_PORT).into()).unwrap(), CLIENT);
    chain.del(&node, &pods[0], &asked, &result);
    chain.del(&node, &pods[1], &json!({}), &free);
    let left = on_node(&node, "ip -o link show type ifb");
    assert_eq!(left, "");
}

#[test]
fn loopback_is_up_in_a_pod_although_the_list_has_no_plugin_for_it() {
    let (node, _client) = site();
    let chain = Chain::of(&node);
    let pod = Pod::new("a");
    chain.add(&node, &pod, &json!({}));
    serve(&pod.namespace);
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    assert_eq!(seen_by(&pod.namespace, loopback).unwrap(), Ipv4Addr::LOCALHOST);
}
