//! From pod to pod on one node: pods are namespaces on wires as the CNI plugin makes them, and the node
//! translates a Service's address and drops what is invalid to connection tracking, as kube-proxy does.

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use penstock_net::pods::{self, Wire};
use penstock_net::{Reason, Steering, devices};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use support::frames::{ACK, SYN, TCP, tcp, v4};
use support::{Namespace, PATIENCE, Pins, steer_in, until};

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 17);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 33);
const C: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 18);
/// Of a Service whose one endpoint is `B`.
const SERVICE: Ipv4Addr = Ipv4Addr::new(172, 20, 0, 10);
const PORT: u16 = 8080;
/// In which `A` dials where the port matters.
const SOURCE: u16 = 40_404;
const MIB: usize = 1 << 20;

/// A node with pods.
struct Site {
    steering: Option<Steering>,
    pins: Pins,
    pods: BTreeMap<Ipv4Addr, Namespace>,
    node: Namespace,
}

impl Site {
    /// With pods at `A`, `B` and `C`, and servers on `B`.
    fn new() -> Self {
        let (node, pins) = (Namespace::new("node"), Pins::new());
        let dir = pins.dir.clone();
        let steering = node.enter(move || {
            pods::install().unwrap();
            let mut steering = Steering::load(&dir).unwrap();
            steering.replace().unwrap();
            steering
        });
        let mut site = Self { steering: Some(steering), pins, pods: BTreeMap::new(), node };
        site.nft(&format!(
            "table ip services {{
               counter count-tcp {{}}
               counter count-udp {{}}
               counter count-invalid {{}}
               chain pre {{
                 type nat hook prerouting priority -100;
                 ip daddr {SERVICE} tcp dport 80 dnat to {B}:{PORT};
               }}
               chain post {{ type nat hook postrouting priority 100; }}
               chain forward {{
                 type filter hook forward priority 0;
                 meta l4proto tcp counter name count-tcp;
                 meta l4proto udp counter name count-udp;
                 ct state invalid counter name count-invalid drop;
               }}
             }}"
        ));
        for address in [A, B, C] {
            site.connect(address);
        }
        site.redirect();
        site.serve(B);
        site
    }

    fn nft(&self, rules: &str) {
        let rules = rules.to_owned();
        self.node.enter(move || {
            let mut nft = nft(&["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
            nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
            assert!(nft.wait().unwrap().success());
        });
    }

    /// Packets that the stack has forwarded and counted under this name.
    fn forwarded(&self, name: &'static str) -> u64 {
        let said = self.node.enter(move || {
            let done = nft(&["list", "counter", "ip", "services", &format!("count-{name}")])
                .output()
                .unwrap();
            String::from_utf8(done.stdout).unwrap()
        });
        let mut words = said.split_whitespace().skip_while(|word| *word != "packets");
        words.nth(1).expect("packets").parse().unwrap()
    }

    fn steer<T: Send + 'static>(
        &mut self,
        task: impl FnOnce(&mut Steering) -> T + Send + 'static,
    ) -> T {
        steer_in(&self.node, &mut self.steering, task)
    }

    fn redirected(&mut self) -> u64 {
        self.steer(|steering| steering.counters().unwrap().get(Reason::Redirected))
    }

    /// The same once the last segments of what has ended have passed.
    fn redirected_at_rest(&mut self) -> u64 {
        let mut seen = self.redirected();
        for _ in 0..50 {
            std::thread::sleep(Duration::from_millis(50));
            let before = std::mem::replace(&mut seen, self.redirected());
            if before == seen {
                return seen;
            }
        }
        panic!("segments pass although nobody sends: {seen}");
    }

    /// Makes a pod, and puts the program on its device.
    fn connect(&mut self, address: Ipv4Addr) {
        let pod = Namespace::new("pod");
        let path = format!("/run/netns/{}", pod.name);
        let wire = wire(address);
        self.steer(move |steering| {
            pods::connect(&wire, File::open(path).unwrap().as_fd()).unwrap();
            steering.attach(&wire.on_node).unwrap();
        });
        self.pods.insert(address, pod);
    }

    /// As the agent does: tells the programs which pods there are.
    fn redirect(&mut self) {
        self.steer(|steering| {
            let all = devices().unwrap();
            let of = |address: Ipv4Addr| all.iter().find(|d| d.name == wire(address).on_node);
            let pods = [A, B, C].into_iter().filter_map(|a| Some((a, of(a)?.index))).collect();
            steering.set_pods(&pods).unwrap();
            assert_eq!(steering.pods().unwrap(), pods);
            assert_eq!(steering.set_pods(&pods).unwrap(), penstock_net::Changes::default());
        });
    }

    /// Has a pod send back what it gets, by TCP until the client says that there is no more, and by UDP.
    /// A connection whose first byte is `!` is closed at once.
    fn serve(&self, address: Ipv4Addr) {
        let (ready, is_ready) = std::sync::mpsc::channel();
        self.pods[&address].spawn(move || {
            let datagrams = UdpSocket::bind((address, PORT)).unwrap();
            let listener = TcpListener::bind((address, PORT)).unwrap();
            ready.send(()).unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 2048];
                while let Ok((length, from)) = datagrams.recv_from(&mut buffer) {
                    let _ = datagrams.send_to(&buffer[..length], from);
                }
            });
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut first = [0];
                    if stream.read_exact(&mut first).is_err() || first == *b"!" {
                        return;
                    }
                    let _ = stream.write_all(&first);
                    let _ = std::io::copy(&mut stream.try_clone().unwrap(), &mut stream);
                });
            }
        });
        is_ready.recv().unwrap();
    }

    /// Dials from `A`, from a port of its own or `SOURCE`.
    fn dial(&self, to: SocketAddr, source: Option<u16>) -> std::io::Result<TcpStream> {
        self.pods[&A].enter(move || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            if let Some(port) = source {
                socket.set_reuse_address(true)?;
                socket.bind(&SockAddr::from(SocketAddr::from((A, port))))?;
            }
            socket.connect_timeout(&to.into(), PATIENCE)?;
            let stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        })
    }
}

