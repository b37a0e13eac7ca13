//! The agent and pods of its node that reach each other past the stack, in namespaces. Needs root.

#[path = "../../net/tests/support/mod.rs"]
mod support;

use penstock_agent::{GRACE, Input, Keeper, NodeKernel, watch_devices};
use penstock_cni::{Alias, device_name};
use penstock_net::{
    Reason, Steering,
    pods::{self, Wire},
};
use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use support::{Namespace, Pins, serve, until};

const PORT: u16 = 8080;
const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 17);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 18);

struct Node {
    node: Namespace,
    /// To read what the agent tells the programs: the maps are the same.
    maps: Steering,
    pins: Pins,
    agent: Option<(mpsc::Sender<Input>, JoinHandle<()>)>,
}

impl Node {
    fn new() -> Self {
        let node = Namespace::new("node");
        let pins = Pins::new();
        let dir = pins.dir.clone();
        let maps = node.enter(move || {
            pods::install().unwrap();
            Steering::load(&dir).unwrap()
        });
        Self { node, maps, pins, agent: None }
    }

    fn start(&mut self, redirect: bool) {
        let (say, inputs) = mpsc::channel();
        let (dir, news) = (self.pins.dir.clone(), say.clone());
        let keeper = self.node.spawn(move || {
            let kernel = NodeKernel::start(&dir, "n1", redirect).unwrap();
            watch_devices(news).unwrap();
            Keeper::new(Box::new(kernel), GRACE, Default::default()).run(&inputs);
        });
        self.agent = Some((say, keeper));
    }

    fn stop(&mut self) {
        let (say, keeper) = self.agent.take().unwrap();
        say.send(Input::End).unwrap();
        keeper.join().unwrap();
    }

    /// A pod as the plugin makes it.
    fn connect(&self, address: Ipv4Addr, container: &str) -> Namespace {
        let pod = Namespace::new("pod");
        let path = format!("/run/netns/{}", pod.name);
        let wire = wire(address, container);
        self.node.enter(move || pods::connect(&wire, File::open(path).unwrap().as_fd()).unwrap());
        pod
    }

    fn disconnect(&self, address: Ipv4Addr, container: &str) {
        let name = wire(address, container).on_node;
        self.node.enter(move || pods::disconnect(&name).unwrap());
    }

    fn redirected(&self) -> u64 {
        self.maps.counters().unwrap().get(Reason::Redirected)
    }

    fn knows(&self, what: &str, expected: &[Ipv4Addr]) {
        until(what, || self.maps.pods().unwrap().keys().eq(expected));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.agent.is_some() {
            self.stop();
        }
    }
}

fn wire(address: Ipv4Addr, container: &str) -> Wire {
    let (container, device) = (container.to_owned(), "eth0".to_owned());
    Wire {
        on_node: device_name(&container, &device),
        device: device.clone(),
        alias: Alias { container, device, address }.to_string(),
        address,
        mtu: 1500,
    }
}

fn answers(pod: &Namespace, address: Ipv4Addr) {
    let listener = pod.enter(move || TcpListener::bind((address, PORT)).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream, 1));
        }
    });
}

fn asks(pod: &Namespace) -> std::io::Result<TcpStream> {
    pod.enter(|| {
        let mut stream = TcpStream::connect_timeout(&(B, PORT).into(), support::PATIENCE)?;
        support::ask(&mut stream).map(|_| stream)
    })
}

#[test]
fn pods_that_come_are_redirected_to_while_an_agent_runs_and_after_it_and_not_when_it_is_turned_off()
{
    let mut node = Node::new();
    let a = node.connect(A, "a");
    node.start(true);
    node.knows("the pod that was there", &[A]);
    let b = node.connect(B, "b");
    node.knows("the pod that came", &[A, B]);
    answers(&b, B);
    let mut open = asks(&a).unwrap();
    let redirected = node.redirected();
    assert!(redirected >= 5, "{redirected}");
    node.stop();
    support::ask(&mut open).unwrap();
    assert!(node.redirected() > redirected);
    // The next agent is told otherwise.
    node.start(false);
    node.knows("none", &[]);
    let redirected = node.redirected();
    support::ask(&mut open).unwrap();
    asks(&a).unwrap();
    assert_eq!(node.redirected(), redirected);
}

#[test]
fn a_pod_that_goes_is_forgotten_at_once_and_its_address_is_the_next_ones() {
    let mut node = Node::new();
    node.start(true);
    let a = node.connect(A, "a");
    let mut took = Vec::new();
    for round in 0..5 {
        let container = format!("b{round}");
        let b = node.connect(B, &container);
        node.knows("both", &[A, B]);
        answers(&b, B);
        asks(&a).unwrap();
        let began = Instant::now();
        node.disconnect(B, &container);
        node.knows("the other one", &[A]);
        took.push(began.elapsed());
    }
    took.sort_unstable();
    // Without news from the kernel it would be a hundred milliseconds on average.
    assert!(took[2] < Duration::from_millis(60), "{took:?}");
}

#[test]
fn a_connection_to_a_pod_that_has_just_come_is_made_whatever_the_programs_know_yet() {
    let mut node = Node::new();
    node.start(true);
    let a = node.connect(A, "a");
    for round in 0..10 {
        let b = node.connect(B, &format!("b{round}"));
        answers(&b, B);
        // A new pair of devices may lose a packet, redirected or not: its SYN comes again after a second.
        let began = Instant::now();
        asks(&a).unwrap();
        assert!(
            began.elapsed() < Duration::from_millis(2_500),
            "round {round} {:?}",
            began.elapsed()
        );
        node.disconnect(B, &format!("b{round}"));
    }
}
