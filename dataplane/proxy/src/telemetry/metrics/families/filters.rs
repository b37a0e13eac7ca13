//! Families of filters.

use super::{
    Family,
    Kind::{Counter as C, Gauge as G, Histogram as H},
    Number, buckets, family, nonzero,
};
use crate::telemetry::record::FilterVerdict;
use penstock_filter_host::{CALL_TIME_BOUNDS, FilterFailure, Tier};
use prometheus_client::registry::Unit;

pub(super) static FAMILIES: [Family; 10] = [
    family(
        C,
        "penstock_filter_verdicts",
        None,
        &["filter", "verdict"],
        "What came of asking a policy.",
        |s, report| {
            for (name, series) in s.metrics.filters.all() {
                for (verdict, label) in FilterVerdict::NAMES.into_iter().enumerate() {
                    nonzero(&[&name, label], series.sum(|c| c.verdicts[verdict].get()), report);
                }
            }
        },
    ),
    family(
        C,
        "penstock_filter_steps",
        None,
        &["filter", "tier"],
        "Steps of a policy by what they cost: constant, guard miss, memo hit or call.",
        |s, report| {
            for stats in &s.filters {
                for tier in Tier::ALL {
                    report(&[&stats.filter, tier.name()], Number::Count(stats.steps(tier)));
                }
            }
        },
    ),
    family(
        C,
        "penstock_filter_failures",
        None,
        &["filter", "reason"],
        "Steps of a policy that failed.",
        |s, report| {
            for stats in &s.filters {
                for failure in FilterFailure::ALL {
                    let labels = [stats.filter.as_str(), failure.as_reason()];
                    nonzero(&labels, stats.failures(failure), report);
                }
            }
        },
    ),
    family(
        H,
        "penstock_filter_call_duration",
        Some(Unit::Seconds),
        &["filter"],
        "Time of calls into the policy.",
        |s, report| {
            for stats in &s.filters {
                let sum = stats.call_time_sum.as_secs_f64();
                report(&[&stats.filter], buckets(sum, &CALL_TIME_BOUNDS, &stats.call_times));
            }
        },
    ),
    family(
        G,
        "penstock_filter_instances",
        None,
        &["filter"],
        "Instances that serve the filter, spares included.",
        |s, report| {
            for stats in &s.filters {
                report(&[&stats.filter], Number::Level(stats.instances as i64));
            }
        },
    ),
    family(
        G,
        "penstock_filter_memory",
        Some(Unit::Bytes),
        &["filter"],
        "Linear memory of the filter's instances.",
        |s, report| {
            for stats in &s.filters {
                report(&[&stats.filter], Number::Level(stats.memory_bytes as i64));
            }
        },
    ),
    family(
        C,
        "penstock_filter_recycles",
        None,
        &["filter"],
        "Instances that were replaced because of their age or size.",
        |s, report| {
            for stats in &s.filters {
                report(&[&stats.filter], Number::Count(stats.recycles));
            }
        },
    ),
    family(
        G,
        "penstock_filter_quarantined",
        None,
        &["filter"],
        "1 while a version of the filter is in quarantine, else 0.",
        |s, report| {
            for stats in &s.filters {
                report(&[&stats.filter], Number::Level(stats.quarantined.into()));
            }
        },
    ),
    family(
        C,
        "penstock_filter_log_dropped",
        None,
        &["filter"],
        "Log lines of the filter beyond the rate that is allowed.",
        |s, report| {
            for stats in &s.filters {
                report(&[&stats.filter], Number::Count(stats.log_dropped));
            }
        },
    ),
    family(
        G,
        "penstock_filter_metrics_left_out",
        None,
        &[],
        "Series of filters' own that are not on this page because there are too many.",
        |s, report| report(&[], Number::Level(s.user_left_out as i64)),
    ),
];
