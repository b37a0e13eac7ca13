//! Nanoseconds of the program for devices, for each packet: on constructed packets by
//! `BPF_PROG_TEST_RUN`, and on those of real connections by the kernel's run-time statistics. Prints
//! `name: 12.3 ns`. Needs root, for a network namespace and for loading the program.
//!
//! In a test run `bpf_sk_assign` answers EOPNOTSUPP: a new connection is measured up to there.

#[path = "../tests/support/mod.rs"]
mod support;

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;

use aya::programs::{TestRun as _, TestRunOptions};
use aya::sys::{Stats, enable_stats};
use penstock_net::{ListenAddress, Steering, workers};
use support::frames::{ACK, SYN, TCP, ethernet, octets, tcp, v4, v6};
use support::{Bed, CLIENT, NODE, Namespace, POD, PORT, Pins, VIP, VIP6};

/// Runs of the program on each packet.
const REPEAT: u32 = 1_000_000;
/// Real connections, and questions on each.
const CONNECTIONS: u32 = 500;
const QUESTIONS: u32 = 20;
const OWN: &str = "127.0.0.1";
/// A port of the node without a listener.
const OTHER_PORT: u16 = 2222;
/// As many as a large node has.
const LISTENERS: u16 = 2_000;
const WORKERS: usize = 16;

fn main() {
    let pins = Pins::new();
    Namespace::new("bench").enter(move || constructed(&pins));
    real();
}

fn constructed(pins: &Pins) {
    let mut steering = Steering::load(&pins.dir).unwrap();
    let sockets: Vec<_> = (0..WORKERS).map(|_| workers::listen().unwrap()).collect();
    let fds: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
    steering.set_workers(&fds).unwrap();
    let own = ListenAddress::Ip(OWN.parse().unwrap());
    let mut listeners = support::listeners().to_vec();
    listeners.extend((10_000..10_000 + LISTENERS).map(|port| (own, port)));
    listeners.push((own, PORT));
    steering.set_listeners(&listeners).unwrap();

    let listener = TcpListener::bind((OWN, PORT)).unwrap();
    let client = TcpStream::connect((OWN, PORT)).unwrap();
    let source = client.local_addr().unwrap().port();
    let mut established = v4(OWN, &[], 0, TCP, &tcp(source, PORT, ACK));
    established[26..30].copy_from_slice(&octets(OWN));

    let syn = tcp(40_000, PORT, SYN);
    for (name, frame) in [
        ("not IP", ethernet(0x0806, &[0; 28])),
        ("UDP", v4(VIP, &[], 0, 17, &[0; 20])),
        ("TCP to no listener, IPv4", v4("10.98.7.2", &[], 0, TCP, &syn)),
        ("TCP to no listener, IPv6", v6("fd98::8", TCP, &syn)),
        ("of a connection, IPv4", established),
        ("new connection, IPv4, 16 workers", v4(VIP, &[], 0, TCP, &syn)),
        ("new connection, IPv6, 16 workers", v6(VIP6, TCP, &syn)),
    ] {
        measure(&mut steering, name, &frame);
    }
    drop(listener);
    between_pods(&mut steering);
}

/// The node has pods now, and what comes in a test run comes by `lo`, the first device.
fn between_pods(steering: &mut Steering) {
    let pods = [(CLIENT.parse().unwrap(), 1), (POD.parse().unwrap(), 2)];
    steering.set_pods(&pods.into()).unwrap();
    let mut answer = tcp(OTHER_PORT, 40_000, SYN | ACK);
    answer[11] = 1;
    // From the pod that is dialled.
    let mut back = v4(CLIENT, &[], 0, TCP, &answer);
    back[26..30].copy_from_slice(&octets(POD));
    let opens = v4(POD, &[], 0, TCP, &tcp(40_000, OTHER_PORT, SYN));
    mean(steering, &opens, 1);
    steering.set_pods(&[(CLIENT.parse().unwrap(), 2), (POD.parse().unwrap(), 1)].into()).unwrap();
    mean(steering, &back, 1);
    steering.set_pods(&pods.into()).unwrap();
    let data = v4(POD, &[], 0, TCP, &tcp(40_000, OTHER_PORT, ACK));
    measure(steering, "of a connection from pod to pod", &data);
    let elsewhere = v4("10.98.7.2", &[], 0, TCP, &tcp(40_000, PORT, SYN));
    measure(steering, "TCP from a pod to no listener and no pod", &elsewhere);
    steering.set_pods(&[(POD.parse().unwrap(), 2)].into()).unwrap();
    measure(steering, "TCP from elsewhere to no listener, with pods", &elsewhere);
}

fn measure(steering: &mut Steering, name: &str, frame: &[u8]) {
    println!("{name}: {} ns", mean(steering, frame, REPEAT));
}

/// The kernel gives the mean of all runs, in whole nanoseconds.
fn mean(steering: &mut Steering, frame: &[u8], repeat: u32) -> u128 {
    let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
    steering.program().unwrap().test_run(options).unwrap().duration.as_nanos()
}

fn real() {
    let mut bed = Bed::new(2);
    let statistics = enable_stats(Stats::RunTime).unwrap();
    // The same packets to a server of the node that no listener covers: the difference is steering, the
    // rest is what reading the clock twice and cold caches cost.
    let other = bed.node.enter(|| TcpListener::bind((NODE, OTHER_PORT)).unwrap());
    std::thread::spawn(move || {
        for stream in other.incoming().flatten() {
            std::thread::spawn(move || support::serve(stream, 0));
        }
    });
    for (name, address, port) in [
        ("of real connections to no listener", NODE, OTHER_PORT),
        ("of real connections", VIP, PORT),
    ] {
        let totals = |bed: &mut Bed| {
            let info = bed.steer(|steering| steering.program().unwrap().info().unwrap());
            (info.run_time().as_nanos() as f64, info.run_count())
        };
        let before = totals(&mut bed);
        let to = (address.parse::<std::net::IpAddr>().unwrap(), port).into();
        bed.client.enter(move || {
            for _ in 0..CONNECTIONS {
                let mut stream = TcpStream::connect_timeout(&to, support::PATIENCE).unwrap();
                for _ in 0..QUESTIONS {
                    support::ask(&mut stream).unwrap();
                }
            }
        });
        let after = totals(&mut bed);
        println!("{name}: {:.1} ns", (after.0 - before.0) / (after.1 - before.1) as f64);
    }
    drop(statistics);
}
