//! Which connections of pods have an address of the node outside, and by which interface their packets
//! leave: see `support/site.rs` for the node, its two interfaces and the routers behind them.

mod support;

use penstock_net::{devices, egress};
use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::mpsc,
    time::Duration,
};
use support::{
    Namespace, PATIENCE,
    site::{OUTSIDE, Site, ask, ask_at, connect, index, wire},
};

/// Addresses of pods: on the first interface and on the second.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 17);
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 33);
/// The node's own.
const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
/// The router's, in the VPC, behind each interface.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// The site with a pod for each interface, and both routers answering.
fn site() -> (Site, [Namespace; 2]) {
    let site = Site::new();
    let pods = ["pod-a", "pod-b"].map(Namespace::new);
    for (n, (pod, address)) in pods.iter().zip([FIRST, SECOND]).enumerate() {
        connect(&site, pod, wire(n as u8, address.octets()[3]));
    }
    for (router, name) in site.routers.iter().zip(["first", "second"]) {
        for address in [OUTSIDE, ROUTER] {
            site.answers(router, address, name);
        }
    }
    (site, pods)
}

/// Brings the node to masquerade on or off, twice.
fn masquerade(site: &Site, on: bool) {
    site.node.enter(move || {
        let inside = ["10.0.0.0/24".parse().unwrap(), "100.64.0.0/16".parse().unwrap()];
        for _ in 0..2 {
            egress::set(on.then_some(&inside[..]), &[index("eth1")]).unwrap();
        }
    });
}

/// What a command in the node's namespace prints.
fn on_node(site: &Site, command: &str) -> String {
    let words = ["netns", "exec", &site.node.name].into_iter().chain(command.split_whitespace());
    let output = Command::new("ip").args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Rules of nftables in the node's namespace.
fn nft(site: &Site, rules: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rules).unwrap();
    on_node(site, &format!("nft -f {}", file.path().display()));
}

#[test]
fn what_a_pod_begins_to_the_outside_leaves_by_the_first_interface_with_the_nodes_address() {
    let (site, pods) = site();
    masquerade(&site, true);
    for pod in &pods {
        assert_eq!(ask(pod, OUTSIDE), "first saw 10.0.0.10");
    }
    assert_eq!(ask(&pods[0], ROUTER), "first saw 10.0.0.17", "inside the VPC");
    assert_eq!(ask(&pods[1], ROUTER), "second saw 10.0.0.33", "inside the VPC");
    assert_eq!(ask(&site.node, OUTSIDE), "first saw 10.0.0.10", "the node's own");
    assert_eq!(site.node.enter(|| egress::masqueraded().unwrap()), 2, "one for each pod");
    masquerade(&site, false);
    assert_eq!(site.node.enter(|| egress::masqueraded().unwrap()), 0);
    assert_eq!(ask(&pods[0], OUTSIDE), "first saw 10.0.0.17");
    assert_eq!(ask(&pods[1], OUTSIDE), "second saw 10.0.0.33");
}

#[test]
fn what_was_begun_outside_to_a_pod_is_answered_by_its_own_interface_with_its_own_address() {
    let (site, pods) = site();
    site.answers(&pods[1], SECOND, "pod-b");
    for on in [true, false] {
        masquerade(&site, on);
        // Only the second router knows the way to the pod, and it would not know an answer of the node.
        site.routers[1]
            .ip("route replace 10.0.0.33/32 via 10.0.0.250 dev eth0 onlink src 10.9.9.9");
        assert_eq!(ask(&site.routers[1], SECOND), "pod-b saw 10.9.9.9", "masquerade: {on}");
        let first = on_node(&site, "cat /sys/class/net/eth0/statistics/tx_bytes");
        assert_eq!(ask(&site.routers[1], SECOND), "pod-b saw 10.9.9.9", "masquerade: {on}");
        let then = on_node(&site, "cat /sys/class/net/eth0/statistics/tx_bytes");
        assert_eq!(first, then, "nothing of it left by the first interface");
    }
}

#[test]
fn a_services_address_is_judged_by_the_pod_behind_it_and_links_and_the_node_are_inside() {
    let (site, pods) = site();
    masquerade(&site, true);
    // As kube-proxy translates it; the second address leads out of the VPC.
    nft(
        &site,
        "table ip services {
           chain prerouting {
             type nat hook prerouting priority -100;
             ip daddr 10.96.0.1 dnat to 10.0.0.1
             ip daddr 10.96.0.2 dnat to 10.9.9.9
           }
         }",
    );
    assert_eq!(ask(&pods[1], Ipv4Addr::new(10, 96, 0, 1)), "second saw 10.0.0.33");
    assert_eq!(ask(&pods[1], Ipv4Addr::new(10, 96, 0, 2)), "first saw 10.0.0.10");
    let metadata = Ipv4Addr::new(169, 254, 169, 254);
    for (router, name) in site.routers.iter().zip(["first", "second"]) {
        router.ip("addr add 169.254.169.254/32 dev lo");
        site.answers(router, metadata, name);
    }
    assert_eq!(ask(&pods[1], metadata), "second saw 10.0.0.33");
    let elsewhere = Ipv4Addr::new(192, 168, 7, 7);
    site.node.ip("addr add 192.168.7.7/32 dev lo");
    site.answers(&site.node, elsewhere, "node");
    assert_eq!(ask(&pods[1], elsewhere), "node saw 10.0.0.33");
}

