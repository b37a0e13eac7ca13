//! Families of requests, listeners and upstreams.

use super::{
    Family,
    Kind::{Counter as C, Gauge as G, Histogram as H},
    Number, Report, buckets, family, nonzero, reasons,
};
use crate::telemetry::metrics::{
    BackendCells, ListenerCells, RouteCells, STATUS_CLASSES, Series,
    cells::{BOUNDS_NS, Counter, Histogram, HistogramTotal},
    sources::Sources,
};
use prometheus_client::registry::Unit;
use std::collections::BTreeMap;

/// Requests that no route took have this value as their route.
pub const UNROUTED: &str = "none";

pub(super) static FAMILIES: [Family; 15] = [
    // Requests
    family(
        C,
        "penstock_http_requests",
        None,
        &["route", "status_class"],
        "Requests by the class of the status that the client got.",
        |s, report| {
            routes(s, &mut |route, series| {
                by_class(series, |c: &RouteCells| &c.requests, route, report)
            })
        },
    ),
    family(
        H,
        "penstock_http_request_duration",
        Some(Unit::Seconds),
        &["route"],
        "Time from the head of a request to the end of its response.",
        |s, report| {
            routes(s, &mut |route, series| {
                report(&[route], spread(series, |c: &RouteCells| &c.duration))
            })
        },
    ),
    family(
        C,
        "penstock_http_request_body",
        Some(Unit::Bytes),
        &["route"],
        "Bytes of request bodies.",
        |s, report| {
            routes(s, &mut |route, series| {
                report(&[route], Number::Count(series.sum(|c| c.request_bytes.get())))
            })
        },
    ),
    family(
        C,
        "penstock_http_response_body",
        Some(Unit::Bytes),
        &["route"],
        "Bytes of response bodies.",
        |s, report| {
            routes(s, &mut |route, series| {
                report(&[route], Number::Count(series.sum(|c| c.response_bytes.get())))
            })
        },
    ),
    family(
        C,
        "penstock_http_errors",
        None,
        &["reason"],
        "Answers that the gateway made itself because something went wrong, and exchanges that broke off.",
        |s, report| {
            let mut total = BTreeMap::new();
            s.metrics.workers.each().for_each(|w| w.errors.add_to(&mut total));
            reasons(&total, &[], report);
        },
    ),
    // Listeners
    family(
        C,
        "penstock_listener_requests",
        None,
        &["listener", "protocol"],
        "Requests by the protocol that the client spoke.",
        |s, report| {
            for (name, series) in s.metrics.listeners.all() {
                for (protocol, label) in ["http/1", "h2"].into_iter().enumerate() {
                    let count = series.sum(|c: &ListenerCells| c.requests[protocol].get());
                    nonzero(&[&name, label], count, report);
                }
            }
        },
    ),
    family(
        C,
        "penstock_tls_handshakes",
        None,
        &["listener", "version"],
        "TLS handshakes that succeeded.",
        |s, report| {
            for (name, series) in s.metrics.listeners.all() {
                for (version, label) in ["TLSv1.2", "TLSv1.3"].into_iter().enumerate() {
                    let count = series.sum(|c: &ListenerCells| c.handshakes[version].get());
                    nonzero(&[&name, label], count, report);
                }
            }
        },
    ),
    family(
        C,
        "penstock_tls_handshake_failures",
        None,
        &["listener", "reason"],
        "TLS handshakes that failed or were refused.",
        |s, report| {
            for (name, series) in s.metrics.listeners.all() {
                let mut total = BTreeMap::new();
                series.each().for_each(|c: &ListenerCells| c.handshake_failures.add_to(&mut total));
                reasons(&total, &[&name], report);
            }
        },
    ),
    family(
        H,
        "penstock_tls_handshake_duration",
        Some(Unit::Seconds),
        &["listener"],
        "Time from the accepted connection to the end of a TLS handshake that succeeded.",
        |s, report| {
            for (name, series) in s.metrics.listeners.all() {
                if series.sum(|c| c.handshakes[0].get() + c.handshakes[1].get()) > 0 {
                    report(&[&name], spread(&series, |c: &ListenerCells| &c.handshake_duration));
                }
            }
        },
    ),
    // Upstreams
    family(
        C,
        "penstock_upstream_responses",
        None,
        &["backend", "status_class"],
        "Responses of upstreams.",
        |s, report| {
            backends(s, &mut |backend, series| {
                by_class(series, |c: &BackendCells| &c.responses, backend, report)
            })
        },
    ),
    family(
        C,
        "penstock_upstream_failures",
        None,
        &["backend", "reason"],
        "Tries that brought no response.",
        |s, report| {
            backends(s, &mut |backend, series| {
                let mut total = BTreeMap::new();
                series.each().for_each(|c| c.failures.add_to(&mut total));
                reasons(&total, &[backend], report);
            })
        },
    ),
    family(
        H,
        "penstock_upstream_response_duration",
        Some(Unit::Seconds),
        &["backend"],
        "Time from a try to the head of the upstream's response.",
        |s, report| {
            backends(s, &mut |backend, series| {
                report(&[backend], spread(series, |c: &BackendCells| &c.duration))
            })
        },
    ),
    family(
        G,
        "penstock_upstream_connections",
        None,
        &["backend"],
        "Upstream connections that are open.",
        |s, report| {
            backends(s, &mut |backend, series| {
                let open = series.each().map(|c| c.connections.get()).sum();
                report(&[backend], Number::Level(open))
            })
        },
    ),
    family(
        C,
        "penstock_upstream_connections_created",
        None,
        &["backend"],
        "Upstream connections that were made.",
        |s, report| {
            backends(s, &mut |backend, series| {
                report(&[backend], Number::Count(series.sum(|c| c.connections_created.get())))
            })
        },
    ),
    family(
        C,
        "penstock_upstream_connections_reused",
        None,
        &["backend"],
        "Tries that used a pooled connection.",
        |s, report| {
            backends(s, &mut |backend, series| {
                report(&[backend], Number::Count(series.sum(|c| c.connections_reused.get())))
            })
        },
    ),
];

fn routes(sources: &Sources, each: &mut dyn FnMut(&str, &Series<RouteCells>)) {
    each(UNROUTED, &sources.metrics.unrouted);
    for (name, series) in sources.metrics.routes.all() {
        each(&name, &series);
    }
}

fn backends(sources: &Sources, each: &mut dyn FnMut(&str, &Series<BackendCells>)) {
    for (name, series) in sources.metrics.backends.all() {
        each(&name, &series);
    }
}

fn by_class<T>(
    series: &Series<T>,
    counters: impl Fn(&T) -> &[Counter; STATUS_CLASSES.len()],
    name: &str,
    report: &mut Report<'_>,
) {
    for (class, label) in STATUS_CLASSES.into_iter().enumerate() {
        nonzero(&[name, label], series.sum(|cells| counters(cells)[class].get()), report);
    }
}

fn spread<T>(series: &Series<T>, histogram: impl Fn(&T) -> &Histogram) -> Number {
    let mut total = HistogramTotal::default();
    series.each().for_each(|cells| histogram(cells).add_to(&mut total));
    buckets(total.sum_ns as f64 / 1e9, &BOUNDS_NS, &total.buckets)
}
