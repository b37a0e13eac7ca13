//! WASM policies on the path of a request, built from source.

mod support;

use penstock_config::{BackendChoice, Filter, OnFailure, PolicyKind, ResourceKind, StepAction};
use penstock_filter_host::{Host, HostConfig, digest};
use penstock_proxy::{Proxy, ProxyOptions};
use std::{collections::HashMap, sync::LazyLock};
use support::{
    Gateway, LOCAL,
    backend::Echo,
    client::{Answer, Connection, get},
    config::{Config, prefix, set, step},
};

/// The built-in policies.
static COMPONENTS: LazyLock<HashMap<String, Vec<u8>>> = LazyLock::new(|| {
    let workspace = xtask_components::root().join("filters");
    let target = xtask_components::target_dir().join("filters");
    let components = xtask_components::build(&workspace, &target).expect("the filters build");
    components.into_iter().map(|component| (component.name, component.bytes)).collect()
});

fn host() -> Host {
    let host = Host::new(HostConfig { max_instances: 64, ..HostConfig::default() });
    let host = host.expect("a filter host");
    for name in ["header-rules", "path-rewrite"] {
        host.load(host.compile(&COMPONENTS[name]).expect("a module"));
    }
    host
}

fn gateway(configure: impl FnOnce(&mut Config)) -> Gateway {
    let options = ProxyOptions { workers: 1, bind: vec![LOCAL], ..ProxyOptions::default() };
    let proxy = Proxy::start(options, host()).expect("a proxy");
    Gateway::of(proxy, configure)
}

fn filter(config: &mut Config, name: &str, module: &str, json: &str) -> penstock_config::Step {
    let kind = if module == "path-rewrite" { PolicyKind::Paths } else { PolicyKind::Headers };
    let key = format!("test/{name}");
    config.state.insert(ResourceKind::Filter(Filter {
        name: key.clone(),
        kind: kind as i32,
        module: digest(&COMPONENTS[module]),
        config_json: json.into(),
        generation: 1,
        memory_bytes: 16 << 20,
        deadline_us: 100_000,
        on_failure: OnFailure::Closed as i32,
        ..Filter::default()
    }));
    step(StepAction::Policy(key))
}

fn seen(answer: &Answer, name: &str) -> String {
    answer.seen(name).unwrap_or_default()
}

#[test]
fn policies_and_native_steps_run_in_listed_order() {
    let echo = Echo::start("echo");
    let gateway = gateway(|config| {
        let backend = config.backend("echo", &[echo.address]);
        let constant = filter(
            config,
            "constant",
            "header-rules",
            r#"{"request":[{"set":{"x-c":"constant"}}]}"#,
        );
        let called = filter(
            config,
            "called",
            "header-rules",
            r#"{"request":[{"set":{"x-seen":"{header.x-c} {header.x-n} {path} {cookie.u|none}"}}],
                "response":[{"set":{"x-answer":"{status} {path} {response-header.x-backend}"}}]}"#,
        );
        config.rule(prefix("/"), |rule| {
            rule.filters = vec![
                step(StepAction::RequestHeaders(set("x-n", "native"))),
                constant,
                called,
                step(StepAction::RequestHeaders(set("x-c", "later"))),
                step(StepAction::ResponseHeaders(set("x-backend", "renamed"))),
            ];
            rule.backends = vec![backend];
        });
    });
    let mut client = Connection::open(gateway.address());
    client.send("GET /p?q HTTP/1.1\r\nHost: a\r\nCookie: u=me\r\n\r\n");
    let answer = client.answer();
    assert_eq!(seen(&answer, "x-seen"), "constant native /p me");
    assert_eq!(seen(&answer, "x-c"), "later");
    assert_eq!(answer.field("x-answer"), Some("200 /p renamed"), "reverse order");
    let metrics = gateway.proxy.metrics_text();
    assert!(metrics.contains("test/constant") && metrics.contains("test/called"), "{metrics}");
}