fn nft(arguments: &[&str]) -> Command {
    let mut nft = Command::new("nft");
    nft.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(arguments);
    nft
}

fn wire(address: Ipv4Addr) -> Wire {
    Wire {
        device: "eth0".into(),
        on_node: format!("{}{:08x}", pods::PREFIX, u32::from(address)),
        alias: String::new(),
        address,
        mtu: 9001,
    }
}

fn pod(address: Ipv4Addr) -> SocketAddr {
    (address, PORT).into()
}

fn service() -> SocketAddr {
    (SERVICE, 80).into()
}

/// Sends so many bytes over a connection to a server of the site, which sends them back, and closes it.
fn exchange(mut stream: TcpStream, length: usize) {
    let byte = |at: usize| (at as u32).wrapping_mul(0x9e37_79b1).to_be_bytes()[0] | 1;
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        let bytes: Vec<u8> = (0..length).map(byte).collect();
        writer.write_all(&bytes).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    assert_eq!(back.len(), length);
    assert!(back.into_iter().enumerate().all(|(at, got)| got == byte(at)), "as it was sent");
}

/// Asks once, and leaves the connection open.
fn ask(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"?")?;
    let mut back = [0];
    stream.read_exact(&mut back)?;
    assert_eq!(back, *b"?");
    Ok(())
}

