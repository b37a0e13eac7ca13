//! Real TCP through the programs, in namespaces of the test's own: client, uplink, node.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use penstock_net::{ListenAddress, Reason};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use support::{
    Bed, CLIENT, CLIENT6, NODE, NODE6, PATIENCE, PORT, VIP, VIP6, Worker, ask, dial, until,
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_connection_to_an_address_of_nobody_reaches_the_worker_with_both_addresses_kept() {
    let mut bed = Bed::new(1);
    for (client, vip) in [(CLIENT, VIP), (CLIENT6, VIP6)] {
        let answer = bed.dial(vip).unwrap();
        assert_eq!(answer.peer, answer.own, "the client's address and port");
        assert_eq!(answer.peer.ip(), ip(client));
        assert_eq!(answer.local, SocketAddr::new(ip(vip), PORT), "what the client dialled");
    }
    let counters = bed.steer(|steering| steering.counters().unwrap());
    assert_eq!(counters.get(Reason::Steered), 2);
    assert!(counters.get(Reason::Continued) >= 6, "{counters:?}");
    assert_eq!(counters.get(Reason::Refused), 0);
}

#[test]
fn a_listener_on_the_nodes_own_addresses_takes_those_and_no_others() {
    let mut bed = Bed::new(1);
    bed.steer(|steering| {
        steering.set_listeners(&[(ListenAddress::Node, PORT)]).unwrap();
        steering.set_local(&penstock_net::addresses().unwrap()).unwrap();
    });
    for node in [NODE, NODE6] {
        assert_eq!(bed.dial(node).unwrap().local, SocketAddr::new(ip(node), PORT));
    }
    let passed = |bed: &mut Bed| bed.steer(|s| s.counters().unwrap().get(Reason::NoListener));
    let before = passed(&mut bed);
    let to = SocketAddr::new(ip(VIP), PORT);
    let refused =
        bed.client.enter(move || TcpStream::connect_timeout(&to, Duration::from_millis(300)));
    assert!(refused.is_err(), "nobody has {VIP} now");
    assert!(passed(&mut bed) > before);
}

#[test]
fn a_listener_that_is_removed_leaves_its_packets_to_the_node() {
    let mut bed = Bed::new(1);
    bed.node.ip(&format!("addr add {VIP}/32 dev lo"));
    assert!(bed.dial(VIP).is_ok());
    let changes = bed.steer(|steering| steering.set_listeners(&support::listeners()[1..]).unwrap());
    assert_eq!((changes.added, changes.removed), (0, 1));
    let own = bed.node.enter(|| std::net::TcpListener::bind((VIP, PORT)).unwrap());
    let accepted = std::thread::spawn(move || own.accept().unwrap().0.local_addr().unwrap());
    let to = SocketAddr::new(ip(VIP), PORT);
    bed.client.enter(move || TcpStream::connect_timeout(&to, PATIENCE)).unwrap();
    assert_eq!(accepted.join().unwrap(), to, "the node's own server has it");
    assert_eq!(bed.workers[0].accepted.load(Ordering::Relaxed), 1);
}

#[test]
fn new_connections_go_to_the_least_loaded_worker() {
    let mut bed = Bed::new(4);
    let accepted = |bed: &Bed| -> Vec<u32> {
        bed.workers.iter().map(|worker| worker.accepted.load(Ordering::Relaxed)).collect()
    };
    for _ in 0..20 {
        bed.dial(VIP).unwrap();
    }
    assert_eq!(accepted(&bed), [5; 4], "each one counts");
    bed.steer(|steering| steering.set_loads(&[100, 2, 100, 0]).unwrap());
    for _ in 0..6 {
        bed.dial(VIP6).unwrap();
    }
    assert_eq!(accepted(&bed), [5, 7, 5, 9], "from what user space says on: 2 + 2 and 0 + 4");
    assert_eq!(bed.steer(|steering| steering.loads().unwrap()), [100, 4, 100, 4]);
}

#[test]
fn a_workers_socket_is_replaced_and_taken_away_without_a_reset() {
    let mut bed = Bed::new(2);
    let to = SocketAddr::new(ip(VIP), PORT);
    let connect = |bed: &Bed| bed.client.enter(move || TcpStream::connect(to).unwrap());
    let mut old: Vec<TcpStream> = (0..2).map(|_| connect(&bed)).collect();
    let mut of: Vec<u32> = old.iter_mut().map(|stream| ask(stream).unwrap().worker).collect();
    of.sort_unstable();
    assert_eq!(of, [0, 1]);
    // Worker 7 takes the place of worker 0, and the place of worker 1 goes.
    let mut before = vec![Worker::start(&bed.node, 7)];
    std::mem::swap(&mut bed.workers, &mut before);
    bed.register();
    for _ in 0..6 {
        assert_eq!(bed.dial(VIP).unwrap().worker, 7);
    }
    for stream in &mut old {
        ask(stream).expect("a connection of an old socket goes on");
    }
    // Now the old sockets close; connections stay with whoever accepted them.
    drop(before);
    for stream in &mut old {
        ask(stream).expect("a connection of a closed socket goes on");
    }
    assert_eq!(bed.dial(VIP6).unwrap().worker, 7);
}

