//! Changes under load, ports that come and go, and the end of the proxy.

mod support;

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use support::{
    Gateway, LOCAL,
    backend::Echo,
    client::{Connection, get},
    config::{prefix, set, step},
    free_port,
};

/// Clients that keep `connections` requests in flight and never try again. Gives how many answers
/// were 200; panics at anything else.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr, connections: usize) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let answers = Arc::<AtomicUsize>::default();
        let threads = (0..connections)
            .map(|_| {
                let (stop, answers) = (stop.clone(), answers.clone());
                std::thread::spawn(move || {
                    let mut client = Connection::open(address);
                    while !stop.load(SeqCst) {
                        let answer = client.get("a", "/");
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        answers.fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        Self { stop, answers, threads }
    }

    fn answers(&self) -> usize {
        self.answers.load(SeqCst)
    }

    fn end(self) -> usize {
        self.stop.store(true, SeqCst);
        for thread in self.threads {
            thread.join().expect("no request failed");
        }
        self.answers.load(SeqCst)
    }
}

#[test]
fn changes_under_load_fail_no_request() {
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let mut gateway = Gateway::start_with(
        |options| options.workers = 2,
        |config| {
            let backend = config.backend("b", &[one.address]);
            config.route_all(backend);
        },
    );
    let load = Load::start(gateway.address(), 8);
    for round in 0..100 {
        let before = load.answers();
        let echo = if round % 2 == 0 { &two } else { &one };
        let ack = gateway.apply(|config| {
            let backend = config.backend("b", &[echo.address]);
            config.rule(prefix("/"), |rule| {
                let edit = set("x-round", &round.to_string());
                rule.filters = vec![step(penstock_config::StepAction::RequestHeaders(edit))];
                rule.backends = vec![backend];
            });
            for other in 0..round % 5 {
                config.rule(prefix(&format!("/other/{other}")), |_| {});
            }
        });
        assert_eq!(ack.refused, []);
        let answer = get(gateway.port, "a", "/");
        let round = round.to_string();
        assert_eq!(answer.seen("x-round"), Some(round), "applied means served");
        let deadline = Instant::now() + Duration::from_secs(5);
        while load.answers() < before + 20 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let answers = load.end();
    assert!(answers > 2_000, "{answers} answers");
    assert!(one.requests() > 100 && two.requests() > 100, "both served");
}

#[test]
fn a_port_opens_and_closes_with_its_listener() {
    let echo = Echo::start("echo");
    let mut gateway = Gateway::start(|config| {
        let backend = config.backend("echo", &[echo.address]);
        config.route_all(backend);
    });
    let (old, new) = (gateway.port, free_port());
    let mut kept = Connection::open(gateway.address());
    assert_eq!(kept.get("a", "/").status, 200);
    gateway.port = new;
    let ack = gateway.apply(|config| {
        let backend = config.backend("echo", &[echo.address]);
        config.route_all(backend);
    });
    assert_eq!(ack.refused, []);
    assert_eq!(get(new, "a", "/").status, 200);
    assert!(TcpStream::connect((LOCAL, old)).is_err(), "the old port is closed");
    assert!(kept.ends(), "its idle connections end");
    let ports: Vec<u32> = gateway.proxy.ports().iter().map(|bound| bound.port).collect();
    assert_eq!(ports, [u32::from(new)]);
}

#[test]
fn an_occupied_port_refuses_its_listener_alone_and_is_tried_again() {
    let echo = Echo::start("echo");
    let mut gateway = Gateway::start(|config| {
        let backend = config.backend("echo", &[echo.address]);
        config.route_all(backend);
    });
    let other = TcpListener::bind((LOCAL, 0)).expect("a free port");
    let taken = other.local_addr().expect("an address").port();
    let configure = |config: &mut support::config::Config| {
        let port = config.port;
        config.port = taken;
        config.listener("taken", "");
        config.port = port;
        let backend = config.backend("echo", &[echo.address]);
        config.route_all(backend);
    };
    let ack = gateway.apply(configure);
    assert_eq!(ack.refused.len(), 1, "{:?}", ack.refused);
    assert_eq!(ack.refused[0].key.name, "test/gw/taken");
    assert_eq!(ack.refused[0].reason, "PortUnavailable");
    assert!(ack.refused[0].message.contains("--port-offset"), "{}", ack.refused[0].message);
    assert_eq!(get(gateway.port, "a", "/").status, 200, "everything else serves");
    drop(other);
    assert_eq!(gateway.apply(configure).refused, []);
    assert_eq!(get(taken, "a", "/").status, 404, "a listener without routes");
}

#[test]
fn a_change_that_does_not_fit_is_refused_as_a_whole() {
    let echo = Echo::start("echo");
    let gateway = Gateway::start(|config| {
        let backend = config.backend("echo", &[echo.address]);
        config.route_all(backend);
    });
    let before = gateway.proxy.state().version();
    let delta = penstock_config::Delta {
        upserts: Vec::new(),
        removals: vec![penstock_config::Key::new(penstock_config::Kind::Backend, "test/echo:80")],
    };
    let ack = gateway.proxy.apply(&delta);
    assert_eq!(ack.version, before);
    assert_eq!(ack.refused[0].reason, "MissingParent");
    assert_eq!(get(gateway.port, "a", "/").status, 200);
}

#[test]
fn a_drain_lets_requests_end_and_takes_no_new_connections() {
    let echo = Echo::start("echo");
    let gateway = Gateway::start(|config| {
        let backend = config.backend("echo", &[echo.address]);
        config.route_all(backend);
    });
    let address = gateway.address();
    let mut busy = Connection::open(address);
    let mut idle = Connection::open(address);
    assert_eq!(idle.get("a", "/").status, 200);
    busy.send("GET / HTTP/1.1\r\nHost: a\r\nX-Wait-Ms: 600\r\n\r\n");
    std::thread::sleep(Duration::from_millis(200));
    let started = Instant::now();
    let drained = std::thread::spawn(move || {
        gateway.proxy.drain();
        assert!(!gateway.proxy.is_ready());
        started.elapsed()
    });
    assert!(idle.ends(), "an idle connection ends at once");
    let answer = busy.answer();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(busy.ends());
    let took = drained.join().expect("drained");
    assert!(took > Duration::from_millis(300) && took < Duration::from_secs(4), "{took:?}");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_drain_ends_at_its_timeout() {
    let echo = Echo::start("echo");
    let gateway = Gateway::start_with(
        |options| options.drain_timeout = Duration::from_millis(300),
        |config| {
            let backend = config.backend("echo", &[echo.address]);
            config.route_all(backend);
        },
    );
    let mut busy = Connection::open(gateway.address());
    busy.send("GET / HTTP/1.1\r\nHost: a\r\nX-Wait-Ms: 20000\r\n\r\n");
    std::thread::sleep(Duration::from_millis(100));
    let started = Instant::now();
    gateway.proxy.drain();
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert!(busy.try_answer(false).is_none());
}

#[test]
fn workers_share_the_connections_of_a_port() {
    let echo = Echo::start("echo");
    let gateway = Gateway::start_with(
        |options| options.workers = 4,
        |config| {
            let backend = config.backend("echo", &[echo.address]);
            config.route_all(backend);
        },
    );
    for _ in 0..64 {
        assert_eq!(get(gateway.port, "a", "/").status, 200);
    }
    // Each worker has its own connections to the endpoint.
    assert!((2..=4).contains(&echo.connections()), "{} connections", echo.connections());
}
