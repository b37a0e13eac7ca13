//! What the status of a filter shows of its plan.

use penstock_filter_host::{Plan, Stage, Tier};
use penstock_gateway::PlanSummary;
use std::collections::BTreeSet;

/// The summary of a plan: what it reads (guards included) and may write, sorted, each once.
pub(crate) fn summary(plan: &Plan) -> PlanSummary {
    let stages = || plan.request.iter().chain(&plan.response);
    let reads: BTreeSet<String> = stages()
        .flat_map(|s| s.inputs.iter().chain(s.when.iter().map(|p| p.selector())))
        .map(ToString::to_string)
        .collect();
    let writes: BTreeSet<String> = stages().flat_map(|s| s.writes.patterns()).collect();
    PlanSummary {
        reads: reads.into_iter().collect(),
        writes: writes.into_iter().collect(),
        tier: tier(plan).to_owned(),
    }
}

/// The cheapest way in which decisions are made. A guard may spare the call that is made otherwise.
fn tier(plan: &Plan) -> &'static str {
    let guarded = |s: &Stage| !s.when.is_empty();
    match plan.tier() {
        Tier::Constant => "constant",
        Tier::GuardMiss => "guarded",
        Tier::Memo => "memo",
        Tier::Call
            if plan.request.iter().chain(&plan.response).all(guarded) && plan.tls.is_none() =>
        {
            "guarded"
        }
        Tier::Call => "call",
    }
}
