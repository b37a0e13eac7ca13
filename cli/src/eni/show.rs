//! Reports for people.

use super::report::{NodeLine, Preflight, Report};
use crate::{cluster::listed, table::table};
use penstock_resources::penstock_node::AddressCounts;

/// `penstock eni status`
pub(crate) fn status(report: &Report) -> String {
    let mut text =
        format!("Addresses of nodes at {}{}\n", report.server, version(&report.kubernetes));
    let head = [
        "NODE", "TYPE", "ZONE", "ENIS", "PREFIXES", "USED", "FREE", "CAPACITY", "PENDING",
        "PROBLEM",
    ];
    let totals = &report.totals;
    let nodes = if totals.nodes == 1 { "node" } else { "nodes" };
    let name = format!("total: {} {nodes}", totals.nodes);
    let total = cells([&name, "", ""], Some(&totals.addresses), "");
    let rows = report.nodes.iter().map(row);
    let shown = table(head, rows.chain((report.nodes.len() > 1).then_some(total)));
    if !shown.is_empty() {
        text += &format!("\n{shown}");
    }
    text + "\n" + &listed(&report.problems, "everything is well")
}

/// `penstock eni preflight`
pub(crate) fn preflight(report: &Preflight) -> String {
    let reckoned = match report.prefix_delegation {
        true => "prefixes",
        false => "single addresses",
    };
    format!(
        "ENI mode at {}{}: {} nodes, with {reckoned} from interface {} on\n\n{}",
        report.server,
        version(&report.kubernetes),
        report.nodes,
        report.first_interface_index,
        listed(&report.problems, "nothing stands in the way")
    )
}

fn version(kubernetes: &str) -> String {
    if kubernetes.is_empty() { String::new() } else { format!(", Kubernetes {kubernetes}") }
}

fn row(node: &NodeLine) -> [String; 10] {
    let problem = node.problem.as_ref().map_or("", |problem| problem.reason.as_str());
    cells([&node.name, &node.instance_type, &node.zone], node.addresses.as_ref(), problem)
}

fn cells(what: [&str; 3], counts: Option<&AddressCounts>, problem: &str) -> [String; 10] {
    let number = |of: fn(&AddressCounts) -> u32| {
        counts.map_or_else(|| "-".to_owned(), |counts| of(counts).to_string())
    };
    let [name, kind, zone] = what.map(str::to_owned);
    [
        name,
        kind,
        zone,
        number(|c| c.interfaces),
        number(|c| c.prefixes),
        number(|c| c.used),
        number(|c| c.free),
        number(|c| c.capacity),
        number(|c| c.pending),
        problem.to_owned(),
    ]
}
