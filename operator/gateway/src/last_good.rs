//! The last good generation of a `WasmFilter`: what serves on while a later one is refused.
//!
//! A generation is the digest of the module, its configuration, grants and limits: all of it stays,
//! or none.

use crate::condition::Problem;
use crate::facts::PlanSummary;
use penstock_config as config;
use penstock_resources::WasmFilter;
use penstock_resources::conditions::reasons;
use penstock_resources::wasm_filter::{OnFailure, OpaqueValues};

/// A generation of a filter that nodes have confirmed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LastGood {
    /// What the nodes serve.
    pub(crate) filter: config::Filter,
    /// What it asked for when it was configured; `None` where only the nodes know it.
    pub(crate) summary: Option<PlanSummary>,
}

impl LastGood {
    /// What nodes go on to be told while the filter as it is now has this problem, and the problem
    /// with that said in it.
    ///
    /// # Errors
    /// The problem, where a grant of this generation was withdrawn: what a user takes away is taken
    /// away, whatever else became of the change. Not while nothing is known about the module: then
    /// nothing is refused yet, and no change of this object is in force.
    pub(crate) fn serve_on(
        &self,
        filter: &WasmFilter,
        problem: &Problem,
    ) -> Result<(config::Filter, Problem), Problem> {
        let label = self.filter.generation_label();
        let said = |message| Problem::new(problem.reason, message);
        let pending = problem.reason == reasons::PENDING;
        let granted: Vec<&str> = match pending {
            true => self.filter.grants.iter().map(String::as_str).collect(),
            false => filter.spec.grants.iter().map(|grant| grant.name()).collect(),
        };
        let (on_failure, opaque_values) =
            (on_failure(filter.spec.on_failure), opaque_values(filter.spec.opaque_values));
        match self.filter.serving_on(&granted, on_failure, opaque_values) {
            Ok(on) if pending => Ok((on, said(format!("{}; {label} serves on", problem.message)))),
            Ok(on) => {
                let refused = self.refused(filter);
                let message =
                    format!("{refused} is refused: {}; {label} serves on", problem.message);
                Ok((on, said(message)))
            }
            Err(withdrawn) => Err(said(format!("{}; {withdrawn}", problem.message))),
        }
    }

    /// A module can change without the object.
    fn refused(&self, filter: &WasmFilter) -> String {
        let generation = filter.metadata.generation.and_then(|g| u64::try_from(g).ok());
        match generation.filter(|generation| *generation != self.filter.generation) {
            Some(generation) => format!("generation {generation}"),
            None => "what is there now".to_owned(),
        }
    }
}

/// For the nodes.
pub(crate) fn on_failure(spec: OnFailure) -> config::OnFailure {
    match spec {
        OnFailure::Closed => config::OnFailure::Closed,
        OnFailure::Open => config::OnFailure::Open,
    }
}

/// For the nodes.
pub(crate) fn opaque_values(spec: OpaqueValues) -> config::OpaqueValues {
    match spec {
        OpaqueValues::Reject => config::OpaqueValues::Reject,
        OpaqueValues::Lossy => config::OpaqueValues::Lossy,
    }
}
