//! `penstock status`: how Penstock is in a cluster, what is wrong and what to do about it.
//!
//! What was read ([`seen`]) becomes a report ([`report`]) by a pure function ([`judge`]); reading and
//! waiting are around it.

mod components;
mod judge;
mod objects;
mod pods;
mod progress;
mod read;
mod remedies;
mod report;
mod seen;
mod show;
#[cfg(test)]
mod tests;

use crate::{
    args::{ReportFormat, StatusArgs},
    cluster::{Connection, Failure, Problem, connect},
};
use anyhow::Context as _;
use report::Report;
use std::{io::Write as _, process::ExitCode, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(2);

/// Reads, judges and prints. The exit code is 0 when everything is well and 1 when something is not.
///
/// # Errors
/// When the cluster cannot be read, or the report cannot be written.
pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let connection = connect(&args.cluster).await?;
        if args.wait { wait(&connection, args).await } else { look(&connection, args).await }
    });
    let report = report.map_err(|failure| anyhow::anyhow!(failure.text))?;
    let text = match args.output {
        ReportFormat::Text => show::text(&report),
        ReportFormat::Json => format!("{}\n", serde_json::to_string_pretty(&report)?),
        ReportFormat::Yaml => serde_saphyr::to_string(&report)?,
    };
    std::io::stdout().write_all(text.as_bytes()).context("cannot write the report")?;
    Ok(ExitCode::from(u8::from(!report.well)))
}

async fn look(connection: &Connection, args: &StatusArgs) -> Result<Report, Failure> {
    let seen = read::read(connection, args.namespace.as_deref()).await?;
    Ok(judge::judge(&seen))
}

/// Looks again and again until everything is well or the time is over; then what it saw last counts.
async fn wait(connection: &Connection, args: &StatusArgs) -> Result<Report, Failure> {
    let start = Instant::now();
    let end = start + args.timeout;
    let mut told: Vec<Problem> = Vec::new();
    let mut last: Option<Result<Report, Failure>> = None;
    loop {
        let result = match timeout_at(end, look(connection, args)).await {
            Ok(result) => result,
            Err(_) => break,
        };
        let now = match &result {
            Ok(report) => report.problems.clone(),
            Err(failure) if failure.retry => {
                let object = format!("API server {}", connection.server);
                vec![Problem::new(object, "Unreachable", &failure.text, "this is tried again")]
            }
            Err(_) => return result,
        };
        for line in progress::lines(&told, &now, start.elapsed()) {
            eprintln!("{line}");
        }
        told = now;
        let well = told.is_empty();
        last = Some(result);
        let next = Instant::now() + PAUSE;
        if well || next >= end {
            break;
        }
        sleep(PAUSE).await;
    }
    if !told.is_empty() {
        eprintln!("{:>4} s  gave up: not everything is well", start.elapsed().as_secs());
    }
    last.unwrap_or_else(|| {
        Err(Failure {
            text: format!(
                "the API server {} has not answered everything in time; give it more with --timeout",
                connection.server
            ),
            retry: true,
        })
    })
}