#[test]
fn a_port_of_the_node_that_leads_to_a_pod_answers_by_the_interface_at_which_it_was_asked() {
    let (site, pods) = site();
    site.answers(&pods[1], SECOND, "pod-b");
    // As the portmap plugin and kube-proxy do.
    nft(
        &site,
        "table ip ports {
           chain prerouting {
             type nat hook prerouting priority -100;
             fib daddr type local tcp dport 8081 dnat to 10.0.0.33:8080
           }
         }",
    );
    let at = |address: Ipv4Addr| SocketAddr::from((address, 8081));
    for on in [false, true] {
        masquerade(&site, on);
        site.routers[0].ip("route replace 10.0.0.10/32 dev eth0 scope link src 10.9.9.9");
        assert_eq!(ask_at(&site.routers[0], at(NODE)), "pod-b saw 10.9.9.9", "masquerade: {on}");
        // A neighbour in the VPC.
        site.routers[0].ip("route replace 10.0.0.10/32 dev eth0 scope link src 10.0.0.1");
        assert_eq!(ask_at(&site.routers[0], at(NODE)), "pod-b saw 10.0.0.1", "masquerade: {on}");
        // The second interface has an address of its own.
        let own = Ipv4Addr::new(10, 0, 0, 200);
        site.routers[1]
            .ip(&format!("route replace {own}/32 via 10.0.0.250 dev eth0 onlink src 10.9.9.9"));
        assert_eq!(ask_at(&site.routers[1], at(own)), "pod-b saw 10.9.9.9", "masquerade: {on}");
        // Another pod of the node.
        assert_eq!(ask_at(&pods[0], at(NODE)), "pod-b saw 10.0.0.17", "masquerade: {on}");
    }
}

#[test]
fn packets_to_pods_come_in_by_the_first_interface_whatever_forwarding_and_filtering_were_there() {
    let (site, pods) = site();
    masquerade(&site, true);
    let set = |device: &str, setting: &str, value: u8| {
        on_node(&site, &format!("sysctl -q -w net.ipv4.conf.{device}.{setting}={value}"));
    };
    let filter = |device: &str, value: u8| set(device, "rp_filter", value);
    ["all", "eth0", "eth1"].into_iter().for_each(|device| filter(device, 0));
    let admitted = |site: &Site| {
        site.node.enter(|| {
            let all = devices().unwrap();
            egress::admit(all.iter().find(|device| device.name == "eth0").unwrap()).unwrap()
        })
    };
    let nothing = || {
        let said = ask(&pods[1], OUTSIDE);
        assert!(said.contains("timed out") || said.contains("unavailable"), "{said}");
    };
    set("eth0", "forwarding", 0);
    nothing();
    assert!(!admitted(&site), "nothing is filtered");
    assert_eq!(ask(&pods[1], OUTSIDE), "first saw 10.0.0.10");
    filter("eth0", 1);
    filter("eth1", 1);
    nothing();
    assert!(admitted(&site));
    assert!(!admitted(&site));
    assert_eq!(ask(&pods[1], OUTSIDE), "first saw 10.0.0.10");
    assert_eq!(on_node(&site, "sysctl -n net.ipv4.conf.eth1.rp_filter").trim(), "1");
    // What is strict for all is strict for each that does not say loose.
    filter("eth0", 0);
    filter("all", 1);
    assert!(admitted(&site));
    assert_eq!(ask(&pods[1], OUTSIDE), "first saw 10.0.0.10");
}

/// A connection from a pod to outside that says what it is asked, until it is closed.
struct Talk {
    ours: TcpStream,
    theirs: TcpStream,
}