#[test]
fn a_packet_of_no_connection_is_answered_with_a_reset_at_once() {
    let mut bed = Bed::new(2);
    let (from, to) = (54_321u16, PORT);
    let answer = bed.client.enter(move || {
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP)).unwrap();
        raw.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut header = [0u8; 20];
        header[..2].copy_from_slice(&from.to_be_bytes());
        header[2..4].copy_from_slice(&to.to_be_bytes());
        header[7] = 1;
        header[11] = 1;
        header[12] = 5 << 4;
        header[13] = 0x10;
        let sum = checksum(CLIENT, VIP, &header);
        header[16..18].copy_from_slice(&sum.to_be_bytes());
        raw.bind(&SockAddr::from(SocketAddr::new(ip(CLIENT), 0))).unwrap();
        raw.send_to(&header, &SockAddr::from(SocketAddr::new(ip(VIP), 0))).unwrap();
        let mut packet = [0u8; 128];
        loop {
            let length = (&raw).read(&mut packet).unwrap();
            let tcp = &packet[20..length];
            if tcp[..2] == to.to_be_bytes() && tcp[2..4] == from.to_be_bytes() {
                return tcp[13];
            }
        }
    });
    assert_eq!(answer & 0x04, 0x04, "RST");
    let counters = bed.steer(|steering| steering.counters().unwrap());
    assert_eq!((counters.get(Reason::Steered), counters.get(Reason::Continued)), (0, 1));
}

/// RFC 9293, 3.1.
fn checksum(from: &str, to: &str, segment: &[u8]) -> u16 {
    let mut bytes = Vec::new();
    for address in [from, to] {
        let IpAddr::V4(address) = ip(address) else { unreachable!("IPv4 only") };
        bytes.extend(address.octets());
    }
    bytes.extend([0, 6, 0, segment.len() as u8]);
    bytes.extend(segment);
    let sum: u32 = bytes.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}

#[test]
fn a_client_that_answers_a_syn_cookie_is_served_once_every_worker_sends_some() {
    let mut bed = Bed::new(3);
    // 2: cookies for everybody, flood or not (tcp(7)).
    bed.node.enter(|| std::fs::write("/proc/sys/net/ipv4/tcp_syncookies", "2").unwrap());
    // A socket takes cookies when it has sent one in the last minutes: each has after three requests.
    for _ in 0..3 {
        let _ = bed.dial(VIP);
    }
    for round in 0..12 {
        let answer = bed.dial(if round % 2 == 0 { VIP } else { VIP6 }).unwrap();
        assert_eq!(answer.peer, answer.own);
    }
    let cookies =
        bed.node.enter(|| std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap());
    assert!(received_cookies(&cookies) >= 12, "{cookies}");
    assert_eq!(bed.steer(|steering| steering.counters().unwrap()).get(Reason::Steered), 15);
}

/// `SyncookiesRecv` of `TcpExt`: names in one line, numbers in the next.
fn received_cookies(netstat: &str) -> u32 {
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, numbers) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split(' ').position(|name| name == "SyncookiesRecv").unwrap();
    numbers.split(' ').nth(at).unwrap().parse().unwrap()
}

#[test]
fn a_client_may_dial_anew_from_the_port_whose_last_connection_the_worker_closed() {
    let mut bed = Bed::new(2);
    let took = bed.client.enter(|| {
        let to = SockAddr::from(SocketAddr::new(ip(VIP), PORT));
        let connect = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.bind(&SockAddr::from(SocketAddr::new(ip(CLIENT), 41_000))).unwrap();
            let started = std::time::Instant::now();
            socket.connect_timeout(&to, PATIENCE).unwrap();
            (TcpStream::from(socket), started.elapsed())
        };
        let (mut first, _) = connect();
        first.write_all(b"!").unwrap();
        assert_eq!(first.read(&mut [0]).unwrap(), 0, "the worker closes first, and waits");
        drop(first);
        std::thread::sleep(Duration::from_millis(20));
        let (mut second, took) = connect();
        assert_eq!(ask(&mut second).unwrap().peer.port(), 41_000);
        took
    });
    assert!(took < Duration::from_millis(800), "{took:?}");
    // The old connection gave way at the first SYN: a second one would have been steered.
    assert_eq!(bed.steer(|steering| steering.counters().unwrap()).get(Reason::Steered), 1);
}

#[test]
fn sampled_events_tell_who_dialled_what_and_who_got_it() {
    let mut bed = Bed::new(1);
    bed.dial(VIP).unwrap();
    let mut events = bed.steer(|steering| steering.events().unwrap());
    assert_eq!(events.drain(), [], "none unless asked for");
    bed.steer(|steering| steering.set_sampling(1).unwrap());
    let answers = [bed.dial(VIP).unwrap(), bed.dial(VIP6).unwrap()];
    let mut all = Vec::new();
    until("two events come", || {
        all.extend(events.drain());
        all.len() >= 2
    });
    for (event, answer) in all.iter().zip(&answers) {
        assert_eq!((event.client, event.listener), (answer.own, answer.local));
        assert_eq!((event.reason, event.worker), (Reason::Steered, Some(0)));
        assert!(event.device > 1 && event.time > 0, "{event:?}");
    }
    assert!(all[0].time < all[1].time);
    assert!(bed.steer(|steering| steering.events()).is_none(), "one reader");
}

#[test]
fn a_service_of_the_node_on_another_port_is_left_alone() {
    let bed = Bed::new(1);
    let own = bed.node.enter(|| std::net::TcpListener::bind((NODE, 2222)).unwrap());
    let served = std::thread::spawn(move || {
        let (mut stream, _) = own.accept().unwrap();
        stream.write_all(b"9 1.1.1.1:1 2.2.2.2:2\n").unwrap();
    });
    assert_eq!(dial(&bed.client, NODE, 2222).unwrap().worker, 9);
    served.join().unwrap();
}
