//! A worker that no longer turns is noticed.

mod support;

use penstock_config::{Filter, PolicyKind, ResourceKind, StepAction};
use penstock_filter_host::{Host, HostConfig, digest};
use penstock_proxy::{Proxy, ProxyOptions};
use penstock_telemetry::admin::AdminSource as _;
use std::time::{Duration, Instant};
use support::{
    Gateway, LOCAL,
    backend::Echo,
    client::Connection,
    config::{prefix, step},
};

/// Longer than any policy may run in earnest.
const DEADLINE: Duration = Duration::from_secs(8);

#[test]
fn livez_names_a_worker_that_is_stuck_and_forgives_when_it_turns_again() {
    let workspace = xtask_components::root().join("tests/guests");
    let target = xtask_components::target_dir().join("guests");
    let guests = xtask_components::build(&workspace, &target).expect("the guests build");
    let guest = guests.iter().find(|guest| guest.name == "guest-headers").expect("a guest");
    let config = HostConfig { max_instances: 64, max_deadline: DEADLINE, ..HostConfig::default() };
    let host = Host::new(config).expect("a filter host");
    host.load(host.compile(&guest.bytes).expect("a module"));
    let options = ProxyOptions { workers: 1, bind: vec![LOCAL], ..ProxyOptions::default() };
    let proxy = Proxy::start(options, host).expect("a proxy");
    let echo = Echo::start("echo");
    let gateway = Gateway::of(proxy, |config| {
        let backend = config.backend("echo", &[echo.address]);
        config.state.insert(ResourceKind::Filter(Filter {
            name: "test/obey".into(),
            kind: PolicyKind::Headers as i32,
            module: digest(&guest.bytes),
            config_json: "\"obey\"".into(),
            memory_bytes: 16 << 20,
            deadline_us: u64::try_from(DEADLINE.as_micros()).expect("a deadline"),
            ..Filter::default()
        }));
        config.rule(prefix("/"), |rule| {
            rule.filters = vec![step(StepAction::Policy("test/obey".into()))];
            rule.backends = vec![backend];
        });
    });
    assert_eq!(gateway.proxy.live(), Ok(()));

    let mut client = Connection::open(gateway.address());
    let asked = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Do: loop\r\n\r\n");
    let error = loop {
        match gateway.proxy.live() {
            Err(error) => break error,
            Ok(()) => assert!(asked.elapsed() < DEADLINE, "nobody noticed"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(error.starts_with("thread proxy-worker-0 is stuck for "), "{error}");
    assert!(asked.elapsed() > Duration::from_secs(5), "no worker is stuck so soon");
    assert_eq!(client.answer().status, 503, "the deadline ended the call");
    let turned = Instant::now();
    while gateway.proxy.live().is_err() {
        assert!(turned.elapsed() < Duration::from_secs(5), "it turns again");
        std::thread::sleep(Duration::from_millis(10));
    }
}
