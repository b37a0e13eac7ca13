//! `penstock eni plan`: interfaces, addresses and calls of EC2 before they happen.

use crate::{
    args::{EniPlanArgs, ReportFormat, TypeLimits, Wish},
    table::table,
};
use anyhow::Context as _;
use penstock_eni::{Forecast, Limits, Settings, Watermarks, forecast, known_limits, known_types};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _, io::Write as _, process::ExitCode};

/// Names that a message suggests.
const SUGGESTED: usize = 8;

/// Predicts and prints. The exit code is 1 when a pod would get no address.
///
/// # Errors
/// Where an instance type is not known, or the result cannot be written.
pub(crate) fn run(args: &EniPlanArgs) -> anyhow::Result<ExitCode> {
    let settings = settings(args);
    settings.check()?;
    let mut nodes = Vec::new();
    for wish in &args.nodes {
        let limits = limits(&wish.kind, &args.limits)?;
        nodes.push((wish, forecast(&wish.kind, &limits, &settings, wish.pods)));
    }
    let text = match args.output {
        ReportFormat::Text => text(&nodes),
        ReportFormat::Json => format!("{:#}\n", value(&nodes)),
        ReportFormat::Yaml => serde_saphyr::to_string(&value(&nodes))?,
    };
    std::io::stdout().write_all(text.as_bytes()).context("cannot write the result")?;
    let short = nodes.iter().any(|(_, forecast)| forecast.problem.is_some());
    Ok(ExitCode::from(u8::from(short)))
}

fn settings(args: &EniPlanArgs) -> Settings {
    Settings {
        watermarks: Watermarks {
            min_allocate: args.min_allocate,
            pre_allocate: args.pre_allocate,
            max_allocate: args.max_allocate,
            max_above_watermark: args.max_above_watermark,
        },
        first_interface_index: args.first_interface_index,
        prefixes: args.prefix_delegation,
        use_primary_address: args.use_primary_address,
        ..Settings::default()
    }
}

fn limits(kind: &str, given: &[TypeLimits]) -> anyhow::Result<Limits> {
    if let Some(given) = given.iter().find(|given| given.kind == kind) {
        return Ok(Limits::one_card(given.interfaces, given.addresses, true));
    }
    known_limits(kind).with_context(|| {
        let family = kind.split('.').next().unwrap_or_default();
        let same = known_types().filter(|known| known.starts_with(&format!("{family}.")));
        let same: Vec<_> = same.take(SUGGESTED).collect();
        let near = if same.is_empty() { String::new() } else { format!(" ({})", same.join(", ")) };
        format!(
            "instance type {kind:?} is not known{near}: correct it, or say what it can have with --limits {kind}=INTERFACESxADDRESSES"
        )
    })
}

/// Calls of all nodes, by name.
fn calls(nodes: &[(&Wish, Forecast)]) -> BTreeMap<&'static str, u64> {
    let mut all = BTreeMap::new();
    for (wish, forecast) in nodes {
        for (name, count) in &forecast.calls {
            *all.entry(*name).or_default() += u64::from(*count) * u64::from(wish.nodes);
        }
    }
    all
}

fn throttled_for(nodes: &[(&Wish, Forecast)]) -> f64 {
    let all: Vec<_> = nodes.iter().map(|(wish, found)| (found.clone(), wish.nodes)).collect();
    Forecast::throttled_for(&all).as_secs_f64()
}

fn text(nodes: &[(&Wish, Forecast)]) -> String {
    let rows = nodes.iter().map(|(wish, found)| {
        let numbers = [wish.nodes, wish.pods, found.interfaces, found.addresses, found.in_prefixes];
        let [nodes, pods, interfaces, addresses, in_prefixes] = numbers.map(|n| n.to_string());
        [wish.kind.clone(), nodes, pods, interfaces, addresses, in_prefixes]
    });
    let head = ["TYPE", "NODES", "PODS EACH", "INTERFACES", "ADDRESSES", "IN PREFIXES"];
    let mut text = table(head, rows);
    let calls = calls(nodes).into_iter().map(|(name, count)| format!("{name} {count}"));
    let _ = writeln!(text, "\nCalls of EC2: {}", calls.collect::<Vec<_>>().join(", "));
    let _ = writeln!(
        text,
        "Time under throttling, all nodes at once: {:.0} s (nobody else calls EC2 in this account)",
        throttled_for(nodes).ceil()
    );
    for (wish, found) in nodes {
        if let Some(problem) = &found.problem {
            let (kind, missing) = (&wish.kind, problem.missing);
            let _ = writeln!(
                text,
                "Problem of {kind}: {missing} addresses are missing: {}",
                problem.message
            );
        }
    }
    text
}

fn value(nodes: &[(&Wish, Forecast)]) -> Value {
    let each = nodes.iter().map(|(wish, found)| {
        json!({
            "instanceType": wish.kind,
            "nodes": wish.nodes,
            "podsOnEach": wish.pods,
            "interfacesOnEach": found.interfaces,
            "addressesOnEach": found.addresses,
            "inPrefixesOnEach": found.in_prefixes,
            "callsForEach": found.calls,
            "problem": found.problem.as_ref().map(|problem| json!({
                "reason": problem.reason.as_str(),
                "missingAddresses": problem.missing,
                "message": problem.message,
            })),
        })
    });
    json!({
        "nodes": each.collect::<Vec<_>>(),
        "calls": calls(nodes),
        "secondsUnderThrottling": throttled_for(nodes),
    })
}
