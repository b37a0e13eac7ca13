//! Pods with addresses of a VPC: each namespace is a node, a pod or a router of the VPC.

use super::{Namespace, run};
use penstock_net::{
    devices,
    pods::{self, Wire},
    uplinks::{self, Uplink},
};
use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    time::Duration,
};

pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);
pub(crate) const PORT: u16 = 8080;

/// A node with two interfaces. Behind each is a router that also is what lies outside, and says which it
/// is; it drops what does not come from its interface's addresses, as a VPC does.
pub(crate) struct Site {
    pub(crate) node: Namespace,
    pub(crate) routers: [Namespace; 2],
}

impl Site {
    pub(crate) fn new() -> Self {
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
    pub(crate) fn answers(&self, namespace: &Namespace, address: Ipv4Addr, name: &'static str) {
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

/// What is answered on an address, or that nobody answers within some seconds.
pub(crate) fn ask(from: &Namespace, address: Ipv4Addr) -> String {
    ask_at(from, (address, PORT).into())
}

/// The same on another port.
pub(crate) fn ask_at(from: &Namespace, to: SocketAddr) -> String {
    from.enter(move || {
        let asked = || -> io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(3))?;
            stream.set_read_timeout(Some(Duration::from_secs(3)))?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        asked().unwrap_or_else(|error| format!("{to}: {error}"))
    })
}

/// The number of a device of the calling thread's namespace.
pub(crate) fn index(name: &str) -> u32 {
    devices().unwrap().into_iter().find(|device| device.name == name).unwrap().index
}

pub(crate) fn wire(n: u8, address: u8) -> Wire {
    Wire {
        device: "eth0".into(),
        on_node: format!("{}{n:08x}", pods::PREFIX),
        alias: format!("pod {n}"),
        address: Ipv4Addr::new(10, 0, 0, address),
        mtu: 9001,
    }
}

pub(crate) fn connect(site: &Site, pod: &Namespace, wire: Wire) {
    let path = format!("/run/netns/{}", pod.name);
    site.node.enter(move || {
        let namespace = File::open(path).unwrap();
        pods::connect(&wire, namespace.as_fd()).unwrap();
        pods::check(&wire, namespace.as_fd()).unwrap();
    });
}
