//! Nanoseconds from a change of one route to what nodes and users are told of it, at 1, 1,000 and
//! 5,000 routes. Run it with `cargo run --release -p penstock-gateway --example translate`.

use penstock_gateway::{Confirmation, Index, Mode, Settings, Translator, translate};
use penstock_resources::Object;
use serde_json::{Value, json};
use std::{hint::black_box, time::Instant};

/// Changes; the median one is shown.
const CHANGES: usize = 51;

fn main() {
    for count in [1, 1_000, 5_000] {
        let mut index = index(count);
        let mut anew = Vec::new();
        for _ in 0..5 {
            anew.push(time(|| translate(&index)).0);
        }
        show("translate anew", count, anew);

        let mut translator = Translator::default();
        let mut before = translator.translate(&index);
        let acknowledged = Confirmation { acknowledged: true, ..Confirmation::default() };
        let mut said = before.statuses.confirm(&acknowledged);
        let mut times: [Vec<f64>; 6] = Default::default();
        for change in 0..CHANGES {
            let number = change * 7_919 % count;
            let object = object(route(number, &format!("/changed-{change}")));
            let (apply, changed) = time(|| index.apply(object));
            assert!(changed);
            let (translate, after) = time(|| translator.translate(&index));
            let (version, new) = time(|| after.state.version());
            assert!(new != before.state.version());
            let (diff, delta) = time(|| before.state.diff(&after.state));
            assert_eq!(delta.upserts.len() + delta.removals.len(), 2);
            let (confirm, statuses) = time(|| after.statuses.confirm(&acknowledged));
            let (compare, _) = time(|| {
                let same = |old: &_, new: &_| old == new;
                black_box(said.http_routes.differences(&statuses.http_routes, same).len())
            });
            for (times, time) in
                times.iter_mut().zip([apply, translate, version, diff, confirm, compare])
            {
                times.push(time);
            }
            (before, said) = (after, statuses);
        }
        let names = [
            "object into the index",
            "translate a changed route",
            "version of the configuration",
            "difference for the nodes",
            "statuses with the nodes' answer",
            "statuses that changed",
        ];
        names.into_iter().zip(times).for_each(|(name, times)| show(name, count, times));
    }
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

fn index(count: usize) -> Index {
    let mut index = Index::new(Settings { mode: Mode::Cluster, ..Settings::default() });
    for value in [
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": "penstock", "generation": 1},
            "spec": {"controllerName": "penstock.dev/gateway-controller"}}),
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "gw", "namespace": "bench", "generation": 1},
            "spec": {"gatewayClassName": "penstock", "listeners": [
                {"name": "http", "port": 80, "protocol": "HTTP"}]}}),
    ] {
        index.apply(object(value));
    }
    for number in 0..count {
        let name = format!("s{number}");
        let service = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "bench"}, "spec": {"ports": [{"port": 80}]}});
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": format!("{name}-1"), "namespace": "bench",
                "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "ports": [{"port": 8080}],
            "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}]});
        for value in [service, slice, route(number, "/")] {
            index.apply(object(value));
        }
    }
    index
}

fn route(number: usize, path: &str) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": format!("r{number}"), "namespace": "bench", "generation": 1},
        "spec": {
            "parentRefs": [{"name": "gw"}],
            "hostnames": [format!("r{number}.example.com")],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": path}}],
                "backendRefs": [{"name": format!("s{number}"), "port": 80}]}]}})
}

fn object(value: Value) -> Object {
    Object::from_json(value).expect("a known kind")
}
