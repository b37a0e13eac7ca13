//! What is counted of addresses and of calls. Every label is one of a few words.

use penstock_eni::{Desk, Reason};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{collections::BTreeMap, time::Duration};

/// Seconds of a call: from 10 ms to its end.
const SECONDS: [f64; 10] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// Handles; clones count together.
#[derive(Clone, Debug)]
pub struct AddressMetrics {
    calls: Family<Call, Counter>,
    seconds: Family<Name, Histogram>,
    waiting: Family<Name, Gauge>,
    rate: Family<Name, Gauge<f64, std::sync::atomic::AtomicU64>>,
    addresses: Family<State, Gauge>,
    problems: Family<ProblemOf, Gauge>,
    findings: Family<ProblemOf, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    call: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    call: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProblemOf {
    reason: &'static str,
}

impl AddressMetrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            calls: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            waiting: Family::default(),
            rate: Family::default(),
            addresses: Family::default(),
            problems: Family::default(),
            findings: Family::default(),
        };
        let Self { calls, seconds, waiting, rate, addresses, problems, findings } = metrics.clone();
        registry.register("ec2_calls", "Calls of EC2, by what became of them.", calls);
        registry.register("ec2_seconds", "How long a call of EC2 takes.", seconds);
        registry.register("ec2_waiting", "Calls that wait for their budget.", waiting);
        let help = "Calls of EC2 for each second, as learnt from its refusals.";
        registry.register("ec2_rate", help, rate);
        registry.register("addresses", "Addresses of all nodes.", addresses);
        let help = "Nodes whose pods may wait for addresses, by reason.";
        registry.register("address_problems", help, problems);
        let help = "What EC2 does not permit, or not find, as a new leader asked it, by reason.";
        registry.register("ec2_findings", help, findings);
        metrics
    }

    pub(super) fn called(&self, call: &'static str, failed: Option<Reason>, took: Duration) {
        let result = failed.map_or("ok", Reason::as_str);
        self.calls.get_or_create(&Call { call, result }).inc();
        self.seconds.get_or_create(&Name { call }).observe(took.as_secs_f64());
    }

    /// What stands in the way, by reason, once for each; none for a replica that does not lead.
    pub(super) fn found(&self, reasons: impl Iterator<Item = &'static str>) {
        self.findings.clear();
        for reason in reasons {
            self.findings.get_or_create(&ProblemOf { reason }).inc();
        }
    }

    /// What a desk knows now; without one, nothing.
    pub(super) fn look(&self, desk: Option<&Desk>) {
        self.waiting.clear();
        self.rate.clear();
        let (mut states, mut problems) = (BTreeMap::new(), BTreeMap::<_, i64>::new());
        for state in ["used", "free", "pending"] {
            states.insert(state, 0);
        }
        for (_, machine) in desk.into_iter().flat_map(Desk::nodes) {
            let node = machine.node();
            let (used, available) = (node.demand.in_use(), node.available());
            let counts = [
                ("used", used),
                ("free", available.saturating_sub(used)),
                ("pending", node.demand.pending),
            ];
            counts.iter().for_each(|(state, count)| {
                *states.entry(*state).or_default() += i64::from(*count);
            });
            if let Some(problem) = machine.problem() {
                *problems.entry(problem.reason.as_str()).or_default() += 1;
            }
        }
        for (state, count) in states {
            self.addresses.get_or_create(&State { state }).set(count);
        }
        self.problems.clear();
        for (reason, count) in problems {
            self.problems.get_or_create(&ProblemOf { reason }).set(count);
        }
        let queue = desk.map(Desk::queue);
        for (call, count) in queue.iter().flat_map(|queue| queue.waiting()) {
            self.waiting
                .get_or_create(&Name { call })
                .set(i64::try_from(count).unwrap_or(i64::MAX));
            let rate = queue.map_or(0.0, |queue| queue.rate(call));
            self.rate.get_or_create(&Name { call }).set(rate);
        }
    }
}
