//! The program for devices on constructed packets, by `BPF_PROG_TEST_RUN`: what becomes of each, and
//! which counter says so. A test run has no ingress that a socket could be assigned at, so a packet
//! that would be given to a worker is counted as refused here (`bpf_sk_assign` answers EOPNOTSUPP);
//! that it is given is shown by real TCP in the other files. Nor does it take a frame that ends within its
//! first IP header.

mod support;

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};

use aya::programs::{TestRun as _, TestRunOptions};
use penstock_net::{ListenAddress, Reason, Steering, workers};
use support::frames::{ACK, SYN, TCP, ethernet, octets, tcp, v4, v6};
use support::{CLIENT, Namespace, POD, PORT, Pins, VIP, VIP6};

const UDP: u8 = 17;

/// Not taken: to the next program, or the stack (`TC_ACT_UNSPEC`); taken (`TC_ACT_OK`).
const PASSED: u32 = u32::MAX;
const TAKEN: u32 = 0;
/// Sent elsewhere (`TC_ACT_REDIRECT`).
const SENT: u32 = 7;

/// One more listener, for each address of the node.
const NODE_PORT: u16 = 30_080;
/// The node's own address here, since loopback is all there is.
const OWN: &str = "127.0.0.1";

/// Extension headers of 8 bytes each before TCP; each entry is the kind of one.
fn extended(kinds: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (at, kind) in kinds.iter().enumerate() {
        let next = kinds.get(at + 1).copied().unwrap_or(TCP);
        // An authentication header counts words of four bytes, less two (RFC 4302, 2.2).
        let length = u8::from(*kind == 51) * 2;
        payload.extend([next, length, 0, 0, 0, 0, 0, 0]);
        payload.extend(vec![0; usize::from(length) * 4]);
    }
    payload.extend(tcp(40_000, PORT, SYN));
    v6(VIP6, kinds.first().copied().unwrap_or(TCP), &payload)
}

fn cut(frame: &[u8], length: usize) -> Vec<u8> {
    frame[..length].to_vec()
}

/// The verdict, the mark that the packet has then, and the counters that moved.
fn verdict(steering: &mut Steering, frame: &[u8], mark: u32) -> (u32, u32, Vec<(Reason, u64)>) {
    let before = steering.counters().unwrap();
    // `struct __sk_buff`, of which the mark is the third word.
    let (mut ctx, mut out) = ([0u8; 192], [0u8; 192]);
    ctx[8..12].copy_from_slice(&mark.to_ne_bytes());
    let options = TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(&ctx),
        ctx_out: Some(&mut out),
        ..TestRunOptions::new()
    };
    let result = steering.program().unwrap().test_run(options).unwrap();
    let after = steering.counters().unwrap();
    let moved = after
        .iter()
        .zip(before.iter())
        .filter(|((_, after), (_, before))| after != before)
        .map(|((reason, after), (_, before))| (reason, after - before))
        .collect();
    (result.return_value, u32::from_ne_bytes(out[8..12].try_into().unwrap()), moved)
}

fn loaded(pins: &Pins) -> Steering {
    let mut steering = Steering::load(&pins.dir).unwrap();
    let mut listeners = support::listeners().to_vec();
    listeners.push((ListenAddress::Node, NODE_PORT));
    steering.set_listeners(&listeners).unwrap();
    steering.set_local(&[OWN.parse().unwrap()]).unwrap();
    steering
}

