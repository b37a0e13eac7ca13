//! Every metric family: its name, its meaning and where its numbers come from.
//!
//! The table is the only place where a family is declared; `docs/reference/metrics.md` describes
//! the same families, which a test compares.

mod filters;
mod process;
mod traffic;

pub use traffic::UNROUTED;

use super::sources::Sources;
use prometheus_client::registry::Unit;
use std::collections::BTreeMap;

/// One family.
pub(super) struct Family {
    /// Name without unit and without `_total`.
    pub(super) name: &'static str,
    /// The unit, which ends the name.
    pub(super) unit: Option<Unit>,
    /// What kind of number it is.
    pub(super) kind: Kind,
    /// Meaning, a sentence.
    pub(super) help: &'static str,
    /// Names of the labels.
    pub(super) labels: &'static [&'static str],
    /// Reports all series.
    pub(super) read: fn(&Sources, &mut Report<'_>),
}

impl Family {
    /// Name of its samples, as one writes it in a query; a histogram's without `_bucket`.
    #[cfg(test)]
    pub(super) fn sample(&self) -> String {
        let unit = self.unit.as_ref().map(|unit| format!("_{}", unit.as_str()));
        let kind = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("{}{}{kind}", self.name, unit.unwrap_or_default())
    }
}

/// What kind of number a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

/// The number of a series.
pub(super) enum Number {
    /// Of a counter.
    Count(u64),
    /// Of a counter that is no whole number.
    Amount(f64),
    /// Of a gauge.
    Level(i64),
    /// Of a histogram: sum in seconds, then each bucket's upper bound in seconds and count alone.
    Spread(f64, Vec<(f64, u64)>),
    /// Of an info, which is always 1.
    One,
}

/// Takes the values of the labels, in the family's order, and the number.
pub(super) type Report<'a> = dyn FnMut(&[&str], Number) + 'a;

const fn family(
    kind: Kind,
    name: &'static str,
    unit: Option<Unit>,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Sources, &mut Report<'_>),
) -> Family {
    Family { name, unit, kind, help, labels, read }
}

/// All families, in the order of the page.
pub(super) fn all() -> impl Iterator<Item = &'static Family> {
    process::FAMILIES.iter().chain(&traffic::FAMILIES).chain(&filters::FAMILIES)
}

/// Reports counts by reason after the given labels.
fn reasons(counts: &BTreeMap<&'static str, u64>, labels: &[&str], report: &mut Report<'_>) {
    for (reason, count) in counts {
        report(&[labels, &[*reason]].concat(), Number::Count(*count));
    }
}

fn nonzero(labels: &[&str], count: u64, report: &mut Report<'_>) {
    if count > 0 {
        report(labels, Number::Count(count));
    }
}

fn buckets(sum: f64, bounds_ns: &[u64], counts: &[u64]) -> Number {
    let bounds = bounds_ns.iter().map(|bound| *bound as f64 / 1e9).chain([f64::INFINITY]);
    Number::Spread(sum, bounds.zip(counts.iter().copied()).collect())
}