/// Has the server close the connection, so that it is the one that waits (`TIME_WAIT`).
fn have_closed(mut stream: TcpStream) {
    stream.write_all(b"!").unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn connections_from_pod_to_pod_pass_the_stack_by_and_carry_everything_both_ways() {
    let mut site = Site::new();
    for length in [1, 100_000, 32 * MIB] {
        exchange(site.dial(pod(B), None).unwrap(), length);
    }
    // Both ends close, and what comes late does so too.
    std::thread::sleep(Duration::from_millis(100));
    assert!(site.redirected() > 500, "{}", site.redirected());
    assert_eq!(site.forwarded("tcp"), 0, "not one packet");
}

#[test]
fn without_pods_in_the_map_and_for_a_pod_that_is_not_everything_is_forwarded() {
    let mut site = Site::new();
    let without_b = site.steer(|steering| {
        let mut pods = steering.pods().unwrap();
        pods.remove(&B);
        pods
    });
    for pods in [BTreeMap::new(), without_b] {
        let (before, redirected) = (site.forwarded("tcp"), site.redirected());
        site.steer(move |steering| steering.set_pods(&pods).unwrap());
        exchange(site.dial(pod(B), None).unwrap(), MIB);
        exchange(site.dial(service(), None).unwrap(), MIB);
        assert!(site.forwarded("tcp") > before + 20);
        assert_eq!((site.redirected(), site.forwarded("invalid")), (redirected, 0));
    }
}

#[test]
fn an_open_connection_goes_on_when_redirection_is_turned_off_and_on() {
    let mut site = Site::new();
    let mut stream = site.dial(pod(B), None).unwrap();
    ask(&mut stream).unwrap();
    assert_eq!(site.forwarded("tcp"), 0);
    site.steer(|steering| steering.set_pods(&BTreeMap::new()).unwrap());
    ask(&mut stream).unwrap();
    let forwarded = site.forwarded("tcp");
    assert!(forwarded > 0);
    site.redirect();
    ask(&mut stream).unwrap();
    exchange(stream, MIB);
    // A late acknowledgement of before may be among them.
    assert!(site.forwarded("tcp") <= forwarded + 2);
    assert_eq!(site.forwarded("invalid"), 0);
}

#[test]
fn pods_are_redirected_to_while_no_agent_runs_and_the_next_one_finds_them() {
    let mut site = Site::new();
    let before = site.steer(|steering| steering.pods().unwrap());
    let mut stream = site.dial(pod(B), None).unwrap();
    site.steering = None;
    ask(&mut stream).unwrap();
    exchange(site.dial(pod(B), None).unwrap(), MIB);
    let dir = site.pins.dir.clone();
    site.steering = Some(site.node.enter(move || {
        let mut steering = Steering::load(&dir).unwrap();
        steering.replace().unwrap();
        steering
    }));
    ask(&mut stream).unwrap();
    assert_eq!(site.steer(|steering| steering.pods().unwrap()), before);
    assert_eq!(site.forwarded("tcp"), 0);
}

#[test]
fn a_service_between_the_same_pods_is_translated_with_the_port_of_a_connection_before_too() {
    let mut site = Site::new();
    for name in ["the client closes first", "the server"] {
        let end = |stream| match name {
            "the server" => have_closed(stream),
            _ => exchange(stream, MIB),
        };
        for round in 0..3 {
            let forwarded = site.forwarded("tcp");
            let redirected = site.redirected();
            let stream = site.dial(pod(B), Some(SOURCE)).unwrap();
            end(stream);
            assert!(site.redirected() > redirected + 4, "{name}, {round}: straight");
            let redirected = site.redirected_at_rest();
            assert_eq!(site.forwarded("tcp"), forwarded, "{name}, {round}");
            let began = Instant::now();
            let stream = site.dial(service(), Some(SOURCE)).unwrap();
            // Where the server waits and does not take the SYN, it says what it has of the connection
            // before, which the client resets: two packets, and the SYN comes again after a second.
            assert!(began.elapsed() < Duration::from_millis(1_500), "{name}, {round}");
            end(stream);
            assert!(site.forwarded("tcp") > forwarded + 4, "{name}, {round}: by the stack");
            assert!(site.redirected() <= redirected + 2, "{name}, {round}");
        }
    }
    assert_eq!(site.forwarded("invalid"), 0);
}

#[test]
fn both_work_at_once_from_different_ports() {
    let mut site = Site::new();
    let mut straight = site.dial(pod(B), Some(SOURCE)).unwrap();
    let mut translated = site.dial(service(), Some(SOURCE + 1)).unwrap();
    for _ in 0..3 {
        let before = (site.redirected(), site.forwarded("tcp"));
        ask(&mut straight).unwrap();
        assert!(site.redirected() > before.0);
        let before = site.redirected_at_rest();
        ask(&mut translated).unwrap();
        assert_eq!(site.redirected(), before);
    }
    exchange(straight, MIB);
    exchange(translated, MIB);
    assert_eq!(site.forwarded("invalid"), 0);
}

/// The stack finds another port for the second one, as it would without redirection; that takes until the
/// third SYN, which is three seconds.
#[test]
fn a_translated_connection_with_the_same_ports_is_not_harmed_by_one_straight_to_the_pod() {
    let mut site = Site::new();
    let mut translated = site.dial(service(), Some(SOURCE)).unwrap();
    ask(&mut translated).unwrap();
    let began = Instant::now();
    let mut straight = site.dial(pod(B), Some(SOURCE)).unwrap();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    for _ in 0..3 {
        ask(&mut translated).unwrap();
        ask(&mut straight).unwrap();
    }
    exchange(translated, MIB);
    exchange(straight, MIB);
    exchange(site.dial(pod(B), Some(SOURCE + 1)).unwrap(), MIB);
    assert!(site.redirected() > 20);
}

/// What remains of the risk, see docs/decisions/0010-pod-redirect.md: nobody is harmed who is there.
#[test]
fn a_connection_straight_to_the_pod_is_not_harmed_by_a_translated_one_with_the_same_ports() {
    let site = Site::new();
    let mut straight = site.dial(pod(B), Some(SOURCE)).unwrap();
    ask(&mut straight).unwrap();
    let late = site.pods[&A].enter(move || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SockAddr::from(SocketAddr::from((A, SOURCE)))).unwrap();
        socket.connect_timeout(&service().into(), Duration::from_millis(1_500))
    });
    assert!(late.is_err(), "if this works now, the record can be shorter");
    ask(&mut straight).unwrap();
    exchange(straight, MIB);
    // And when it has gone, the port is free.
    exchange(site.dial(service(), Some(SOURCE)).unwrap(), MIB);
}