#[test]
fn each_packet_is_counted_once_and_what_is_no_listeners_goes_on_unmarked() {
    let syn = tcp(40_000, PORT, SYN);
    let v4_syn = v4(VIP, &[], 0, TCP, &syn);
    let mut no_ip = v4_syn.clone();
    no_ip[14] = 0x65;
    let mut short_length = v4_syn.clone();
    short_length[14] = 0x44;
    let mut wrong_version6 = v6(VIP6, TCP, &syn);
    wrong_version6[14] = 0x40;
    let given = Reason::Refused;
    let cases: Vec<(&str, Vec<u8>, Reason)> = vec![
        ("ARP", ethernet(0x0806, &[0; 28]), Reason::NotIp),
        ("802.1Q", ethernet(0x8100, &v4_syn[12..]), Reason::Vlan),
        ("802.1ad", ethernet(0x88a8, &v4_syn[12..]), Reason::Vlan),
        ("IPv4, UDP", v4(VIP, &[], 0, UDP, &[0; 20]), Reason::NotTcp),
        ("IPv4, a short ICMP", v4(VIP, &[], 0, 1, &[0; 8]), Reason::NotTcp),
        ("IPv4, first fragment", v4(VIP, &[], 0x2000, TCP, &syn), Reason::Fragment),
        ("IPv4, later fragment", v4(VIP, &[], 0x0010, TCP, &syn), Reason::Fragment),
        ("IPv4, a fragment of UDP", v4(VIP, &[], 0x2000, UDP, &[0; 20]), Reason::NotTcp),
        ("IPv4, don't fragment", v4(VIP, &[], 0x4000, TCP, &syn), given),
        ("IPv4, cut in the TCP header", cut(&v4_syn, 45), Reason::Malformed),
        ("IPv4 that says version 6", no_ip, Reason::Malformed),
        ("IPv4, header of 16 bytes", short_length, Reason::Malformed),
        ("IPv4, 4 bytes of options", v4(VIP, &[1; 4], 0, TCP, &syn), given),
        ("IPv4, 40 bytes of options", v4(VIP, &[1; 40], 0, TCP, &syn), given),
        ("IPv4, options, cut", cut(&v4(VIP, &[1; 40], 0, TCP, &syn), 74), Reason::Malformed),
        ("IPv4, SYN", v4_syn, given),
        ("IPv4, other port", v4(VIP, &[], 0, TCP, &tcp(1, 81, SYN)), Reason::NoListener),
        ("IPv4, other address", v4("10.98.7.2", &[], 0, TCP, &syn), Reason::NoListener),
        ("IPv4, node port", v4(OWN, &[], 0, TCP, &tcp(1, NODE_PORT, SYN)), given),
        (
            "IPv4, node port elsewhere",
            v4(VIP, &[], 0, TCP, &tcp(1, NODE_PORT, SYN)),
            Reason::NoListener,
        ),
        ("IPv6, SYN", v6(VIP6, TCP, &syn), given),
        ("IPv6, other address", v6("fd98::8", TCP, &syn), Reason::NoListener),
        ("IPv6 that says version 4", wrong_version6, Reason::Malformed),
        ("IPv6, cut in the TCP header", cut(&v6(VIP6, TCP, &syn), 60), Reason::Malformed),
        ("IPv6, UDP", v6(VIP6, UDP, &[0; 8]), Reason::NotTcp),
        ("IPv6, ICMP", v6(VIP6, 58, &[0; 8]), Reason::NotTcp),
        ("IPv6, nothing follows", v6(VIP6, 59, &[]), Reason::NotTcp),
        ("IPv6, encrypted", v6(VIP6, 50, &[0; 24]), Reason::NotTcp),
        ("IPv6, fragment", extended(&[44]), Reason::Fragment),
        ("IPv6, hop by hop", extended(&[0]), given),
        ("IPv6, destination options", extended(&[60]), given),
        ("IPv6, routing", extended(&[43]), given),
        ("IPv6, authentication", extended(&[51]), given),
        ("IPv6, all of them", extended(&[0, 60, 43, 51, 60]), given),
        ("IPv6, one too many", extended(&[0, 60, 43, 51, 60, 60]), Reason::ExtensionHeaders),
        ("IPv6, cut in an extension", cut(&extended(&[0]), 55), Reason::Malformed),
        ("IPv6, cut after an extension", cut(&extended(&[0]), 62), Reason::Malformed),
    ];
    let pins = Pins::new();
    Namespace::new("packets").enter(move || {
        let mut steering = loaded(&pins);
        let socket = workers::listen().unwrap();
        steering.set_workers(&[std::os::fd::AsFd::as_fd(&socket)]).unwrap();
        for (name, frame, reason) in cases {
            let result = verdict(&mut steering, &frame, 0x4000);
            assert_eq!(result, (PASSED, 0x4000, vec![(reason, 1)]), "{name}");
        }
    });
}

#[test]
fn without_workers_a_new_connection_goes_on() {
    let pins = Pins::new();
    Namespace::new("nobody").enter(move || {
        let mut steering = loaded(&pins);
        for frame in [v4(VIP, &[], 0, TCP, &tcp(1, PORT, SYN)), v6(VIP6, TCP, &tcp(1, PORT, SYN))] {
            let result = verdict(&mut steering, &frame, 0);
            assert_eq!(result, (PASSED, 0, vec![(Reason::NoWorker, 1)]));
        }
    });
}

