//! Pods with addresses of a VPC: see `support/site.rs`.

mod support;

use penstock_net::{
    pods::{self, Wire},
    uplinks,
};
use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr},
    os::fd::AsFd as _,
};
use support::{
    Namespace,
    site::{OUTSIDE, Site, ask, connect, wire},
};

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