#[test]
fn a_closed_port_and_a_reset_are_told_at_once_and_the_port_is_free_for_a_service() {
    let mut site = Site::new();
    for _ in 0..2 {
        let began = Instant::now();
        let refused = site.dial((B, 81).into(), Some(SOURCE)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert!(began.elapsed() < Duration::from_millis(800));
    }
    let listener = site.pods[&C].enter(|| TcpListener::bind((C, PORT)).unwrap());
    let stream = site.dial(pod(C), Some(SOURCE)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    Socket::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    assert_eq!(server.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(site.forwarded("tcp"), 0);
    let stream = site.dial(pod(B), Some(SOURCE)).unwrap();
    Socket::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    exchange(site.dial(service(), Some(SOURCE)).unwrap(), MIB);
    exchange(site.dial(pod(B), Some(SOURCE)).unwrap(), MIB);
    assert_eq!(site.forwarded("invalid"), 0);
    let _ = site.redirected();
}

#[test]
fn a_pod_that_takes_the_address_of_another_one_gets_its_packets_and_ends_its_connections() {
    let mut site = Site::new();
    let mut old = site.dial(pod(B), None).unwrap();
    ask(&mut old).unwrap();
    site.steer(|_| pods::disconnect(&wire(B).on_node).unwrap());
    drop(site.pods.remove(&B));
    site.redirect();
    assert!(!site.steer(|steering| steering.pods().unwrap()).contains_key(&B));
    site.connect(B);
    site.redirect();
    site.serve(B);
    let before = site.redirected();
    exchange(site.dial(pod(B), None).unwrap(), MIB);
    assert!(site.redirected() > before + 20);
    // The new pod does not know it.
    until("the old connection is reset", || {
        ask(&mut old).is_err_and(|error| {
            matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
        })
    });
    assert_eq!(site.forwarded("invalid"), 0);
}

#[test]
fn other_protocols_take_the_stack() {
    let mut site = Site::new();
    let answer = site.pods[&A].enter(|| {
        let socket = UdpSocket::bind((A, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(b"hello", pod(B)).unwrap();
        let mut buffer = [0; 16];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        (buffer[..length].to_vec(), from)
    });
    assert_eq!(answer, (b"hello".to_vec(), pod(B)));
    assert_eq!((site.forwarded("udp"), site.redirected()), (2, 0));
}

/// A packet of `from`'s, made by hand and sent by `A`: IPv4 header and TCP header.
fn forge(site: &Site, from: Ipv4Addr, options: &'static [u8], flags: u8) {
    site.pods[&A].enter(move || {
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap();
        raw.set_header_included_v4(true).unwrap();
        let mut frame = v4(&B.to_string(), options, 0, TCP, &tcp(SOURCE, PORT, flags));
        frame[26..30].copy_from_slice(&from.octets());
        raw.send_to(&frame[14..], &SockAddr::from(pod(B))).unwrap();
    });
}

#[test]
fn only_what_comes_from_the_pods_own_address_without_options_is_redirected() {
    let mut site = Site::new();
    for (from, options, flags, expected) in [
        (A, &[][..], SYN, 1),
        (C, &[], SYN, 0),
        (Ipv4Addr::new(192, 0, 2, 1), &[], SYN, 0),
        (B, &[], SYN, 0),
        (A, &[1, 1, 1, 1], SYN, 0),
        // Its SYN was not answered.
        (A, &[], ACK, 0),
    ] {
        // Its checksum is wrong: nobody answers.
        let before = site.redirected();
        let all = |site: &mut Site| {
            let passed = site.steer(|s| s.counters().unwrap().get(Reason::NoListener));
            passed + site.redirected()
        };
        let seen = all(&mut site);
        forge(&site, from, options, flags);
        until("it is seen", || all(&mut site) > seen);
        assert_eq!(site.redirected() - before, expected, "{from} {options:?} {flags:#x}");
    }
}
