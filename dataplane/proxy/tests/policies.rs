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

fn host(max_instances: u32) -> Host {
    let host = Host::new(HostConfig { max_instances, ..HostConfig::default() });
    let host = host.expect("a filter host");
    for name in ["header-rules", "path-rewrite"] {
        host.load(host.compile(&COMPONENTS[name]).expect("a module"));
    }
    host
}

fn gateway(configure: impl FnOnce(&mut Config)) -> Gateway {
    gateway_of(1, 64, configure)
}

fn gateway_of(workers: usize, max_instances: u32, configure: impl FnOnce(&mut Config)) -> Gateway {
    let options = ProxyOptions { workers, bind: vec![LOCAL], ..ProxyOptions::default() };
    let proxy = Proxy::start(options, host(max_instances)).expect("a proxy");
    Gateway::of(proxy, configure)
}

fn filter(config: &mut Config, name: &str, module: &str, json: &str) -> penstock_config::Step {
    filter_with(config, name, module, json, |_| {})
}

fn filter_with(
    config: &mut Config,
    name: &str,
    module: &str,
    json: &str,
    change: impl FnOnce(&mut Filter),
) -> penstock_config::Step {
    let kind = if module == "path-rewrite" { PolicyKind::Paths } else { PolicyKind::Headers };
    let key = format!("test/{name}");
    let mut filter = Filter {
        name: key.clone(),
        kind: kind as i32,
        module: digest(&COMPONENTS[module]),
        config_json: json.into(),
        generation: 1,
        memory_bytes: 16 << 20,
        deadline_us: 100_000,
        on_failure: OnFailure::Closed as i32,
        ..Filter::default()
    };
    change(&mut filter);
    config.state.insert(ResourceKind::Filter(filter));
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

/// All requests go through the filter `one`.
fn through_one(
    echo: &Echo,
    json: &str,
    change: impl FnOnce(&mut Filter),
) -> impl FnOnce(&mut Config) {
    let backend = echo.address;
    move |config: &mut Config| {
        let backend = config.backend("echo", &[backend]);
        let one = filter_with(config, "one", "header-rules", json, change);
        config.rule(prefix("/"), |rule| {
            rule.filters = vec![one];
            rule.backends = vec![backend];
        });
    }
}

const GOOD: &str = r#"{"request":[{"set":{"x-v":"good {path}"}}]}"#;
const BAD: &str = r#"{"request":[{"sett":{}}]}"#;

#[test]
fn the_last_good_generation_serves_on_while_a_later_one_is_refused() {
    let echo = Echo::start("echo");
    let grant = |grants: &'static [&str], generation| {
        move |filter: &mut Filter| {
            filter.grants = grants.iter().map(|grant| (*grant).to_owned()).collect();
            filter.generation = generation;
        }
    };
    let mut gateway = gateway(through_one(&echo, GOOD, grant(&["log"], 1)));
    let key = penstock_config::Key::new(penstock_config::Kind::Filter, "test/one");
    for generation in 2..4 {
        let ack = gateway.apply(through_one(&echo, BAD, grant(&["clock", "log"], generation)));
        assert_eq!(ack.refused.len(), 1, "{:?}", ack.refused);
        assert_eq!((&ack.refused[0].key, ack.refused[0].reason), (&key, "InvalidConfig"));
        let message = &ack.refused[0].message;
        assert!(message.contains("; generation 1 (module sha256:"), "{message}");
        assert!(message.ends_with(" serves on"), "{message}");
        assert_eq!(ack.kept, std::slice::from_ref(&key));
        assert_eq!(seen(&get(gateway.port, "a", "/"), "x-v"), "good /");
        let dump = gateway.proxy.config_dump();
        let shown = &dump["resources"]["filter"]["test/one"];
        assert_eq!(
            (&shown["generation"], &shown["serving"]["generation"]),
            (&generation.into(), &1.into())
        );
    }
    let better = GOOD.replace("good", "better");
    let ack = gateway.apply(through_one(&echo, &better, grant(&["log"], 4)));
    assert_eq!((ack.refused, ack.kept), (vec![], vec![]));
    assert_eq!(seen(&get(gateway.port, "a", "/"), "x-v"), "better /");
    assert!(gateway.proxy.config_dump()["resources"]["filter"]["test/one"]["serving"].is_null());

    let ack = gateway.apply(through_one(&echo, BAD, grant(&[], 5)));
    let message = &ack.refused[0].message;
    assert!(message.contains("does not serve on: spec.grants no longer lists log"), "{message}");
    assert_eq!(ack.kept, []);
    assert_eq!(get(gateway.port, "a", "/").status, 500, "a withdrawn grant is withdrawn");
    gateway.apply(through_one(&echo, BAD, grant(&["log"], 6)));
    assert_eq!(get(gateway.port, "a", "/").status, 500, "nothing serves that could serve on");
}

#[test]
fn what_one_worker_cannot_prepare_no_worker_serves() {
    let echo = Echo::start("echo");
    let generation = |number: u64| {
        move |filter: &mut Filter| {
            filter.generation = number;
            // Another limit, so instances of its own.
            filter.memory_bytes = (16 << 20) + (number << 16);
        }
    };
    let json = |number: u64| format!(r#"{{"request":[{{"set":{{"x-v":"{number} {{path}}"}}}}]}}"#);
    // Two workers with two instances each, and one more: enough to try another generation, and
    // for one worker to prepare it, but not for both.
    let mut gateway = gateway_of(2, 5, through_one(&echo, &json(1), generation(1)));
    assert!(gateway.proxy.host().is_pooled(), "without a pool nothing is scarce");
    let ack = gateway.apply(through_one(&echo, &json(2), generation(2)));
    assert_eq!(ack.refused.len(), 1, "{:?}", ack.refused);
    assert_eq!(ack.refused[0].reason, "ModuleInvalid");
    assert_eq!(ack.kept.len(), 1, "{:?}", ack.refused);
    for _ in 0..40 {
        assert_eq!(seen(&get(gateway.port, "a", "/"), "x-v"), "1 /", "on every worker");
    }
    let ack = gateway.apply(through_one(&echo, &json(3), |filter| generation(1)(filter)));
    assert_eq!((ack.refused, ack.kept), (vec![], vec![]), "the same instances take it");
    for _ in 0..40 {
        assert_eq!(seen(&get(gateway.port, "a", "/"), "x-v"), "3 /");
    }
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
