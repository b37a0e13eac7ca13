//! Families of the process: its version and configuration, workers, telemetry and resources.

use super::{
    Family,
    Kind::{Counter as C, Gauge as G, Info as I},
    Number, Report, family, reasons,
};
use crate::telemetry::metrics::{WorkerMetrics, sources::Sources};
use prometheus_client::registry::Unit;
use std::collections::BTreeMap;

pub(super) static FAMILIES: [Family; 19] = [
    family(I, "penstock_build", None, &["version"], "The version of this binary.", |_, report| {
        report(&[env!("CARGO_PKG_VERSION")], Number::One)
    }),
    // Configuration
    family(
        I,
        "penstock_config",
        None,
        &["version"],
        "The configuration in effect.",
        |s, report| {
            if let Some(version) = s.metrics.config.version() {
                report(&[&version], Number::One)
            }
        },
    ),
    family(
        C,
        "penstock_config_applies",
        None,
        &[],
        "Configurations that were put into effect.",
        |s, report| report(&[], Number::Count(s.metrics.config.applies())),
    ),
    family(
        C,
        "penstock_config_refusals",
        None,
        &["reason"],
        "Parts of configurations that were refused.",
        |s, report| reasons(&s.metrics.config.refusals(), &[], report),
    ),
    // Workers
    family(
        G,
        "penstock_worker_connections",
        None,
        &["worker"],
        "Client connections that are open.",
        |s, report| workers(s, report, |w| Number::Level(w.connections.get())),
    ),
    family(
        C,
        "penstock_worker_connections_accepted",
        None,
        &["worker"],
        "Client connections that were accepted.",
        |s, report| workers(s, report, |w| Number::Count(w.connections_accepted.get())),
    ),
    family(
        C,
        "penstock_worker_connections_closed",
        None,
        &["reason"],
        "Client connections that were closed by a limit or a timeout.",
        |s, report| {
            let mut total = BTreeMap::new();
            s.metrics.workers.each().for_each(|w| w.connections_closed.add_to(&mut total));
            reasons(&total, &[], report);
        },
    ),
    family(
        C,
        "penstock_worker_requests",
        None,
        &["worker"],
        "Requests whose exchange has ended.",
        |s, report| workers(s, report, |w| Number::Count(w.requests.get())),
    ),
    family(
        G,
        "penstock_worker_requests_active",
        None,
        &["worker"],
        "Requests in flight.",
        |s, report| workers(s, report, |w| Number::Level(w.requests_active.get())),
    ),
    // Series in use, beside their bounds
    family(
        G,
        "penstock_metric_series",
        None,
        &["label"],
        "Different values of a label without a fixed set.",
        |s, report| {
            for (label, used, _) in bounds(s) {
                report(&[label], Number::Level(used as i64));
            }
        },
    ),
    family(
        G,
        "penstock_metric_series_bound",
        None,
        &["label"],
        "Bound on the different values of a label; what comes later is counted as overflow.",
        |s, report| {
            for (label, _, bound) in bounds(s) {
                report(&[label], Number::Level(bound as i64));
            }
        },
    ),
    // Telemetry itself
    family(
        C,
        "penstock_trace_spans_exported",
        None,
        &[],
        "Spans that the OTLP receiver took.",
        |s, report| {
            if let Some(stats) = &s.export {
                report(&[], Number::Count(stats.exported()));
            }
        },
    ),
    family(
        C,
        "penstock_trace_spans_failed",
        None,
        &[],
        "Spans that the OTLP receiver did not take.",
        |s, report| {
            if let Some(stats) = &s.export {
                report(&[], Number::Count(stats.failed()));
            }
        },
    ),
    family(
        C,
        "penstock_trace_queue_dropped",
        None,
        &[],
        "Traced requests and spans that found the exporter's queue full.",
        |s, report| {
            if let Some(tracer) = &s.tracer {
                report(&[], Number::Count(tracer.dropped()));
            }
        },
    ),
    family(C, "penstock_access_log_lines", None, &[], "Lines of the access log.", |s, report| {
        if let Some(log) = &s.log {
            report(&[], Number::Count(log.written()));
        }
    }),
    family(
        C,
        "penstock_access_log_dropped",
        None,
        &[],
        "Requests without a line, because the queue was full or the line could not be written.",
        |s, report| {
            if let Some(log) = &s.log {
                report(&[], Number::Count(log.dropped()));
            }
        },
    ),
    // The process
    family(
        C,
        "penstock_process_cpu",
        Some(Unit::Seconds),
        &[],
        "CPU time of the process.",
        |s, report| {
            if let Some(process) = &s.process {
                report(&[], Number::Amount(process.cpu_seconds));
            }
        },
    ),
    family(
        G,
        "penstock_process_resident_memory",
        Some(Unit::Bytes),
        &[],
        "Resident memory of the process.",
        |s, report| {
            if let Some(process) = &s.process {
                report(&[], Number::Level(process.resident_bytes as i64));
            }
        },
    ),
    family(
        G,
        "penstock_process_open_fds",
        None,
        &[],
        "Open file descriptors of the process.",
        |s, report| {
            if let Some(process) = &s.process {
                report(&[], Number::Level(process.open_fds as i64));
            }
        },
    ),
];

fn workers(sources: &Sources, report: &mut Report<'_>, number: impl Fn(&WorkerMetrics) -> Number) {
    for (worker, cells) in sources.metrics.workers.each().enumerate() {
        report(&[&worker.to_string()], number(cells));
    }
}

fn bounds(sources: &Sources) -> [(&'static str, usize, usize); 4] {
    let metrics = &sources.metrics;
    [
        ("route", metrics.routes.len(), metrics.routes.bound()),
        ("filter", metrics.filters.len(), metrics.filters.bound()),
        ("listener", metrics.listeners.len(), metrics.listeners.bound()),
        ("backend", metrics.backends.len(), metrics.backends.bound()),
    ]
}
