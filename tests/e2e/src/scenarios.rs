//! Scenarios that share what takes long to make, one after the other.

use anyhow::{Error, Result};
use std::{process::ExitCode, time::Instant};

/// A scenario: what it shows, and how.
pub type Scenario<S> = (&'static str, fn(&S) -> Result<()>);

/// Runs scenarios, or those of them whose names have one of the program's arguments in them. `make` makes
/// what they share; `report` says what there is when one fails.
pub fn play<S>(
    scenarios: &[Scenario<S>],
    make: impl FnOnce() -> Result<S>,
    report: impl Fn(&S) -> String,
) -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted =
        |name: &str| asked.is_empty() || asked.iter().any(|part| name.contains(part.as_str()));
    let scenarios: Vec<_> = scenarios.iter().filter(|(name, _)| wanted(name)).collect();
    if scenarios.is_empty() {
        return ExitCode::SUCCESS;
    }
    let start = Instant::now();
    let site = match make() {
        Ok(site) => site,
        Err(error) => {
            eprintln!("no cluster with Penstock in it: {error:?}");
            return ExitCode::FAILURE;
        }
    };
    println!("the cluster is up, Penstock installed: {:.1} s", start.elapsed().as_secs_f32());
    let mut failed: Vec<(&str, Error)> = Vec::new();
    for (name, scenario) in &scenarios {
        let start = Instant::now();
        let result = scenario(&site);
        let took = start.elapsed().as_secs_f32();
        match result {
            Ok(()) => println!("scenario {name} ... ok ({took:.1} s)"),
            Err(error) => {
                println!("scenario {name} ... FAILED ({took:.1} s)\n{error:?}\n{}", report(&site));
                failed.push((name, error));
            }
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    // Once more, in short: where only the end of an output is kept, it says what to look for.
    eprintln!("{} of {} scenarios failed:", failed.len(), scenarios.len());
    failed.iter().for_each(|(name, error)| eprintln!("  {name}: {error:#}"));
    ExitCode::FAILURE
}
