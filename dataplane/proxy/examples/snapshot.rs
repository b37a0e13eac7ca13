//! Nanoseconds to build the snapshot of a configuration in which one route changed, at 1, 1,000 and
//! 5,000 routes. Run it with `cargo run --release -p penstock-proxy --example snapshot`.

use penstock_config::{
    Attachment, Backend, BackendChoice, Endpoint, Endpoints, Gateway, HttpMatch, Listener,
    PathMatch, ResourceKind, Rule, State,
};
use penstock_filter_host::{Host, HostConfig};
use penstock_proxy::{
    snapshot::{Context, Snapshot},
    telemetry::{Metrics, MetricsOptions},
};
use std::{hint::black_box, sync::Arc, time::Instant};

/// Changes; the median one is shown.
const CHANGES: usize = 51;

/// How the routes differ.
#[derive(Clone, Copy)]
enum Shape {
    /// A hostname for each.
    Hosts,
    /// One hostname, a path prefix for each.
    Prefixes,
}

fn main() {
    let host = Host::new(HostConfig::default()).expect("a host");
    for (name, shape) in [("host", Shape::Hosts), ("prefix", Shape::Prefixes)] {
        for count in [1, 1_000, 5_000] {
            measure(&host, name, shape, count);
        }
    }
}

fn measure(host: &Host, name: &str, shape: Shape, count: usize) {
    let metrics = Metrics::new(MetricsOptions::new(2));
    let build = |state: &Arc<State>, previous: &Snapshot| {
        let context = Context { host, metrics: &metrics, previous, unprepared: &[] };
        time(|| Snapshot::build(state.clone(), &context).0)
    };
    let mut state = Arc::new(state(shape, count));
    let empty = Snapshot::empty();
    let anew: Vec<f64> = (0..5).map(|_| build(&state, &empty).0).collect();
    show(&format!("snapshot anew, {name}"), count, anew);
    let mut previous = build(&state, &empty).1;
    let (mut times, mut drops) = (Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let number = change * 7_919 % count;
        let mut changed = State::clone(&state);
        let mut rule = rule(shape, number);
        rule.request_timeout_ms = 1 + change as u64;
        rule.matches[0].method = ["GET", "PUT"][change % 2].into();
        changed.insert(ResourceKind::Rule(rule));
        state = Arc::new(changed);
        let (took, snapshot) = build(&state, &previous);
        times.push(took);
        let old = std::mem::replace(&mut previous, snapshot);
        drops.push(time(|| drop(old)).0);
    }
    show(&format!("snapshot of a changed rule, {name}"), count, times);
    show(&format!("end of a snapshot, {name}"), count, drops);
}

fn time<T>(what: impl FnOnce() -> T) -> (f64, T) {
    let started = Instant::now();
    let result = black_box(what());
    (started.elapsed().as_nanos() as f64, result)
}

fn show(name: &str, count: usize, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    println!("{name}, {count} routes: {:.1} ns", times[times.len() / 2]);
}

fn state(shape: Shape, count: usize) -> State {
    let listener = Listener {
        gateway: "n/gw".into(),
        section: "http".into(),
        port: 80,
        ..Listener::default()
    };
    let mut state = State::from_iter([
        ResourceKind::Gateway(Gateway { name: "n/gw".into(), ..Gateway::default() }),
        ResourceKind::Listener(listener),
    ]);
    for number in 0..count {
        let name = format!("n/s{number}:80");
        let endpoints = vec![Endpoint { host: "10.0.0.1".into(), port: 8080 }];
        state.insert(ResourceKind::Backend(Backend { name: name.clone(), protocol: 0 }));
        state.insert(ResourceKind::Endpoints(Endpoints { backend: name, endpoints }));
        state.insert(ResourceKind::Rule(rule(shape, number)));
    }
    state
}

fn rule(shape: Shape, number: usize) -> Rule {
    let (hostname, path) = match shape {
        Shape::Hosts => (format!("r{number}.example.com"), "/".to_owned()),
        Shape::Prefixes => (String::new(), format!("/api/v1/service-{number}")),
    };
    let path = Some(PathMatch::Prefix(path));
    let choice =
        BackendChoice { backend: format!("n/s{number}:80"), weight: 1, ..BackendChoice::default() };
    Rule {
        route: format!("n/r{number}"),
        id: "0".into(),
        attachments: vec![Attachment { listener: "n/gw/http".into(), hostnames: vec![hostname] }],
        matches: vec![HttpMatch { path, ..HttpMatch::default() }],
        backends: vec![choice],
        ..Rule::default()
    }
}
