//! A node with two pods on it, for measuring: prints the names of three network namespaces (node and both
//! pods) and the pods' addresses, and keeps them until its standard input ends. With `redirect` as its
//! argument, what goes from pod to pod passes the node's stack by. Needs root.

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;

use penstock_net::pods::{self, Wire};
use penstock_net::{Steering, devices};
use support::{Namespace, Pins};

const PODS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 17), Ipv4Addr::new(10, 0, 0, 18)];
/// That of the plugins which it is measured beside.
const MTU: u32 = 1500;

fn main() {
    let redirect = std::env::args().nth(1).is_some_and(|argument| argument == "redirect");
    let (node, pins) = (Namespace::new("node"), Pins::new());
    let spaces = PODS.map(|_| Namespace::new("pod"));
    let paths = [0, 1].map(|n| format!("/run/netns/{}", spaces[n].name));
    let dir = pins.dir.clone();
    node.enter(move || {
        pods::install().unwrap();
        let mut steering = Steering::load(&dir).unwrap();
        steering.set_listeners(&support::listeners()).unwrap();
        steering.replace().unwrap();
        let mut indices = BTreeMap::new();
        for (address, path) in PODS.into_iter().zip(paths) {
            let on_node = format!("{}{:08x}", pods::PREFIX, u32::from(address));
            let (device, alias) = ("eth0".into(), String::new());
            let wire = Wire { device, on_node, alias, address, mtu: MTU };
            pods::connect(&wire, File::open(path).unwrap().as_fd()).unwrap();
            steering.attach(&wire.on_node).unwrap();
            let all = devices().unwrap();
            let of_pod = all.into_iter().find(|device| device.name == wire.on_node).unwrap();
            indices.insert(address, of_pod.index);
        }
        if redirect {
            steering.set_pods(&indices).unwrap();
        }
    });
    println!("{} {} {} {} {}", node.name, spaces[0].name, spaces[1].name, PODS[0], PODS[1]);
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}