#[test]
fn what_opens_no_connection_is_marked_for_this_node_with_others_marks_kept() {
    let pins = Pins::new();
    Namespace::new("known").enter(move || {
        let mut steering = loaded(&pins);
        for flags in [ACK, SYN | ACK, 0x04, 0x11, 0] {
            for frame in [
                v4(VIP, &[], 0, TCP, &tcp(1, PORT, flags)),
                v6(VIP6, TCP, &tcp(1, PORT, flags)),
                v4(OWN, &[], 0, TCP, &tcp(1, NODE_PORT, flags)),
            ] {
                let result = verdict(&mut steering, &frame, 0x2_4080);
                // 0x2000 is a bit of ours, of an answer that came back: it is replaced.
                assert_eq!(result, (TAKEN, 0x2_5080, vec![(Reason::Continued, 1)]), "{flags:#x}");
            }
        }
    });
}

#[test]
fn a_request_for_a_connection_that_there_is_goes_to_the_socket_layer() {
    let pins = Pins::new();
    Namespace::new("again").enter(move || {
        let mut steering = loaded(&pins);
        let listener = TcpListener::bind((OWN, NODE_PORT)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_server, _) = listener.accept().unwrap();
        client.write_all(b"x").unwrap();
        let source = client.local_addr().unwrap().port();
        let mut frame = v4(OWN, &[], 0, TCP, &tcp(source, NODE_PORT, SYN));
        frame[26..30].copy_from_slice(&octets(OWN));
        let result = verdict(&mut steering, &frame, 0);
        assert_eq!(result, (TAKEN, 0x1000, vec![(Reason::Continued, 1)]));
        // From another port it asks for another connection; a socket that only listens is none.
        frame[35] ^= 1;
        assert_eq!(verdict(&mut steering, &frame, 0).2, [(Reason::NoWorker, 1)]);
    });
}

#[test]
fn from_pod_to_pod_a_packet_goes_with_the_macs_of_the_wire_and_a_listener_comes_first() {
    let pins = Pins::new();
    Namespace::new("pods").enter(move || {
        let mut steering = loaded(&pins);
        // What comes in a test run comes by `lo`, the first device.
        let pods = |from| [(CLIENT.parse().unwrap(), from), (POD.parse().unwrap(), 2)].into();
        let syn = tcp(40_000, 81, SYN);
        let frame = v4(POD, &[], 0, TCP, &syn);
        let passed = (PASSED, 0x4000, vec![(Reason::NoListener, 1)]);
        assert_eq!(verdict(&mut steering, &frame, 0x4000), passed, "no pods");
        steering.set_pods(&pods(3)).unwrap();
        assert_eq!(verdict(&mut steering, &frame, 0x4000), passed, "another pod's address");
        steering.set_pods(&pods(1)).unwrap();
        for (other, why) in [
            (v4("10.96.0.6", &[], 0, TCP, &syn), "to no pod"),
            (v4(CLIENT, &[], 0, TCP, &syn), "to itself"),
            (v4(POD, &[1; 4], 0, TCP, &syn), "with options"),
            (v4(POD, &[], 0, TCP, &[&syn[..], b"data"].concat()), "a SYN with data"),
            (v4(POD, &[], 0, TCP, &tcp(40_000, 81, ACK)), "of a connection that is not known"),
        ] {
            assert_eq!(verdict(&mut steering, &other, 0x4000), passed, "{why}");
        }
        let sent = (SENT, 0x4000, vec![(Reason::Redirected, 1)]);
        assert_eq!(verdict(&mut steering, &frame, 0x4000), sent);
        let mut out = vec![0; frame.len()];
        let options = TestRunOptions {
            data_in: Some(&frame),
            data_out: Some(&mut out),
            ..TestRunOptions::new()
        };
        steering.program().unwrap().test_run(options).unwrap();
        assert_eq!(out[..6], [0x0a, 0x58, 10, 96, 0, 5], "the pod's");
        assert_eq!(out[6..12], [0x0a, 0x58, 169, 254, 1, 1], "the node's end");
        assert_eq!(out[12..], frame[12..]);
        steering.set_listeners(&[(ListenAddress::Ip(POD.parse().unwrap()), 81)]).unwrap();
        assert_eq!(verdict(&mut steering, &frame, 0x4000).2, [(Reason::NoWorker, 1)]);
    });
}
