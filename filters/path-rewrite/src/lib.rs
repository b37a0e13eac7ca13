//! Path rewrite: ordered rules that rewrite, redirect or choose a backend.

mod config;
mod pattern;
mod rule;
#[cfg(test)]
mod tests;

use penstock_filter::plan::path;
use penstock_filter::{
    About, Fault, Inputs, PathDecision, PathPolicy, Problem, Problems, Slot, Stage,
    export_path_policy, shared_conditions,
};

use config::Config;
use rule::{Rule, conditions as conditions_of};

/// The rules of one `WasmFilter`.
#[derive(Debug)]
pub struct PathRewrite {
    stage: Stage,
    path: Slot,
    rules: Vec<Rule>,
}

impl PathPolicy for PathRewrite {
    type Config = Config;

    fn configure(config: Config, _: &About) -> Result<PathRewrite, Problems> {
        let mut problems = Problems::new();
        if config.rules.is_empty() {
            problems.push(Problem::at("/rules", "give at least one rule"));
        }
        let pointer = |at| format!("/rules/{at}");
        let conditions = config.rules.iter().enumerate();
        let conditions = conditions.map(|(at, r)| conditions_of(r, &pointer(at), &mut problems));
        let (shared, own) = shared_conditions(conditions.collect());
        let mut stage = shared.into_iter().fold(Stage::new(), Stage::when);
        let path = stage.input(path());
        let rules = config.rules.iter().zip(own).enumerate().filter_map(|(at, (rule, own))| {
            Rule::compile(rule, own, &pointer(at), &mut stage, &mut problems)
        });
        let rules: Vec<_> = rules.collect();
        if let Some(guard) = pattern::guard(rules.iter().map(Rule::pattern)) {
            stage = stage.when(guard);
        }
        if config.remember > 0 {
            stage = stage.memo(config.remember);
        }
        if problems.is_empty() { Ok(PathRewrite { stage, path, rules }) } else { Err(problems) }
    }

    fn stage(&self) -> Stage {
        self.stage.clone()
    }

    fn decide(&self, inputs: &Inputs<'_>) -> Result<PathDecision, Fault> {
        let path = inputs.get(self.path).unwrap_or("/");
        let decided = self.rules.iter().find_map(|rule| rule.decide(path, inputs));
        decided.unwrap_or(Ok(PathDecision::Next))
    }
}

export_path_policy!(PathRewrite, include_str!("../README.md"));
