//! Fewer addresses.

use crate::{
    action::Action,
    eni::Eni,
    node::{Node, ReleaseState},
    time::Time,
};
use penstock_config::address::{Held, InterfaceId, Unit};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Nothing is proposed sooner, whatever the settings say: what the node says of its use takes a moment
/// to arrive, and a proposal that is refused costs messages.
const LEAST_IDLE: Duration = Duration::from_secs(2);

/// Withdraws proposals that are refused, and as many others as what is needed asks for; says how many
/// addresses that brings back. It costs no call, so it comes before anything that does.
pub(super) fn withdraw(node: &Node, actions: &mut Vec<Action>) -> u32 {
    let demand = &node.demand;
    let available = node.available() + node.coming();
    let missing = node.settings.watermarks.missing(demand.in_use(), demand.pending, available);
    let mut back = 0;
    for (held, release) in &node.releases {
        let refused = release.state == ReleaseState::Refused;
        let needed = back < missing && release.is_revocable();
        if refused || needed {
            back += size(node, held);
            actions.push(Action::Withdraw(held.clone()));
        }
    }
    back
}

/// Proposes to give back what is more than needed and has been idle long enough: single addresses
/// before prefixes, and those of the interface with the least in use before others, so that whole
/// interfaces become free.
pub(super) fn propose(node: &Node, excess: u32, now: Time, actions: &mut Vec<Action>) {
    if !node.settings.release {
        return;
    }
    let mut left = excess;
    for eni in by_use(node) {
        if node.is_busy(&eni.id, now) || actions.iter().any(|a| a.interface() == Some(&eni.id)) {
            continue;
        }
        if eni.owned && is_empty(node, eni) {
            let held = Held::interface(&eni.id);
            if size(node, &held) <= left && is_idle(node, &held, now) {
                left -= size(node, &held);
                actions.push(Action::Propose(held));
            }
            continue;
        }
        for &unit in &eni.units {
            let held = Held::unit(&eni.id, unit);
            let proposed = node.releases.contains_key(&held);
            if !proposed && unit.size() <= left && is_idle(node, &held, now) {
                left -= unit.size();
                actions.push(Action::Propose(held));
            }
        }
    }
}

/// An interface without units: all were given back. The one that the instance began with never is.
fn is_empty(node: &Node, eni: &Eni) -> bool {
    let first = eni.attachment.as_ref().is_none_or(|at| (at.card, at.index) == (0, 0));
    !first && eni.units.is_empty() && !node.releases.contains_key(&Held::interface(&eni.id))
}

/// How many addresses go with it: with an interface that has no units, its primary one, where pods may
/// have that.
fn size(node: &Node, held: &Held) -> u32 {
    match (held.unit, node.enis.get(&held.interface)) {
        (Some(unit), _) => unit.size(),
        (None, Some(eni)) => eni.allocatable(&node.settings).into_iter().map(Unit::size).sum(),
        (None, None) => 0,
    }
}

fn is_idle(node: &Node, held: &Held, now: Time) -> bool {
    let idle = |held: &Held| {
        let since = node.demand.idle_since(held);
        since.is_some_and(|since| now - since >= node.settings.release_delay.max(LEAST_IDLE))
    };
    let all_of = |eni: &Eni| {
        let units = eni.allocatable(&node.settings);
        units.into_iter().all(|unit| idle(&Held::unit(&eni.id, unit)))
    };
    idle(held) && (held.unit.is_some() || node.enis.get(&held.interface).is_some_and(all_of))
}

/// Interfaces by addresses in use, and among equals the last one first.
fn by_use(node: &Node) -> Vec<&Eni> {
    let mut used: BTreeMap<&InterfaceId, u32> = BTreeMap::new();
    for (held, count) in &node.demand.used {
        *used.entry(&held.interface).or_default() += count;
    }
    let mut enis = node.used_enis();
    enis.reverse();
    enis.sort_by_key(|eni| used.get(&eni.id).copied().unwrap_or(0));
    enis
}

/// Unassigns what is fenced: one call for all of an interface.
pub(super) fn give(node: &Node, now: Time, actions: &mut Vec<Action>) {
    let mut units: BTreeMap<&InterfaceId, BTreeSet<Unit>> = BTreeMap::new();
    for (held, release) in &node.releases {
        let withdrawn = actions.contains(&Action::Withdraw(held.clone()));
        if let Some(unit) = held.unit
            && release.is_ready(now)
            && !withdrawn
            && !node.is_busy(&held.interface, now)
        {
            units.entry(&held.interface).or_default().insert(unit);
        }
    }
    for (interface, units) in units {
        let is_call = |a: &Action| a.is_call() && a.interface() == Some(interface);
        if !actions.iter().any(is_call) {
            actions.push(Action::Unassign { interface: interface.clone(), units });
        }
    }
}
