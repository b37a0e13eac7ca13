//! Clients on the node itself, and NAT beside the programs.

mod support;

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use penstock_net::{nat, routes};
use support::{Bed, CLIENT, CLIENT6, NODE, NODE6, Namespace, POD, PORT, VIP, VIP6, dial, run};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Makes a pod: its own namespace, with the host side of its device in the node's.
fn pod(bed: &Bed) -> Namespace {
    let pod = Namespace::new("pod");
    run(&format!(
        "ip link add name podlink netns {} type veth peer name eth0 netns {}",
        bed.node.name, pod.name
    ));
    pod.ip(&format!("addr add {POD}/24 dev eth0"));
    pod.ip("link set eth0 up");
    bed.node.ip("addr add 10.96.0.1/24 dev podlink");
    bed.node.ip("link set podlink up");
    pod.ip("route add default via 10.96.0.1");
    pod
}

/// Has processes of the node reach the Gateway's addresses by way of `lo`.
fn host(bed: &mut Bed) {
    bed.steer(|steering| {
        let both = [(ip(VIP), Some(ip(NODE))), (ip(VIP6), Some(ip(NODE6)))];
        routes::set_host(&both).unwrap();
        nat::install(&[ip(VIP), ip(VIP6)], &[]).unwrap();
        steering.attach("lo").unwrap();
    });
}

#[test]
fn a_pod_of_the_node_is_steered_by_the_host_side_of_its_device_and_forgotten_with_it() {
    let mut bed = Bed::new(1);
    let pod = pod(&bed);
    bed.steer(|steering| steering.attach("podlink").unwrap());
    let answer = dial(&pod, VIP, PORT).unwrap();
    assert_eq!((answer.peer.ip(), answer.peer), (ip(POD), answer.own));
    assert_eq!(answer.local, SocketAddr::new(ip(VIP), PORT));
    let attached = |bed: &mut Bed| bed.steer(|steering| steering.attached().len());
    assert_eq!(attached(&mut bed), 2);
    bed.node.ip("link del podlink");
    bed.steer(|steering| steering.replace().unwrap());
    assert_eq!(attached(&mut bed), 1);
    assert!(bed.dial(VIP).is_ok());
}

#[test]
fn a_process_of_the_node_is_steered_on_lo_with_the_nodes_address() {
    let mut bed = Bed::new(1);
    host(&mut bed);
    for (node, vip) in [(NODE, VIP), (NODE6, VIP6)] {
        let answer = dial(&bed.node, vip, PORT).unwrap();
        assert_eq!((answer.peer.ip(), answer.peer), (ip(node), answer.own));
        assert_eq!(answer.local, SocketAddr::new(ip(vip), PORT));
    }
    // What is not wanted any more goes, and another source is taken.
    bed.node.ip("addr add 10.97.0.3/24 dev uplink");
    bed.steer(|_| routes::set_host(&[(ip(VIP), Some(ip("10.97.0.3")))]).unwrap());
    assert_eq!(dial(&bed.node, VIP, PORT).unwrap().peer.ip(), ip("10.97.0.3"));
    assert!(dial_soon(&bed.node, VIP6).is_err());
}

#[test]
fn what_comes_from_the_device_of_a_proxy_does_not_reach_the_metadata_of_the_instance() {
    let mut bed = Bed::new(1);
    let pod = pod(&bed);
    let metadata = IpAddr::from(nat::METADATA.0);
    bed.node.ip(&format!("addr add {metadata}/32 dev lo"));
    let server = bed.node.enter(move || TcpListener::bind((metadata, 80)).unwrap());
    let reach = || {
        let patience = std::time::Duration::from_millis(300);
        pod.enter(move || TcpStream::connect_timeout(&(metadata, 80).into(), patience).is_ok())
    };
    let device = bed.node.enter(|| routes::device_towards(ip(POD)).unwrap()).expect("a device");
    bed.steer(move |_| nat::install(&[], &[device + 1]).unwrap());
    assert!(reach(), "others do");
    bed.steer(move |_| nat::install(&[], &[device, device + 1]).unwrap());
    assert!(!reach());
    bed.steer(|_| nat::remove().unwrap());
    assert!(reach());
    drop(server);
}

fn dial_soon(from: &Namespace, to: &str) -> std::io::Result<()> {
    let to = SocketAddr::new(ip(to), PORT);
    let patience = std::time::Duration::from_millis(300);
    from.enter(move || TcpStream::connect_timeout(&to, patience).map(drop))
}

/// Rules like kube-proxy's for a LoadBalancer Service with these addresses: to a backend, which is not
/// there, and with the node's address as the source.
fn kube_proxy(bed: &Bed) {
    let of = |family: &str, vip: &str, backend: &str| {
        format!(
            "table {family} services {{
               chain vip {{ {family} daddr {vip} tcp dport {PORT} dnat to {backend}; }}
               chain pre {{ type nat hook prerouting priority -100; jump vip; }}
               chain out {{ type nat hook output priority -100; jump vip; }}
               chain post {{ type nat hook postrouting priority 100; tcp sport {PORT} masquerade; }}
             }}\n"
        )
    };
    let rules = of("ip", VIP, &format!("{NODE}:9")) + &of("ip6", VIP6, &format!("[{NODE6}]:9"));
    bed.node.enter(move || {
        let mut nft = Command::new("nft")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nft: apt-get install nftables");
        nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success());
    });
}

#[test]
fn nat_for_the_services_address_does_not_take_what_is_steered() {
    let mut bed = Bed::new(1);
    host(&mut bed);
    kube_proxy(&bed);
    let kept = |bed: &Bed, from: &Namespace, vip: &str, own: &str| {
        let Ok(answer) = dial(from, vip, PORT) else { return false };
        let _ = bed;
        answer.local.ip() == ip(vip) && answer.peer == answer.own && answer.own.ip() == ip(own)
    };
    let all =
        [(false, VIP, CLIENT), (false, VIP6, CLIENT6), (true, VIP, NODE), (true, VIP6, NODE6)];
    for (of_node, vip, own) in all {
        let from = if of_node { &bed.node } else { &bed.client };
        assert!(kept(&bed, from, vip, own), "{own} to {vip}");
    }
    // The same rules do take it where nothing keeps them from it: else this test shows nothing.
    bed.steer(|_| nat::remove().unwrap());
    for (of_node, vip, own) in all {
        let from = if of_node { &bed.node } else { &bed.client };
        assert!(!kept(&bed, from, vip, own), "{own} to {vip}");
    }
    bed.steer(|_| nat::install(&[ip(VIP), ip(VIP6)], &[]).unwrap());
    assert!(kept(&bed, &bed.client, VIP, CLIENT), "and again");
}
