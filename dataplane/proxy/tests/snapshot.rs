//! A snapshot that takes over from another one serves as one that is built from nothing.

use http::{HeaderMap, Method};
use penstock_config::{
    Attachment, Backend, BackendChoice, Endpoint, Endpoints, Filter, Gateway, HttpMatch, Listener,
    PathMatch, ResourceKind, Rule, State, Step, StepAction,
};
use penstock_filter_host::{Host, HostConfig};
use penstock_proxy::{
    routing::{HostName, Target},
    snapshot::{Context, Snapshot},
    telemetry::{Metrics, MetricsOptions},
};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

/// Section, port and hostname.
const LISTENERS: [(&str, u32, &str); 4] =
    [("any", 80, ""), ("wild", 80, "*.example.com"), ("other", 8080, ""), ("twin", 80, "")];
const HOSTS: [&str; 4] = ["", "*.example.com", "a.example.com", "b.example.com"];
const METHODS: [&str; 3] = ["", "GET", "PUT"];

fn paths() -> [PathMatch; 8] {
    [
        PathMatch::Prefix("/".into()),
        PathMatch::Prefix("/a/".into()),
        PathMatch::Prefix("/a/b/c".into()),
        PathMatch::Exact("/a".into()),
        PathMatch::Exact("/a/b".into()),
        PathMatch::Regex("/[ab]".into()),
        PathMatch::Regex("/a.*".into()),
        PathMatch::Regex("(".into()),
    ]
}

/// What a rule is; all by number.
#[derive(Clone, Debug)]
struct OneRule {
    listeners: Vec<usize>,
    hosts: Vec<usize>,
    matches: Vec<(usize, usize)>,
    created: i64,
    backend: usize,
    policy: bool,
}

#[derive(Clone, Debug)]
struct Configuration {
    listeners: [bool; LISTENERS.len()],
    rules: Vec<Option<OneRule>>,
    ports: [u32; 3],
    filter: u64,
}

fn one_rule() -> impl Strategy<Value = OneRule> {
    let listeners = prop::sample::subsequence((0..LISTENERS.len()).collect::<Vec<_>>(), 1..4);
    let hosts = prop::sample::subsequence((0..HOSTS.len()).collect::<Vec<_>>(), 1..3);
    let matches = prop::collection::vec((0..paths().len(), 0..METHODS.len()), 1..3);
    (listeners, hosts, matches, 0_i64..2, 0_usize..3, any::<bool>()).prop_map(
        |(listeners, hosts, matches, created, backend, policy)| OneRule {
            listeners,
            hosts,
            matches,
            created,
            backend,
            policy,
        },
    )
}

/// A place in the configuration, and what becomes of it.
#[derive(Clone, Debug)]
enum Change {
    Rule(usize, Option<OneRule>),
    Listener(usize, bool),
    Endpoints(usize, u32),
    Filter(u64),
}

fn step() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => (0_usize..6, prop::option::of(one_rule())).prop_map(|(at, rule)| Change::Rule(at, rule)),
        1 => (0..LISTENERS.len(), any::<bool>()).prop_map(|(at, there)| Change::Listener(at, there)),
        1 => (0_usize..3, 1_u32..3).prop_map(|(at, port)| Change::Endpoints(at, port)),
        1 => (0_u64..3).prop_map(Change::Filter),
    ]
}

