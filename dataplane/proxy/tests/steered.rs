//! Sockets that the agent hands over: one socket serves every Gateway, and goes to the next proxy
//! while the old one drains.

mod support;

use penstock_config::{Frontend, Gateway as GatewayConfig, Listener, ResourceKind, State};
use penstock_filter_host::{Host, HostConfig};
use penstock_proxy::{Proxy, ProxyOptions};
use std::{
    io::Read,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    time::Duration,
};
use support::{
    backend::Echo,
    client::Connection,
    config::{Config, prefix},
};

const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));
const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 3));

fn proxy(workers: usize) -> Proxy {
    let host = Host::new(HostConfig::default()).expect("a filter host");
    let drain_timeout = Duration::from_secs(5);
    let options = ProxyOptions { workers, bind: vec![], drain_timeout, ..ProxyOptions::default() };
    Proxy::start(options, host).expect("a proxy")
}

fn socket() -> (TcpListener, u16) {
    let socket = TcpListener::bind("0.0.0.0:0").expect("a port");
    socket.set_nonblocking(true).expect("set");
    let port = socket.local_addr().expect("an address").port();
    (socket, port)
}

/// A Gateway of its own at that address, served from that backend.
fn gateway(config: &mut Config, name: &str, at: IpAddr, target_port: u32, backend: &Echo) {
    let full = format!("test/{name}");
    let port = config.port.into();
    config.state.insert(ResourceKind::Gateway(GatewayConfig {
        name: full.clone(),
        ..GatewayConfig::default()
    }));
    config.state.insert(ResourceKind::Listener(Listener {
        gateway: full.clone(),
        section: "http".into(),
        port,
        target_port,
        ..Listener::default()
    }));
    config.state.insert(ResourceKind::Frontend(Frontend {
        gateway: full.clone(),
        port,
        target_port,
        addresses: vec![at.to_string()],
        ..Frontend::default()
    }));
    let choice = config.backend(name, &[backend.address]);
    config.rule(prefix("/"), |rule| {
        rule.backends = vec![choice];
        rule.attachments[0].listener = format!("{full}/http");
    });
}

fn nothing(port: u16) -> Config {
    let mut config = Config::new(port);
    config.state = State::default();
    config
}

fn config(port: u16, one: &Echo, two: &Echo) -> Config {
    let mut config = nothing(port);
    gateway(&mut config, "one", ONE, 20_001, one);
    gateway(&mut config, "two", TWO, 20_002, two);
    config
}

fn apply(proxy: &Proxy, config: &Config) {
    let ack = proxy.apply(&proxy.state().diff(&config.state));
    assert_eq!(ack.refused, [], "everything is served");
}

#[test]
fn two_gateways_on_one_port_are_told_apart_by_the_address_that_the_client_dialled() {
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let (socket, port) = socket();
    let proxy = proxy(2);
    apply(&proxy, &config(port, &one, &two));
    proxy.steer(vec![(1, socket)]);
    for (at, echo) in [(ONE, &one), (TWO, &two), (ONE, &one)] {
        let before = echo.requests();
        let answer = Connection::open(SocketAddr::new(at, port)).get("a", "/");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(echo.requests(), before + 1, "{at} is the other Gateway's");
    }
    // Where nothing is served there is no answer, and nobody else is harmed.
    let mut nobody = TcpStream::connect(("127.0.0.9", port)).expect("the socket takes it");
    assert_eq!(nobody.read(&mut [0; 1]).unwrap_or_default(), 0);
    assert!(proxy.metrics_text().contains(r#"reason="no-listener""#));
}

#[test]
fn a_gateway_that_is_gone_ends_its_connections_and_no_others() {
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let (socket, port) = socket();
    let proxy = proxy(1);
    let both = config(port, &one, &two);
    apply(&proxy, &both);
    proxy.steer(vec![(1, socket)]);
    let mut stays = Connection::open(SocketAddr::new(ONE, port));
    let mut ends = Connection::open(SocketAddr::new(TWO, port));
    assert_eq!((stays.get("a", "/").status, ends.get("a", "/").status), (200, 200));
    let mut alone = nothing(port);
    gateway(&mut alone, "one", ONE, 20_001, &one);
    apply(&proxy, &alone);
    assert!(ends.ends(), "its Gateway is gone");
    assert_eq!(stays.get("a", "/").status, 200);
}

#[test]
fn a_new_proxy_takes_the_sockets_over_and_no_connection_is_refused_or_reset() {
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let sockets = [socket(), socket()];
    let ports = [sockets[0].1, sockets[1].1];
    // Each socket stands for one worker; clients dial both.
    let mut config = config(ports[0], &one, &two);
    let second = ResourceKind::Frontend(Frontend {
        gateway: "test/one".into(),
        port: ports[1].into(),
        target_port: 20_001,
        addresses: vec![ONE.to_string()],
        ..Frontend::default()
    });
    config.state.insert(second);
    let copies =
        || sockets.iter().zip(1..).map(|((s, _), name)| (name, s.try_clone().expect("a copy")));
    let mut serving = proxy(2);
    apply(&serving, &config);
    serving.steer(copies().collect());

    let (stop, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for client in 0..8 {
            let (stop, answers) = (&stop, &answers);
            scope.spawn(move || {
                while !stop.load(SeqCst) {
                    let mut connection = Connection::open((ONE, ports[client % 2]).into());
                    let answer = connection.get("a", "/");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    answers.fetch_add(1, SeqCst);
                }
            });
        }
        // Also with another number of workers.
        for workers in [2, 1, 3, 2] {
            let before = answers.load(SeqCst);
            let next = proxy(workers);
            apply(&next, &config);
            next.steer(copies().collect());
            drop(std::mem::replace(&mut serving, next));
            for _ in 0..500 {
                if answers.load(SeqCst) > before + 40 {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            assert!(answers.load(SeqCst) > before + 40, "the new proxy serves");
        }
        stop.store(true, SeqCst);
    });
}

#[test]
fn what_waits_in_a_surplus_socket_is_served_before_it_is_closed() {
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let (socket, port) = socket();
    let proxy = proxy(1);
    apply(&proxy, &config(port, &one, &two));
    let waiting = Connection::open(SocketAddr::new(ONE, port));
    proxy.steer(vec![(1, socket.try_clone().expect("a copy"))]);
    proxy.steer(vec![]);
    let mut waiting = waiting;
    assert_eq!(waiting.get("a", "/").status, 200);
    drop(socket);
    assert!(TcpStream::connect((ONE, port)).is_err(), "nobody holds the socket any more");
}
