//! Pods with addresses of a VPC: each namespace is a node, a pod or a router of the VPC.

mod support;

use penstock_net::{
    devices,
    pods::{self, Wire},
    uplinks::{self, Uplink},
};
use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    time::Duration,
};
use support::{Namespace, run};

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);
const PORT: u16 = 8080;

/// A node with two interfaces. Behind each is a router that also is what lies outside, and says which it
/// is; it drops what does not come from its interface's addresses, as a VPC does.
struct Site {
    node: Namespace,
    routers: [Namespace; 2],
}

impl Site {
    fn new() -> Self {
        let node = Namespace::new("node");
        let routers = ["r0", "r1"].map(Namespace::new);
        for (n, router) in routers.iter().enumerate() {
            run(&format!(
                "ip -n {} link add eth{n} type veth peer name eth0 netns {}",
                node.name, router.name
            ));
            node.ip(&format!("link set eth{n} mtu 9001 up"));
            router.ip("link set eth0 mtu 9001 up");
            router.ip("addr add 10.0.0.1/32 dev eth0");
            router.ip(&format!("addr add {OUTSIDE}/32 dev lo"));
            // The VPC asks nobody who has an address.
            let mac = node.enter(move || {
                let all = devices().unwrap();
                all.into_iter().find(|d| d.name == format!("eth{n}")).unwrap().mac
            });
            let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
            router.ip(&format!("neigh add 10.0.0.250 dev eth0 lladdr {mac}"));
            let addresses = ["10.0.0.16/28", "10.0.0.32/28"][n];
            router.ip(&format!("route add {addresses} via 10.0.0.250 dev eth0 onlink"));
        }
        node.ip("addr add 10.0.0.10/24 dev eth0");
        routers[0].ip("route add 10.0.0.10/32 dev eth0 scope link");
        node.ip("route add default via 10.0.0.1 dev eth0");
        node.enter(|| {
            pods::install().unwrap();
            pods::install().unwrap();
            let all = devices().unwrap();
            let index = |name: &str| all.iter().find(|d| d.name == name).unwrap().index;
            let uplink = |n: u8, primary: Option<Ipv4Addr>| Uplink {
                device: index(&format!("eth{n}")),
                place: (0, n),
                gateway: Ipv4Addr::new(10, 0, 0, 1),
                primary,
                sources: [(Ipv4Addr::new(10, 0, 0, 16 + 16 * n), 28)].into(),
            };
            let both = [uplink(0, None), uplink(1, Some(Ipv4Addr::new(10, 0, 0, 200)))];
            uplinks::set(&both).unwrap();
            uplinks::set(&both).unwrap();
        });
        Self { node, routers }
    }

    /// Answers on an address of a namespace with a name, as often as it is asked.
    fn answers(&self, namespace: &Namespace, address: Ipv4Addr, name: &'static str) {
        let (ready, is_ready) = std::sync::mpsc::channel();
        namespace.spawn(move || {
            let listener = TcpListener::bind((address, PORT)).unwrap();
            ready.send(()).unwrap();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let from = stream.peer_addr().unwrap().ip();
                let _ = stream.write_all(format!("{name} saw {from}").as_bytes());
            }
        });
        is_ready.recv().unwrap();
    }
}

fn ask(from: &Namespace, address: Ipv4Addr) -> String {
    from.enter(move || {
        let to = SocketAddr::from((address, PORT));
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    })
}

fn wire(n: u8, address: u8) -> Wire {
    Wire {
        device: "eth0".into(),
        on_node: format!("{}{n:08x}", pods::PREFIX),
        alias: format!("pod {n}"),
        address: Ipv4Addr::new(10, 0, 0, address),
        mtu: 9001,
    }
}

fn connect(site: &Site, pod: &Namespace, wire: Wire) {
    let path = format!("/run/netns/{}", pod.name);
    site.node.enter(move || {
        let namespace = File::open(path).unwrap();
        pods::connect(&wire, namespace.as_fd()).unwrap();
        pods::check(&wire, namespace.as_fd()).unwrap();
    });
}