fn state(configuration: &Configuration) -> State {
    let mut state = State::default();
    state.insert(ResourceKind::Gateway(Gateway { name: "n/g".into(), ..Gateway::default() }));
    let there = |at: &&usize| configuration.listeners[**at];
    for (at, (section, port, hostname)) in LISTENERS.iter().enumerate() {
        if there(&&at) {
            state.insert(ResourceKind::Listener(Listener {
                gateway: "n/g".into(),
                section: (*section).into(),
                port: *port,
                hostname: (*hostname).into(),
                ..Listener::default()
            }));
        }
    }
    let filter = Filter {
        name: "n/f".into(),
        module: "sha256:absent".into(),
        generation: configuration.filter,
        ..Filter::default()
    };
    state.insert(ResourceKind::Filter(filter));
    for (at, one) in configuration.rules.iter().enumerate() {
        let Some(one) = one else { continue };
        let attachment = |at: &usize| Attachment {
            listener: format!("n/g/{}", LISTENERS[*at].0),
            hostnames: one.hosts.iter().map(|host| HOSTS[*host].to_owned()).collect(),
        };
        let matched = |(path, method): &(usize, usize)| HttpMatch {
            path: Some(paths()[*path].clone()),
            method: METHODS[*method].into(),
            ..HttpMatch::default()
        };
        let backend = format!("n/b{}:80", one.backend);
        let policy = Step { action: Some(StepAction::Policy("n/f".into())) };
        state.insert(ResourceKind::Rule(Rule {
            route: format!("n/r{}", at / 2),
            id: format!("{}", at % 2),
            position: (at % 2) as u32,
            created: one.created,
            attachments: one.listeners.iter().filter(there).map(attachment).collect(),
            matches: one.matches.iter().map(matched).collect(),
            filters: one.policy.then_some(policy).into_iter().collect(),
            backends: vec![BackendChoice {
                backend: backend.clone(),
                weight: 1,
                ..BackendChoice::default()
            }],
            ..Rule::default()
        }));
        state.insert(ResourceKind::Backend(Backend { name: backend.clone(), protocol: 0 }));
        let port = configuration.ports[one.backend];
        let endpoints = vec![Endpoint { host: "10.0.0.1".into(), port }];
        state.insert(ResourceKind::Endpoints(Endpoints { backend, endpoints }));
    }
    state
}

/// All that a client, or somebody who asks what is refused, can tell of a snapshot.
fn seen(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let headers = HeaderMap::new();
    for (number, port) in &snapshot.ports {
        for host in ["a.example.com", "b.example.com", "c.example.com", "example.com"] {
            let Some(group) = port.table.listener(&HostName::of_authority(host)) else { continue };
            let listener = &port.listeners[group.first as usize].key;
            for path in ["/", "/a", "/a/b", "/a/b/c/d", "/b", "/c", "*"] {
                for method in [Method::GET, Method::PUT, Method::POST] {
                    let target = Target { method: &method, path, query: None, headers: &headers };
                    let found = group.route(host, &target).map(|hit| {
                        let rule = &snapshot.rules[hit.rule()];
                        let backend = rule.choices[0].backend.map(|index| {
                            let backend = &snapshot.backends[index];
                            format!("{} {:?}", backend.name, backend.endpoints)
                        });
                        let source = format!("{:?}", rule.source);
                        let steps = format!("{:?}", rule.program.request);
                        (&rule.key, hit.prefix(), hit.pattern(), backend, source, steps)
                    });
                    let request = format!("{number} {listener} {method} {host}{path}");
                    seen.insert(request, format!("{found:?}"));
                }
            }
        }
    }
    seen
}

static HOST: LazyLock<Host> = LazyLock::new(|| Host::new(HostConfig::default()).expect("a host"));

fn build(state: State, previous: &Snapshot, metrics: &Metrics) -> (Snapshot, Vec<String>) {
    let context = Context { host: &HOST, metrics, previous, unprepared: &[] };
    let (snapshot, refused) = Snapshot::build(Arc::new(state), &context);
    let mut refused: Vec<String> = refused.iter().map(|refusal| format!("{refusal:?}")).collect();
    refused.sort();
    (snapshot, refused)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_taken_over_serves_as_what_is_built_anew(
        series in prop::collection::vec(prop::collection::vec(step(), 1..5), 1..12),
    ) {
        let metrics = Metrics::new(MetricsOptions::new(1));
        let mut configuration = Configuration {
            listeners: [true; LISTENERS.len()],
            rules: vec![None; 6],
            ports: [1; 3],
            filter: 0,
        };
        let mut serving = Snapshot::empty();
        for steps in series {
            for step in steps {
                match step {
                    Change::Rule(at, rule) => configuration.rules[at] = rule,
                    Change::Listener(at, there) => configuration.listeners[at] = there,
                    Change::Endpoints(at, port) => configuration.ports[at] = port,
                    Change::Filter(generation) => configuration.filter = generation,
                }
            }
            let state = state(&configuration);
            let (next, refused) = build(state.clone(), &serving, &metrics);
            let (anew, refused_anew) = build(state, &Snapshot::empty(), &metrics);
            prop_assert_eq!(seen(&next), seen(&anew));
            prop_assert_eq!(refused, refused_anew);
            prop_assert_eq!(next.version, anew.version);
            prop_assert_eq!((next.rules.len(), next.backends.len()), (anew.rules.len(), anew.backends.len()));
            serving = next;
        }
    }
}
