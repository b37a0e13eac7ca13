//! Header rules: set, append and remove fields of requests and responses.

mod config;
mod names;
mod rules;
#[cfg(test)]
mod tests;

use penstock_filter::{
    About, Decision, Fault, HeaderPolicy, Inputs, Problems, Stage, export_header_policy,
};

use config::Config;
use rules::{Rules, Side};

/// The rules of one `WasmFilter`.
#[derive(Debug)]
pub struct HeaderRules {
    request: Option<Rules>,
    response: Option<Rules>,
}

impl HeaderPolicy for HeaderRules {
    type Config = Config;

    fn configure(config: Config, _: &About) -> Result<HeaderRules, Problems> {
        let mut problems = Problems::new();
        let mut compile = |rules, side| Rules::compile(rules, side, config.remember, &mut problems);
        let request = compile(&config.request, Side::Request);
        let response = compile(&config.response, Side::Response);
        if problems.is_empty() { Ok(HeaderRules { request, response }) } else { Err(problems) }
    }

    fn request_stage(&self) -> Option<Stage> {
        self.request.as_ref().map(Rules::stage)
    }

    fn response_stage(&self) -> Option<Stage> {
        self.response.as_ref().map(Rules::stage)
    }

    fn on_request(&self, inputs: &Inputs<'_>) -> Result<Decision, Fault> {
        Ok(self.request.as_ref().map(|rules| rules.edits(inputs)).unwrap_or_default().into())
    }

    fn on_response(&self, inputs: &Inputs<'_>) -> Result<Decision, Fault> {
        Ok(self.response.as_ref().map(|rules| rules.edits(inputs)).unwrap_or_default().into())
    }
}

export_header_policy!(HeaderRules, include_str!("../README.md"));
