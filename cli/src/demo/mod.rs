//! `penstock demo`: a folder with its sample requests, and what each filter did with them.

mod client;
mod scenario;
mod show;

use crate::{
    args::{DemoArgs, ServeArgs},
    echo,
    run::{self, Event, Gateway},
};
use anyhow::Context as _;
use penstock_filter_host::{FilterStats, Host, Tier};
use penstock_telemetry::LogFormat;
use scenario::{FilterRun, Observed, Scenario};
use std::{
    collections::BTreeMap, net::SocketAddr, process::ExitCode, sync::mpsc::channel, thread,
    time::Duration,
};

use tokio::task::LocalSet;

/// How long requests in flight may take at the end.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs the demo. The exit code is 0 when every answer was as expected, 1 when one was not.
///
/// # Errors
/// When the gateway or the backend cannot start, or an answer does not come.
pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let scenario = Scenario::read(&args.folder)?;
    let telemetry = penstock_telemetry::init("penstock", LogFormat::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    start_backend(scenario.backend)?;
    println!("backend  {} (penstock echo)", scenario.backend);
    println!("gateway  {} (penstock run -f {})", scenario.gateway, args.folder.display());

    let serve = ServeArgs {
        bind: vec![scenario.gateway.ip()],
        port_offset: 0,
        // One worker, so that what it remembers is seen.
        workers: Some(1),
        admin: None,
        access_log: None,
        drain_timeout: DRAIN,
    };
    let mut gateway = Gateway::start(std::slice::from_ref(&args.folder), &serve, &telemetry)?;
    gateway.reload().iter().for_each(|event| println!("{event}"));

    anyhow::ensure!(
        gateway.listens_on(scenario.gateway),
        "the gateway does not listen on {}, for the reason above",
        scenario.gateway
    );

    let mut good = true;
    for (at, step) in scenario.requests.iter().enumerate() {
        let before = gateway.host().stats();
        let mut observed: Observed =
            local.block_on(&runtime, client::send(scenario.gateway, &step.request))?;
        observed.filters = acted(&before, gateway.host());
        print!("{}", show::step(at + 1, step, &observed));
        good &= step.differences(&observed).is_empty();
    }
    println!(
        "\n{}",
        if good { "every answer is as expected" } else { "an answer is NOT as expected" }
    );
    if args.once {
        gateway.drain();
        return Ok(ExitCode::from(u8::from(!good)));
    }
    println!("\n{}\nCtrl-C ends.\n", scenario.next.trim_end());
    let (wake, wakes) = channel();
    run::listen_to_signals(wake.clone())?;
    run::serve(gateway, wake, &wakes, |events: &[Event]| {
        events.iter().for_each(|event| println!("{event}"));
    });
    Ok(ExitCode::from(u8::from(!good)))
}

/// The echo backend on a thread of its own, listening when this returns.
fn start_backend(address: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(echo::bind(address)).context("the demo's backend")?;
    thread::Builder::new()
        .name("echo".into())
        .spawn(move || LocalSet::new().block_on(&runtime, echo::serve(listener)))?;
    Ok(())
}

/// What each filter did since `before`.
fn acted(before: &[FilterStats], host: &Host) -> Vec<FilterRun> {
    let before: BTreeMap<&str, &FilterStats> =
        before.iter().map(|s| (s.filter.as_str(), s)).collect();
    let none = FilterStats::default();
    host.stats()
        .iter()
        .filter_map(|after| {
            let before = before.get(after.filter.as_str()).copied().unwrap_or(&none);
            Some(FilterRun { name: after.filter.clone(), how: how(before, after)? })
        })
        .collect()
}

/// How a filter came to its decisions between two counts; `None` where it took no part.
fn how(before: &FilterStats, after: &FilterStats) -> Option<String> {
    let words = [
        (Tier::Constant, "constant changes, no call"),
        (Tier::GuardMiss, "nothing to do by its guards, no call"),
        (Tier::Memo, "a remembered decision, no call"),
        (Tier::Call, "called"),
    ];
    let mut parts: Vec<String> = words
        .into_iter()
        .filter_map(|(tier, words)| match after.steps(tier) - before.steps(tier) {
            0 => None,
            1 => Some(words.to_owned()),
            n => Some(format!("{words} ({n} times)")),
        })
        .collect();
    let time = after.call_time_sum.saturating_sub(before.call_time_sum);
    if !time.is_zero() {
        parts.push(format!("{:.1} µs", time.as_nanos() as f64 / 1000.0));
    }
    let failed = |s: &FilterStats| s.failures.iter().sum::<u64>();
    if failed(after) > failed(before) {
        parts.push("failed".into());
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}
