//! What must never happen, and what must be true in the end.

use super::{cloud::Cloud, operator::limits, world::World};
use penstock_config::address::{Held, Unit, Verdict};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// Something that must never happen did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {what} (at {at} ms, {step} steps done)")]
pub struct Violation {
    /// The rule that it breaks.
    pub rule: &'static str,
    /// What happened.
    pub what: String,
    /// When.
    pub at: u64,
    /// After how many steps.
    pub step: usize,
}

impl<C: Cloud> World<C> {
    pub(super) fn violation(&self, rule: &'static str, what: String) -> Violation {
        Violation { rule, what, at: self.now, step: self.step }
    }

    /// What holds at any time.
    pub(super) fn check(&self) -> Result<(), Violation> {
        let mut of: BTreeMap<Ipv4Addr, &str> = BTreeMap::new();
        for node in &self.nodes {
            let has = self.cloud.truth(&node.instance);
            for (owner, address) in &node.pods {
                let Some(address) = address else { continue };
                if let Some(other) = of.insert(*address, &owner.container) {
                    let what = format!("{} and {other} have {address}", owner.container);
                    return Err(self.violation("no address is of two pods", what));
                }
                let attached = has.iter().filter(|eni| eni.attachment.is_some());
                let mut units = attached
                    .flat_map(|eni| eni.units.iter().copied().chain([Unit::Address(eni.primary)]));
                if !units.any(|unit| unit.contains(*address)) {
                    let pool = node.pool.as_ref().map(penstock_pool::Pool::kept);
                    let granted = pool.and_then(|kept| kept.pods.get(owner));
                    let fences = pool.map(|kept| (&kept.told, &kept.verdicts));
                    let what =
                        format!("{} uses {address}: {granted:?}, {fences:?}", owner.container);
                    return Err(self.violation("no address in use is unassigned", what));
                }
            }
        }
        Ok(())
    }

    /// What holds when all is quiet.
    pub(super) fn check_quiet(&self) -> Result<(), Violation> {
        let Some(operator) = &self.operator else { return Ok(()) };
        for node in &self.nodes {
            let machine = operator.machine(&node.name);
            let settings = &machine.node().settings;
            let Some(pool) = &node.pool else { continue };
            let report = pool.report();
            let told = &pool.kept().told;
            for eni in self.cloud.truth(&node.instance) {
                if !eni.is_used(settings) {
                    continue;
                }
                for unit in eni.allocatable(settings) {
                    let held = Held::unit(&eni.id, unit);
                    let releasing = machine.node().releases.contains_key(&held)
                        || machine.node().releases.contains_key(&Held::interface(&eni.id));
                    let told = told.interfaces.get(&eni.id);
                    let known = told.is_some_and(|told| told.units.contains(&unit));
                    let fenced =
                        report.verdicts.get(&held).is_some_and(|(_, v)| *v == Verdict::Fenced);
                    if !releasing && (!known || fenced || !node.devices.contains(&eni.id)) {
                        let what =
                            format!("{held} of {}: known {known}, fenced {fenced}", node.instance);
                        return Err(self
                            .violation("attached and not being given back is allocatable", what));
                    }
                }
            }
            let room = limits().capacity(settings.first_interface_index, false) as usize;
            let waiting = node.pods.values().filter(|address| address.is_none()).count();
            if waiting > 0 && node.pods.len() <= room {
                let what = format!(
                    "{waiting} of {} pods of {}: {:?}",
                    node.pods.len(),
                    node.instance,
                    machine.node()
                );
                return Err(self.violation("a pod gets its address where there is room", what));
            }
        }
        Ok(())
    }

    /// What holds when all pods are gone and there was time to give back.
    pub(super) fn check_end(&self) -> Result<(), Violation> {
        if let Some(loose) = self.cloud.loose().first() {
            return Err(self.violation("nothing leaks", format!("{loose:?}")));
        }
        let Some(operator) = &self.operator else { return Ok(()) };
        for node in &self.nodes {
            let machine = operator.machine(&node.name);
            if let Some((held, release)) = machine.node().releases.first_key_value() {
                let what = format!("{held} of {}: {release:?}: {:?}", node.instance, machine);
                return Err(
                    self.violation("what is being given back is given back in the end", what)
                );
            }
            let fence = node.pool.as_ref().map(|pool| pool.report().verdicts);
            if let Some((held, answer)) = fence.as_ref().and_then(|f| f.first_key_value()) {
                let what = format!("{held} of {}: {answer:?}", node.instance);
                return Err(self.violation("no fence stays for nothing", what));
            }
            let marks = &machine.node().settings.watermarks;
            let wanted = marks.wanted(0, 0);
            let has = machine.node().available();
            if has < wanted || has > wanted + marks.max_above_watermark + 15 {
                let what = format!(
                    "{} has {has} addresses, wants {wanted}: {:?}",
                    node.instance,
                    machine.node()
                );
                return Err(self.violation("an idle node has what its watermarks say", what));
            }
        }
        Ok(())
    }
}
