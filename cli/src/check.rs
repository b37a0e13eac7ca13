//! `penstock check`: what a cluster would say of the objects in files.

use crate::{
    args::{CheckArgs, ReportFormat},
    control::{Controller, Verdict},
    loader::{self, Diagnostic},
    sources,
};
use anyhow::Context as _;
use penstock_filter_host::{Host, HostConfig};
use penstock_gateway::Mode;
use penstock_modules::Modules;
use serde_json::{Value, json};
use std::{fmt::Write as _, io::Write as _, process::ExitCode};

/// What was found out about the objects of some files.
struct Report {
    /// Files with values of the chart.
    values: usize,
    objects: usize,
    verdicts: Vec<Verdict>,
    diagnostics: Vec<Diagnostic>,
}

/// Checks and prints. The exit code is 0 when everything is accepted and resolved, 1 when something
/// is not.
///
/// # Errors
/// When nothing can be read, or the result cannot be written.
pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let report = examine(args)?;
    let text = match args.output {
        ReportFormat::Text => report.text(),
        ReportFormat::Json => format!("{:#}\n", report.json()),
        ReportFormat::Yaml => serde_saphyr::to_string(&report.json())?,
    };
    std::io::stdout().write_all(text.as_bytes()).context("cannot write the result")?;
    Ok(ExitCode::from(u8::from(!report.is_good())))
}

fn examine(args: &CheckArgs) -> anyhow::Result<Report> {
    let values = loader::read(&args.values);
    let mut diagnostics = loader::check_values(&values)?;
    let values = values.files.len();
    let snapshot = loader::read(&args.paths);
    if snapshot.files.is_empty() && !args.paths.is_empty() {
        let found: Vec<String> = snapshot.diagnostics.iter().map(ToString::to_string).collect();
        anyhow::bail!(
            "nothing to check: no file ends in .yaml, .yml or .json\n{}",
            found.join("\n")
        );
    }
    let loaded = loader::load(&snapshot);
    let mode = if args.cluster { Mode::Cluster } else { Mode::Standalone };
    let mut controller = Controller::new(mode);
    controller.accept(loaded.objects);
    let mut modules = Modules::new(Host::new(HostConfig::default())?);
    sources::resolve(&mut controller, &mut modules);
    let planned = controller.plan(crate::now());
    controller.judge(planned.statuses());
    let verdicts: Vec<Verdict> = controller.verdicts().cloned().collect();
    diagnostics.extend(loaded.diagnostics);
    diagnostics.extend(verdicts.iter().flat_map(|v| controller.diagnostics(&v.id)));
    Ok(Report { values, objects: controller.len(), verdicts, diagnostics })
}

impl Report {
    fn is_good(&self) -> bool {
        self.verdicts.iter().all(|v| v.problems.is_empty())
            && !self.diagnostics.iter().any(Diagnostic::is_error)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for diagnostic in &self.diagnostics {
            let _ = writeln!(text, "{diagnostic}");
        }
        if !self.diagnostics.is_empty() && !self.verdicts.is_empty() {
            text.push('\n');
        }
        for verdict in &self.verdicts {
            let _ = writeln!(text, "{verdict}");
        }
        let refused = self.verdicts.iter().filter(|v| !v.problems.is_empty()).count();
        let errors = self.diagnostics.iter().filter(|d| d.is_error()).count();
        let _ = match self.is_good() {
            true => writeln!(text, "\n{} read, all accepted", self.what()),
            false => writeln!(
                text,
                "\n{} read, {refused} refused, {} in files",
                self.what(),
                count(errors, "error")
            ),
        };
        text
    }

    /// What was read.
    fn what(&self) -> String {
        let values = format!("{} with values", count(self.values, "file"));
        match (self.objects, self.values) {
            (objects, 0) => count(objects, "object"),
            (0, _) => values,
            (objects, _) => format!("{} and {values}", count(objects, "object")),
        }
    }

    fn json(&self) -> Value {
        let objects: Vec<Value> = self
            .verdicts
            .iter()
            .map(|v| {
                let mut object = json!({
                    "apiVersion": v.id.kind.api_version(),
                    "kind": v.id.kind.name(),
                    "metadata": {"name": v.id.name},
                    "status": v.status,
                });
                if !v.id.namespace.is_empty() {
                    object["metadata"]["namespace"] = json!(v.id.namespace);
                }
                object
            })
            .collect();
        let problems: Vec<Value> = self
            .verdicts
            .iter()
            .flat_map(|v| v.problems.iter().map(|p| p.to_json(&v.id)))
            .collect();
        json!({
            "accepted": self.is_good(),
            "objects": objects,
            "problems": problems,
            "files": self.diagnostics,
        })
    }
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