#[test]
fn a_path_policy_rewrites_redirects_and_chooses_a_backend() {
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let gateway = gateway(|config| {
        let one = config.backend("one", &[one.address]);
        let two = BackendChoice { weight: 0, ..config.backend("two", &[two.address]) };
        let paths = filter(
            config,
            "paths",
            "path-rewrite",
            r#"{"rules":[
                {"match":{"regex":"^/app/users/(?<id>[0-9]+)$"},"rewrite":{"path":"/accounts/{match.id}"}},
                {"match":{"prefix":"/app/old"},"redirect":{"status":308,"path":"/app/new{match.rest}"}},
                {"match":{"prefix":"/app/beta"},"backend":"two"},
                {"match":{"prefix":"/app/none"},"backend":"absent"},
                {"match":{"prefix":"/app/cut"},"rewrite":{"prefix":"/"}}]}"#,
        );
        config.rule(prefix("/app"), |rule| {
            rule.filters = vec![paths];
            rule.backends = vec![one, two];
        });
    });
    let mut client = Connection::open(gateway.address());
    let answer = client.get("a", "/app/users/7?q");
    assert!(answer.text().contains("GET /accounts/7?q "), "{}", answer.text());
    let answer = client.get("a", "/app/old/x");
    assert_eq!(answer.status, 308);
    assert!(answer.field("location").is_some_and(|to| to.ends_with("/app/new/x")), "{answer:?}");
    assert_eq!(client.get("a", "/app/beta").field("x-backend"), Some("two"), "weight 0 or not");
    assert_eq!(client.get("a", "/app/else").field("x-backend"), Some("one"));
    assert!(client.get("a", "/app/cut/x").text().contains("GET /cut/x "));
    let answer = client.get("a", "/app/none");
    assert_eq!((answer.status, answer.field("x-penstock-reason")), (500, Some("filter-fault")));
}

#[test]
fn a_filter_that_cannot_be_prepared_answers_500_on_its_rule_and_recovers() {
    let echo = Echo::start("echo");
    let mut gateway = gateway(|_| {});
    let configure = |json: &'static str| {
        let address = echo.address;
        move |config: &mut Config| {
            let backend = config.backend("echo", &[address]);
            let bad = filter(config, "bad", "header-rules", json);
            config.rule(prefix("/bad"), |rule| {
                rule.filters = vec![bad];
                rule.backends = vec![backend.clone()];
            });
            config.route_all(backend);
        }
    };
    let ack = gateway.apply(configure(r#"{"request":[{"sett":{}}]}"#));
    assert_eq!(ack.refused.len(), 1, "{:?}", ack.refused);
    assert_eq!(ack.refused[0].reason, "InvalidConfig");
    assert_eq!(ack.refused[0].key.name, "test/bad");
    assert_eq!(get(gateway.port, "a", "/bad").status, 500, "never skipped");
    assert_eq!(get(gateway.port, "a", "/good").status, 200);
    let ack = gateway.apply(configure(r#"{"request":[{"set":{"x-v":"2"}}]}"#));
    assert_eq!(ack.refused, []);
    assert_eq!(seen(&get(gateway.port, "a", "/bad"), "x-v"), "2");
}

#[test]
fn new_versions_of_a_filter_under_load_fail_no_request_and_mix_nothing() {
    let echo = Echo::start("echo");
    let configure = |version: u32| {
        let address = echo.address;
        move |config: &mut Config| {
            let backend = config.backend("echo", &[address]);
            let json = format!(
                r#"{{"request":[{{"set":{{"x-v":"{version} {{path}}"}}}}],
                    "response":[{{"set":{{"x-v":"{version} {{status}}"}}}}]}}"#
            );
            let versioned = filter(config, "versioned", "header-rules", &json);
            config.rule(prefix("/"), |rule| {
                rule.filters = vec![versioned];
                rule.backends = vec![backend];
            });
        }
    };
    let mut gateway = gateway(configure(0));
    let address = gateway.address();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let mut client = Connection::open(address);
                let mut answers = 0;
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    let answer = client.get("a", "/");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let request = seen(&answer, "x-v").replace('/', "200");
                    let response = answer.field("x-v").map(str::to_owned);
                    assert_eq!(Some(request), response, "one request, one version");
                    answers += 1;
                }
                answers
            })
        })
        .collect();
    for version in 1..=60 {
        assert_eq!(gateway.apply(configure(version)).refused, []);
        let answer = get(gateway.port, "a", "/");
        assert_eq!(seen(&answer, "x-v"), format!("{version} /"), "applied means served");
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    let answers: usize = load.into_iter().map(|thread| thread.join().expect("no failure")).sum();
    assert!(answers > 100, "{answers} answers");
}