#[test]
fn pods_reach_each_other_the_node_and_the_outside_by_the_interface_that_has_their_address() {
    let site = Site::new();
    let pods = ["pod-a", "pod-b", "pod-c"].map(Namespace::new);
    for (n, (pod, address)) in pods.iter().zip([17, 33, 34]).enumerate() {
        connect(&site, pod, wire(n as u8, address));
    }
    site.answers(&site.routers[0], OUTSIDE, "first");
    site.answers(&site.routers[1], OUTSIDE, "second");
    site.answers(&pods[2], Ipv4Addr::new(10, 0, 0, 34), "pod-c");
    site.answers(&site.node, Ipv4Addr::new(10, 0, 0, 10), "node");
    assert_eq!(ask(&pods[0], OUTSIDE), "first saw 10.0.0.17");
    assert_eq!(ask(&pods[1], OUTSIDE), "second saw 10.0.0.33");
    for (from, address) in [(&pods[0], "10.0.0.17"), (&pods[1], "10.0.0.33")] {
        assert_eq!(ask(from, Ipv4Addr::new(10, 0, 0, 34)), format!("pod-c saw {address}"));
        assert_eq!(ask(from, Ipv4Addr::new(10, 0, 0, 10)), format!("node saw {address}"));
    }
    assert_eq!(ask(&site.node, Ipv4Addr::new(10, 0, 0, 34)), "pod-c saw 10.0.0.10", "a probe");
    assert_eq!(ask(&site.node, OUTSIDE), "first saw 10.0.0.10");
}

#[test]
fn a_wire_is_found_again_by_its_alias_and_goes_with_all_that_belongs_to_it() {
    let site = Site::new();
    let pod = Namespace::new("pod");
    connect(&site, &pod, wire(7, 17));
    // An attempt that was broken off is no hindrance.
    connect(&site, &pod, wire(7, 17));
    let path = format!("/run/netns/{}", pod.name);
    site.node.enter(move || {
        let namespace = File::open(path).unwrap();
        let there = pods::wires().unwrap();
        assert_eq!(there.len(), 1);
        assert_eq!((there[0].alias.as_str(), there[0].mtu), ("pod 7", 9001));
        let other = Wire { address: Ipv4Addr::new(10, 0, 0, 18), ..wire(7, 17) };
        let problem = pods::check(&other, namespace.as_fd()).unwrap_err();
        assert!(problem.contains("10.0.0.18"), "{problem}");
        pods::disconnect(&wire(7, 17).on_node).unwrap();
        pods::disconnect(&wire(7, 17).on_node).unwrap();
        assert_eq!(pods::wires().unwrap(), []);
        let problem = pods::check(&wire(7, 17), namespace.as_fd()).unwrap_err();
        assert!(problem.contains("no device"), "{problem}");
    });
}

#[test]
fn what_an_interface_lost_leaves_by_it_no_more_and_nothing_of_others_is_touched() {
    let site = Site::new();
    site.node.ip("rule add from 10.0.0.99 lookup 100 priority 1536");
    let rules = |site: &Site| {
        let out = std::process::Command::new("ip")
            .args(["-n", &site.node.name, "rule", "show"])
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    assert!(rules(&site).contains("from 10.0.0.32/28 lookup 2050"), "{}", rules(&site));
    site.node.enter(|| uplinks::set(&[]).unwrap());
    let left = rules(&site);
    assert!(!left.contains("10.0.0.32/28") && !left.contains("10.0.0.200"), "{left}");
    assert!(left.contains("from 10.0.0.99"), "{left}");
    let routes = std::process::Command::new("ip")
        .args(["-n", &site.node.name, "route", "show", "table", "2050"])
        .output()
        .unwrap();
    assert!(routes.stdout.is_empty(), "{}", String::from_utf8_lossy(&routes.stdout));
    site.node.enter(|| {
        pods::remove().unwrap();
        pods::remove().unwrap();
        let _: Vec<IpAddr> = penstock_net::addresses().unwrap();
    });
    assert!(!rules(&site).contains("lookup 2048"), "{}", rules(&site));
}
