//! `penstock eni`: what nodes have of addresses, what they will have, and what stands in the way.
//!
//! What was read of a cluster ([`seen`]) becomes a report by pure functions ([`judge`], [`preflight`]);
//! reading is around them.

mod judge;
mod node;
mod operator;
mod plan;
mod preflight;
mod read;
mod report;
mod seen;
mod show;
#[cfg(test)]
mod tests;

use crate::{
    args::{EniCommand, ReportFormat},
    cluster::{Failure, Reader, connect},
};
use anyhow::Context as _;
use serde::Serialize;
use std::{io::Write as _, process::ExitCode};

/// Does what is asked and prints. The exit code is 0 when everything is well and 1 when something is
/// not.
///
/// # Errors
/// When the cluster cannot be read, something given does not exist, or the result cannot be written.
pub(crate) fn run(command: &EniCommand) -> anyhow::Result<ExitCode> {
    match command {
        EniCommand::Plan(args) => plan::run(args),
        EniCommand::Status(args) => {
            let seen = wait(async {
                let connection = connect(&args.cluster).await?;
                read::status(&mut Reader::new(&connection)).await
            })?;
            let report = judge::judge(&seen).only(&args.nodes)?;
            print(args.output, &report, show::status)?;
            Ok(ExitCode::from(u8::from(!report.well)))
        }
        EniCommand::Preflight(args) => {
            let seen = wait(async {
                let connection = connect(&args.cluster).await?;
                read::preflight(&mut Reader::new(&connection)).await
            })?;
            let asked = operator::asked(seen.operator.as_ref(), args);
            let report = preflight::judge(&seen, asked);
            print(args.output, &report, show::preflight)?;
            Ok(ExitCode::from(u8::from(!report.well)))
        }
    }
}

fn wait<T>(future: impl Future<Output = Result<T, Failure>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(future).map_err(|failure| anyhow::anyhow!(failure.text))
}

fn print<T: Serialize>(
    form: ReportFormat,
    report: &T,
    text: impl Fn(&T) -> String,
) -> anyhow::Result<()> {
    let text = match form {
        ReportFormat::Text => text(report),
        ReportFormat::Json => format!("{}\n", serde_json::to_string_pretty(report)?),
        ReportFormat::Yaml => serde_saphyr::to_string(report)?,
    };
    std::io::stdout().write_all(text.as_bytes()).context("cannot write the report")
}
