//! Nanoseconds for one route lookup at 1, 100 and 10,000 routes. Run it with
//! `cargo run --release -p penstock-proxy --example route_lookup`.

use http::{HeaderMap, Method};
use penstock_config::{Attachment, HttpMatch, PathMatch, Rule};
use penstock_proxy::routing::{HostName, RouteTable, Target};
use std::{hint::black_box, time::Instant};

/// Lookups of a batch.
const BATCH: usize = 10_000;
/// Batches; the median one is shown.
const BATCHES: usize = 101;

/// How the routes differ.
#[derive(Clone, Copy)]
enum Shape {
    /// One hostname, a path prefix for each.
    Prefixes,
    /// One hostname, an exact path for each.
    Exact,
    /// A hostname for each.
    Hosts,
    /// A wildcard hostname for each, below them a path prefix.
    Wildcards,
}

fn main() {
    for (name, shape) in [
        ("prefix", Shape::Prefixes),
        ("exact path", Shape::Exact),
        ("host", Shape::Hosts),
        ("wildcard host and prefix", Shape::Wildcards),
    ] {
        for count in [1, 100, 10_000] {
            println!("{name}, {count} routes: {:.1} ns", measure(shape, count));
        }
    }
}

fn measure(shape: Shape, count: usize) -> f64 {
    let rules: Vec<Rule> = (0..count).map(|number| rule(shape, number)).collect();
    let (table, errors) = RouteTable::build(&[("g/l", "")], &rules.iter().collect::<Vec<_>>());
    assert!(errors.is_empty());
    // Every route in turn, in an order that the caches do not know.
    let requests: Vec<(String, String)> =
        (0..1_024).map(|n| request(shape, n * 7_919 % count)).collect();
    let headers = HeaderMap::new();
    let mut times: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let started = Instant::now();
            for number in 0..BATCH {
                let (authority, path) = &requests[number % requests.len()];
                let host = HostName::of_authority(authority);
                let target = Target { method: &Method::GET, path, query: None, headers: &headers };
                let hit = table.listener(&host).and_then(|l| l.route(host.as_str(), &target));
                assert!(black_box(hit).is_some());
            }
            started.elapsed().as_nanos() as f64 / BATCH as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[BATCHES / 2]
}

fn rule(shape: Shape, number: usize) -> Rule {
    let (hostname, path) = match shape {
        Shape::Prefixes => (String::new(), PathMatch::Prefix(format!("/api/v1/service-{number}"))),
        Shape::Exact => (String::new(), PathMatch::Exact(format!("/api/v1/service-{number}"))),
        Shape::Hosts => (format!("s{number}.example.com"), PathMatch::Prefix("/".into())),
        Shape::Wildcards => {
            (format!("*.s{number}.example.com"), PathMatch::Prefix("/api/v1".into()))
        }
    };
    Rule {
        route: format!("bench/r{number}"),
        attachments: vec![Attachment { listener: "g/l".into(), hostnames: vec![hostname] }],
        matches: vec![HttpMatch { path: Some(path), ..HttpMatch::default() }],
        ..Rule::default()
    }
}

fn request(shape: Shape, number: usize) -> (String, String) {
    match shape {
        Shape::Prefixes => {
            ("shop.example.com".into(), format!("/api/v1/service-{number}/items/17"))
        }
        Shape::Exact => ("shop.example.com".into(), format!("/api/v1/service-{number}")),
        Shape::Hosts => (format!("s{number}.example.com:8080"), "/index.html".into()),
        Shape::Wildcards => (format!("eu.west.s{number}.example.com"), "/api/v1/items".into()),
    }
}
