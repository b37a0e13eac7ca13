//! A node in network namespaces: the real programs, the real agent, real proxies, and a client on the
//! uplink that opens a connection for each request and never tries again. Needs root.

#[path = "../../net/tests/support/mod.rs"]
mod support;

use parking_lot::Mutex;
use penstock_agent::{Input, Keeper, NodeKernel, Status, listen};
use penstock_config::{
    Attachment, Backend, BackendChoice, Endpoint, Endpoints, Frontend, Gateway, HttpMatch,
    Listener as GatewayListener, PathMatch, ResourceKind, Rule, State,
};
use penstock_filter_host::{Host, HostConfig};
use penstock_handover::Listener;
use penstock_proxy::{
    Proxy, ProxyOptions,
    node::{Handover, Health},
};
use penstock_telemetry::admin::AdminSource as _;
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};
use support::{CLIENT, CLIENT6, NODE, NODE6, Namespace, PATIENCE, Pins, VIP, VIP6, run, until};

const PORT: u16 = 8080;
/// Short, so that a test can see its end.
const GRACE: Duration = Duration::from_secs(3);

/// A node without agent and proxy, and a client on its uplink.
struct Node {
    client: Namespace,
    node: Namespace,
    pins: Pins,
    folder: tempfile::TempDir,
    state: State,
}

/// A running agent.
struct Agent {
    say: mpsc::Sender<Input>,
    listener: Arc<Listener>,
    status: Arc<Mutex<Status>>,
    threads: Vec<JoinHandle<()>>,
}