impl Talk {
    fn begin(from: &Namespace, outside: &Namespace, port: u16) -> Self {
        let (say, listening) = mpsc::channel();
        let accepted = outside.spawn(move || {
            let listener = TcpListener::bind((OUTSIDE, port)).unwrap();
            say.send(()).unwrap();
            listener.accept().unwrap().0
        });
        listening.recv().unwrap();
        let to = SocketAddr::from((OUTSIDE, port));
        let ours = from.enter(move || TcpStream::connect_timeout(&to, PATIENCE).unwrap());
        let theirs = accepted.join().unwrap();
        for end in [&ours, &theirs] {
            end.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        Self { ours, theirs }
    }

    fn goes_on(&mut self) {
        let mut byte = [0];
        for _ in 0..3 {
            self.ours.write_all(b"?").unwrap();
            self.theirs.read_exact(&mut byte).unwrap();
            self.theirs.write_all(b"!").unwrap();
            self.ours.read_exact(&mut byte).unwrap();
            assert_eq!(byte, *b"!");
        }
    }
}

#[test]
fn what_was_begun_goes_on_as_it_was_when_masquerade_is_switched() {
    let (site, pods) = site();
    // NAT goes on for what it has translated while somebody uses it, as kube-proxy does.
    nft(
        &site,
        "table ip other {
           chain c {
             type nat hook postrouting priority 100;
           }
         }",
    );
    masquerade(&site, false);
    let mut plain = Talk::begin(&pods[1], &site.routers[1], 9001);
    plain.goes_on();
    masquerade(&site, true);
    plain.goes_on();
    let mut masked = Talk::begin(&pods[1], &site.routers[0], 9002);
    masked.goes_on();
    masquerade(&site, false);
    masked.goes_on();
    plain.goes_on();
}

#[test]
fn two_pods_may_use_the_same_port_to_the_same_host() {
    let (site, pods) = site();
    masquerade(&site, true);
    let (say, listening) = mpsc::channel();
    site.routers[0].spawn(move || {
        let socket = UdpSocket::bind((OUTSIDE, 53)).unwrap();
        say.send(()).unwrap();
        let mut buffer = [0; 16];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let answer = format!("{} {from}", String::from_utf8_lossy(&buffer[..length]));
            socket.send_to(answer.as_bytes(), from).unwrap();
        }
    });
    listening.recv().unwrap();
    let asked = [(&pods[0], FIRST), (&pods[1], SECOND)].map(|(pod, address)| {
        pod.spawn(move || {
            let socket = UdpSocket::bind((address, 5353)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket.send_to(address.to_string().as_bytes(), (OUTSIDE, 53)).unwrap();
            let mut buffer = [0; 64];
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        })
    });
    let said = asked.map(|thread| thread.join().unwrap());
    for (said, address) in said.iter().zip([FIRST, SECOND]) {
        assert!(said.starts_with(&format!("{address} 10.0.0.10:")), "{said}");
    }
    assert_ne!(said[0].split(':').next_back(), said[1].split(':').next_back());
}

#[test]
fn the_mark_is_gone_when_a_packet_leaves() {
    let (site, pods) = site();
    masquerade(&site, true);
    nft(
        &site,
        "table ip watch {
           counter before {
           }
           counter after {
           }
           chain before {
             type filter hook postrouting priority 105;
             meta mark & 0x40 == 0x40 counter name \"before\"
           }
           chain after {
             type filter hook postrouting priority 200;
             meta mark & 0x40 == 0x40 counter name \"after\"
           }
         }",
    );
    assert_eq!(ask(&pods[1], OUTSIDE), "first saw 10.0.0.10");
    let counted = on_node(&site, "nft list counters table ip watch");
    let packets = |name: &str| {
        let text = counted.split(&format!("counter {name} {{")).nth(1).unwrap();
        text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    assert!(packets("before") > 2, "{counted}");
    assert_eq!(packets("after"), 0, "{counted}");
}

#[test]
fn a_second_time_changes_nothing_off_takes_the_masquerade_away_and_removing_leaves_nothing() {
    let (site, _pods) = site();
    let mine = |site: &Site| on_node(site, "nft list table ip penstock-pods");
    masquerade(&site, true);
    let on = mine(&site);
    for part in ["ip daddr != 10.0.0.0/24", "ip daddr != 100.64.0.0/16", "masquerade fully-random"]
    {
        assert_eq!(on.matches(part).count(), 1, "{part}: {on}");
    }
    let rules = on_node(&site, "ip rule");
    assert_eq!(rules.matches("fwmark 0x40/0x40 lookup main").count(), 1, "{rules}");
    let place = |part: &str| rules.lines().position(|line| line.contains(part)).unwrap();
    assert!(place("lookup 2048") < place("0x40"), "{rules}");
    assert!(place("0x40") < place("10.0.0.32/28"), "{rules}");
    masquerade(&site, false);
    let off = mine(&site);
    assert!(!off.contains("masquerade") && !off.contains("ip daddr"), "{off}");
    site.node.enter(|| {
        egress::remove().unwrap();
        egress::remove().unwrap();
        assert_eq!(egress::masqueraded().unwrap(), 0);
    });
    let tables = on_node(&site, "nft list tables");
    assert!(!tables.contains("penstock"), "{tables}");
    assert!(!on_node(&site, "ip rule").contains("0x40"));
}
