//! What the desk knows of a node, as people read it.

use penstock_config::address::Unit;
use penstock_eni::{Eni, Failure, Machine, Node, ReleaseState};
use penstock_resources::penstock_node::{
    AddressCounts, AddressProblem, InterfaceStatus, PenstockNodeStatus,
};

/// The status of a node. `trouble`: why EC2 cannot be looked at, if it cannot.
pub(super) fn status(machine: &Machine, trouble: Option<(&str, &Failure)>) -> PenstockNodeStatus {
    let node = machine.node();
    let problem = machine.problem().map(|problem| AddressProblem {
        reason: problem.reason.as_str().to_owned(),
        missing: problem.missing,
        message: problem.message.clone(),
    });
    let blind = trouble.map(|(name, failure)| AddressProblem {
        reason: failure.reason.as_str().to_owned(),
        missing: 0,
        // What only looks is permitted for everything or not at all.
        message: failure.told(name, "*"),
    });
    PenstockNodeStatus {
        instance_id: node.instance.id.clone(),
        instance_type: node.instance.kind.clone(),
        zone: node.instance.zone.clone(),
        vpc: node.instance.vpc.clone(),
        addresses: counts(node),
        interfaces: node.enis.values().map(interface).collect(),
        problem: problem.or(blind),
    }
}

fn counts(node: &Node) -> AddressCounts {
    let used_enis = node.enis.values().filter(|eni| eni.is_used(&node.settings));
    let units: Vec<Unit> = node.allocatable().map(|(_, unit)| unit).collect();
    let (used, available) = (node.demand.in_use(), node.available());
    let releasing = node.releases.iter().filter(|(_, r)| r.state != ReleaseState::Refused);
    let capacity = node.limits.as_ref().map_or(0, |limits| {
        limits.capacity(node.settings.first_interface_index, node.settings.prefixes)
    });
    AddressCounts {
        interfaces: count(used_enis.count()),
        prefixes: count(units.iter().filter(|unit| matches!(unit, Unit::Block(_))).count()),
        used,
        free: available.saturating_sub(used),
        pending: node.demand.pending,
        releasing: releasing.filter_map(|(held, _)| held.unit).map(Unit::size).sum(),
        capacity,
    }
}

fn interface(eni: &Eni) -> InterfaceStatus {
    let blocks = eni.units.iter().filter_map(|unit| match unit {
        Unit::Block(block) => Some(block.to_string()),
        Unit::Address(_) => None,
    });
    let prefixes: Vec<_> = blocks.collect();
    InterfaceStatus {
        id: eni.id.to_string(),
        mac: eni.mac.clone(),
        subnet: eni.subnet.clone(),
        place: eni.attachment.as_ref().map(|at| format!("{}/{}", at.card, at.index)),
        primary: eni.primary.to_string(),
        addresses: count(eni.units.len() - prefixes.len()),
        prefixes,
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