/// A running proxy.
struct Served {
    proxy: Arc<Proxy>,
    handover: Arc<Handover>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    fn new() -> Self {
        let (client, node) = (Namespace::new("client"), Namespace::new("node"));
        run(&format!(
            "ip link add name uplink netns {} type veth peer name eth0 netns {}",
            node.name, client.name
        ));
        client.ip(&format!("addr add {CLIENT}/24 dev eth0"));
        client.ip(&format!("addr add {CLIENT6}/64 dev eth0 nodad"));
        client.ip("link set eth0 up");
        node.ip(&format!("addr add {NODE}/24 dev uplink"));
        node.ip(&format!("addr add {NODE6}/64 dev uplink nodad"));
        node.ip("link set uplink up");
        client.ip(&format!("route add default via {NODE}"));
        client.ip(&format!("-6 route add default via {NODE6}"));
        let folder = tempfile::tempdir().expect("a folder");
        Self { client, node, pins: Pins::new(), folder, state: state(echo()) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("proxy.sock")
    }

    fn agent(&self) -> Agent {
        let agent = self.agent_without_configuration();
        agent.configure(self.state.clone());
        agent
    }

    fn agent_without_configuration(&self) -> Agent {
        let (say, inputs) = mpsc::channel();
        let pins = self.pins.dir.clone();
        let status = Arc::<Mutex<Status>>::default();
        let shown = status.clone();
        let keeper = self.node.spawn(move || {
            let kernel = NodeKernel::start(&pins, "n1", true).expect("the kernel can steer");
            Keeper::new(Box::new(kernel), GRACE, shown).run(&inputs);
        });
        let listener = Arc::new(Listener::bind(&self.path()).expect("listens"));
        let taking = listen(listener.clone(), say.clone()).expect("a thread");
        Agent { say, listener, status, threads: vec![keeper, taking] }
    }

    fn proxy(&self, workers: usize) -> Served {
        let served = self.proxy_without_configuration(workers);
        served.configure(&self.state);
        served
    }

    fn proxy_without_configuration(&self, workers: usize) -> Served {
        let host = Host::new(HostConfig::default()).expect("a filter host");
        let drain_timeout = Duration::from_secs(5);
        let options =
            ProxyOptions { workers, bind: vec![], drain_timeout, ..ProxyOptions::default() };
        let proxy = Arc::new(Proxy::start(options, host).expect("a proxy"));
        let handover =
            Handover::new(self.path(), format!("proxy-{workers}"), vec![], workers, proxy.clone());
        let handover = Arc::new(handover);
        let thread = handover.start().expect("a thread");
        Served { proxy, handover, thread: Some(thread) }
    }

    /// One request on a connection of its own.
    fn get(&self, to: &str) -> std::io::Result<String> {
        let to = SocketAddr::new(to.parse().expect("an address"), PORT);
        self.client.enter(move || get(to))
    }

    fn served(&self) {
        until("a proxy serves", || {
            self.get(VIP).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
        });
    }

    /// Has eight clients ask while something is done; none of their requests may fail.
    fn under_load(&self, work: impl FnOnce(&dyn Fn())) {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients: Vec<_> = (0..8)
            .map(|number| {
                let (stop, answers) = (stop.clone(), answers.clone());
                let to = if number % 2 == 0 { VIP } else { VIP6 };
                let to = SocketAddr::new(to.parse().expect("an address"), PORT);
                self.client.spawn(move || {
                    while !stop.load(SeqCst) {
                        let answer = get(to).expect("no connection fails");
                        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                        answers.fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        let progress = || {
            let before = answers.load(SeqCst);
            until("requests go on", || answers.load(SeqCst) > before + 40);
        };
        progress();
        work(&progress);
        progress();
        stop.store(true, SeqCst);
        for client in clients {
            client.join().expect("no request failed");
        }
    }
}

impl Agent {
    fn configure(&self, state: State) {
        let (done, told) = mpsc::channel();
        self.say.send(Input::Configure(state, done)).expect("the keeper runs");
        told.recv_timeout(PATIENCE).expect("the kernel takes the configuration");
    }

    fn end(self) {
        self.listener.close();
        self.say.send(Input::End).expect("the keeper runs");
        for thread in self.threads {
            thread.join().expect("ends");
        }
    }
}

impl Served {
    fn configure(&self, state: &State) {
        let ack = self.proxy.apply(&State::default().diff(state));
        assert_eq!(ack.refused, [], "everything is served");
        self.handover.configured();
    }

    /// What its port answers to `/readyz`.
    fn health(&self) -> Result<(), String> {
        Health::new(self.proxy.clone(), Some(self.handover.clone())).ready()
    }

    /// As on SIGTERM.
    fn end(&mut self) {
        self.handover.leave();
        self.proxy.drain();
        self.thread.take().expect("ends once").join().expect("ends");
    }
}

fn get(to: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A backend that answers with the head of the request.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            let length = head.len();
            let start = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            if stream.write_all(&[start.as_bytes(), &head[..]].concat()).is_err() {
                return;
            }
            head.clear();
        }
    }
}

fn state(backend: SocketAddr) -> State {
    let (gateway, name) = ("test/gw", "test/b:80");
    [
        ResourceKind::Gateway(Gateway { name: gateway.into(), ..Gateway::default() }),
        ResourceKind::Listener(GatewayListener {
            gateway: gateway.into(),
            section: "http".into(),
            port: PORT.into(),
            target_port: 20_001,
            ..GatewayListener::default()
        }),
        ResourceKind::Frontend(Frontend {
            gateway: gateway.into(),
            port: PORT.into(),
            target_port: 20_001,
            addresses: vec![VIP.into(), VIP6.into()],
            ..Frontend::default()
        }),
        ResourceKind::Backend(Backend { name: name.into(), ..Backend::default() }),
        ResourceKind::Endpoints(Endpoints {
            backend: name.into(),
            endpoints: vec![Endpoint {
                host: backend.ip().to_string(),
                port: backend.port().into(),
            }],
        }),
        ResourceKind::Rule(Rule {
            route: "test/r".into(),
            id: "0".into(),
            attachments: vec![Attachment {
                listener: "test/gw/http".into(),
                hostnames: vec![String::new()],
            }],
            matches: vec![HttpMatch {
                path: Some(PathMatch::Prefix("/".into())),
                ..HttpMatch::default()
            }],
            backends: vec![BackendChoice {
                backend: name.into(),
                weight: 1,
                reference: name.into(),
                ..BackendChoice::default()
            }],
            ..Rule::default()
        }),
    ]
    .into_iter()
    .collect()
}

#[test]
fn a_client_on_the_uplink_reaches_the_proxy_and_the_pod_sees_its_address() {
    let node = Node::new();
    let agent = node.agent();
    assert!(node.get(VIP).is_err(), "nothing is steered before a proxy serves");
    let mut proxy = node.proxy(2);
    node.served();
    for (to, client) in [(VIP, CLIENT), (VIP6, CLIENT6)] {
        let answer = node.get(to).expect("an answer").to_lowercase();
        assert!(answer.contains(&format!("x-forwarded-for: {client}\r\n")), "{answer}");
    }
    proxy.end();
    agent.end();
}

#[test]
fn an_address_of_the_uplinks_network_is_answered_for_by_the_node_that_has_it_alone() {
    let mut node = Node::new();
    let on_link = "10.97.0.77";
    let announced_by = |state: &State, by: &str| {
        let mut state = state.clone();
        state.insert(ResourceKind::Frontend(Frontend {
            gateway: "test/gw".into(),
            port: PORT.into(),
            target_port: 20_001,
            addresses: vec![on_link.into(), "fd97::77".into()],
            announced_by: by.into(),
            ..Frontend::default()
        }));
        state
    };
    node.state = announced_by(&node.state, "n1");
    let agent = node.agent();
    let mut proxy = node.proxy(1);
    let served = |to: &str| node.get(to).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"));
    until("the address is served", || served(on_link));
    until("the address is served", || served("fd97::77"));
    agent.configure(announced_by(&node.state, "n2"));
    node.client.ip("neigh flush dev eth0");
    assert!(node.get(on_link).is_err(), "another node answers for it");
    proxy.end();
    agent.end();
}

#[test]
fn an_upgraded_proxy_takes_over_under_load_and_no_connection_is_refused_or_reset() {
    let node = Node::new();
    let agent = node.agent();
    let mut serving = node.proxy(2);
    node.served();
    node.under_load(|progress| {
        // Also with more and with fewer workers.
        for workers in [2, 3, 1, 2] {
            let next = node.proxy(workers);
            progress();
            std::mem::replace(&mut serving, next).end();
            progress();
        }
    });
    serving.end();
    agent.end();
}

#[test]
fn a_restarted_agent_gets_the_sockets_back_under_load() {
    let node = Node::new();
    let mut agent = Some(node.agent());
    let mut proxy = node.proxy(2);
    node.served();
    node.under_load(|progress| {
        for _ in 0..3 {
            agent.take().expect("runs").end();
            progress();
            agent = Some(node.agent());
            progress();
        }
    });
    // The new agent has the very sockets: a new proxy gets them from it and serves.
    let mut next = node.proxy(2);
    node.under_load(|progress| {
        progress();
        proxy.end();
        progress();
    });
    next.end();
    agent.expect("runs").end();
}

#[test]
fn a_restarted_agent_steers_as_before_until_a_configuration_comes() {
    let node = Node::new();
    let mut agent = Some(node.agent());
    let mut proxy = node.proxy(2);
    node.served();
    node.under_load(|progress| {
        agent.take().expect("runs").end();
        let agent = agent.insert(node.agent_without_configuration());
        until("the proxy serves with the new agent", || {
            agent.status.lock().proxies.get("proxy-2") == Some(&true)
        });
        // Longer than from one look at the node to the next.
        std::thread::sleep(Duration::from_millis(400));
        progress();
        agent.configure(node.state.clone());
        progress();
    });
    proxy.end();
    agent.expect("runs").end();
}

#[test]
fn a_proxy_takes_no_connection_before_it_has_a_configuration() {
    let node = Node::new();
    let agent = node.agent();
    let mut old = node.proxy(1);
    node.served();
    let mut new = node.proxy_without_configuration(2);
    node.under_load(|progress| {
        until("the new proxy is known", || agent.status.lock().proxies.len() == 2);
        // For it to hold the sockets.
        std::thread::sleep(Duration::from_millis(300));
        progress();
        assert!(!new.handover.serves());
        new.configure(&node.state);
        until("it serves", || new.health().is_ok() && !new.handover.alone());
        progress();
        old.end();
        progress();
    });
    agent.end();
    until("it knows that it alone has the sockets", || new.handover.alone());
    assert_eq!(new.health(), Ok(()), "nothing changed for clients");
    new.end();
}

/// Its predecessor would be ended, and with it sockets that nobody else may hold.
#[test]
fn a_proxy_that_has_a_configuration_and_no_sockets_is_not_ready() {
    let node = Node::new();
    let mut proxy = node.proxy(1);
    let why = proxy.health().expect_err("there is no agent");
    assert!(why.contains("listening sockets"), "{why}");
    let agent = node.agent();
    until("it has sockets", || proxy.health().is_ok());
    proxy.end();
    agent.end();
}

#[test]
fn a_proxy_that_comes_back_to_a_new_agent_after_its_successor_loses_no_connection() {
    let node = Node::new();
    let mut agent = Some(node.agent());
    let mut old = node.proxy(2);
    node.served();
    // The successor asks each agent at once, the old proxy when it looks again: whichever is first.
    let mut new = node.proxy_without_configuration(3);
    node.under_load(|progress| {
        for _ in 0..6 {
            agent.take().expect("runs").end();
            progress();
            let agent = agent.insert(node.agent());
            until("both proxies are known", || agent.status.lock().proxies.len() == 2);
            progress();
        }
        new.configure(&node.state);
        progress();
        old.end();
        progress();
    });
    new.end();
    agent.expect("runs").end();
}

#[test]
fn between_two_proxies_connections_wait_and_after_the_grace_period_packets_pass() {
    let node = Node::new();
    let agent = node.agent();
    let mut proxy = node.proxy(1);
    node.served();
    proxy.end();
    let to = SocketAddr::new(VIP.parse().expect("an address"), PORT);
    let waiting = node.client.spawn(move || get(to));
    std::thread::sleep(Duration::from_millis(300));
    let mut next = node.proxy(1);
    let answer = waiting.join().expect("ends").expect("served by the next proxy");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    next.end();
    std::thread::sleep(GRACE + Duration::from_secs(1));
    assert!(node.get(VIP).is_err(), "nobody serves: packets go where they would go without us");
    agent.end();
}
