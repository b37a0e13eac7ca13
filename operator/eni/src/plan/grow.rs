//! More addresses.

use super::{
    Plan, Problem, ProblemReason, Vpc,
    lifecycle::{free_place, places},
};
use crate::{
    action::{Action, Fill},
    eni::Eni,
    groups::{SecurityGroup, security_groups},
    limits::Limits,
    node::Node,
    subnet::{For, Subnets},
    time::Time,
};
use penstock_config::address::{Held, InterfaceId};
use std::collections::{BTreeMap, BTreeSet};

/// Asks for what is missing, in the order of what costs least: prefixes on an interface that is there,
/// prefixes on a new one, single addresses on one that is there, single addresses on a new one. So a
/// subnet without free prefixes costs an interface before it costs density, and prefixes come back as
/// soon as a subnet has some.
pub(super) fn grow(
    node: &Node,
    limits: &Limits,
    vpc: Vpc<'_>,
    now: Time,
    missing: u32,
    plan: &mut Plan,
) {
    let mut growth = Growth {
        node,
        limits,
        subnets: vpc.subnets.clone(),
        groups: vpc.groups,
        now,
        missing,
        cap: cap(node),
        busy: plan.actions.iter().filter_map(|action| action.interface().cloned()).collect(),
        taken: places(node),
        actions: Vec::new(),
        why: None,
    };
    // What `go_on` attaches now.
    growth.taken.extend(plan.actions.iter().filter_map(|action| match action {
        Action::Attach { place, .. } => Some(*place),
        _ => None,
    }));
    if node.settings.prefixes && limits.prefixes {
        growth.assign(true);
        growth.create(true);
    }
    growth.assign(false);
    growth.create(false);
    plan.problem = growth.problem();
    plan.actions.append(&mut growth.actions);
}

/// Addresses that may be asked for at most, so that there are never more than `max-allocate`.
fn cap(node: &Node) -> u32 {
    let most = node.settings.watermarks.max_allocate.unwrap_or(u32::MAX);
    most.saturating_sub(node.available() + node.coming())
}

struct Growth<'a> {
    node: &'a Node,
    limits: &'a Limits,
    /// With what is planned taken off.
    subnets: Subnets,
    groups: &'a BTreeMap<String, SecurityGroup>,
    now: Time,
    missing: u32,
    /// Prefixes may not bring more than this.
    cap: u32,
    /// Interfaces that something is done to.
    busy: BTreeSet<InterfaceId>,
    /// Places of interfaces.
    taken: BTreeSet<(u8, u8)>,
    actions: Vec<Action>,
    why: Option<(ProblemReason, String)>,
}

impl Growth<'_> {
    /// On interfaces that are there.
    fn assign(&mut self, prefixes: bool) {
        for eni in self.node.used_enis() {
            if self.missing == 0 {
                return;
            }
            let given_back = self.node.releases.contains_key(&Held::interface(&eni.id));
            if given_back || self.busy.contains(&eni.id) || self.node.is_busy(&eni.id, self.now) {
                continue;
            }
            let fill = self.fill_of(self.missing, prefixes, self.free_slots(eni));
            let Some(fill) = fill.and_then(|f| self.in_subnet(f, &eni.subnet)) else { continue };
            self.busy.insert(eni.id.clone());
            self.take(&eni.subnet, fill.addresses());
            self.plan(Action::Assign { interface: eni.id.clone(), fill }, fill);
        }
    }

    /// On new ones: what does not fit on those that a call is on the way for.
    fn create(&mut self, prefixes: bool) {
        let room = self.room(prefixes);
        while self.missing > room {
            let missing = self.missing - room;
            let Some(mut fill) = self.fill_of(missing, prefixes, self.limits.slots()) else {
                return;
            };
            let Some(place) = free_place(self.node, self.limits, &self.taken) else {
                let why = self.instance_full();
                self.why.get_or_insert(why);
                return;
            };
            if self.node.no_create_until.is_some_and(|until| until > self.now) {
                return;
            }
            let (who, subnets) = (self.who(), &self.subnets);
            if let Fill::Addresses(count) = fill {
                match who.most(subnets, count, self.now) {
                    Ok(0) | Err(_) => {}
                    Ok(most) => fill = Fill::Addresses(most),
                }
            }
            let subnet = match who.choose(subnets, fill, self.now) {
                Ok(subnet) => subnet.id.clone(),
                Err(_) if prefixes => return,
                Err(error) => {
                    self.why.get_or_insert((ProblemReason::NoSubnet, error.to_string()));
                    return;
                }
            };
            let groups = match self.groups() {
                Ok(groups) => groups,
                Err(why) => {
                    self.why.get_or_insert(why);
                    return;
                }
            };
            self.taken.insert(place);
            self.take(&subnet, fill.addresses() + 1);
            self.plan(Action::Create { subnet, groups, fill, place }, fill);
        }
    }

    fn take(&mut self, subnet: &str, count: u32) {
        if let Some(subnet) = self.subnets.get_mut(subnet) {
            subnet.free = subnet.free.saturating_sub(count);
        }
    }

    fn plan(&mut self, action: Action, fill: Fill) {
        self.missing = self.missing.saturating_sub(fill.addresses());
        self.cap = self.cap.saturating_sub(fill.addresses());
        self.actions.push(action);
    }

    /// What interfaces will have room for when the calls that are on the way for them are answered:
    /// the next round is cheaper than another interface.
    fn room(&self, prefixes: bool) -> u32 {
        let calls = || self.node.running.iter().chain(&self.actions);
        let room = |eni: &&Eni| {
            let fills = calls().filter_map(|action| match action {
                Action::Assign { interface, fill } if *interface == eni.id => Some(fill.slots()),
                _ => None,
            });
            let slots = self.free_slots(eni).saturating_sub(fills.reduce(|a, b| a + b)?);
            let fill = if prefixes { Fill::Prefixes(slots) } else { Fill::Addresses(slots) };
            self.in_subnet(fill, &eni.subnet).map(Fill::addresses)
        };
        self.node.used_enis().iter().filter_map(room).sum()
    }

    /// What to ask for where there are so many slots.
    fn fill_of(&self, missing: u32, prefixes: bool, slots: u32) -> Option<Fill> {
        let (count, fill) = if prefixes {
            let count = missing.div_ceil(16).min(slots).min(self.cap / 16);
            (count, Fill::Prefixes(count))
        } else {
            let count = missing.min(slots).min(self.cap);
            (count, Fill::Addresses(count))
        };
        (count > 0).then_some(fill)
    }

    /// As much of it as a subnet has.
    fn in_subnet(&self, fill: Fill, subnet: &str) -> Option<Fill> {
        // One that is not known is tried: the call tells.
        let Some(subnet) = self.subnets.get(subnet) else { return Some(fill) };
        match fill {
            Fill::Prefixes(count) => {
                let count = count.min(subnet.free / 16);
                (count > 0 && subnet.has_prefixes(count, self.now)).then_some(Fill::Prefixes(count))
            }
            Fill::Addresses(count) => {
                let count = count.min(subnet.free);
                (count > 0 && subnet.has_addresses(count, self.now))
                    .then_some(Fill::Addresses(count))
            }
        }
    }

    fn free_slots(&self, eni: &Eni) -> u32 {
        let taken = u32::try_from(eni.units.len()).unwrap_or(u32::MAX);
        self.limits.slots().saturating_sub(taken)
    }

    fn who(&self) -> For<'_> {
        let instance = &self.node.instance;
        For {
            vpc: &instance.vpc,
            zone: &instance.zone,
            own: &instance.subnet,
            settings: &self.node.settings,
        }
    }

    fn groups(&self) -> Result<BTreeSet<String>, (ProblemReason, String)> {
        let is_first =
            |eni: &&Eni| eni.attachment.as_ref().is_some_and(|at| (at.card, at.index) == (0, 0));
        let first = self.node.enis.values().find(is_first).map(|eni| eni.groups.clone());
        let (settings, vpc) = (&self.node.settings, &self.node.instance.vpc);
        security_groups(settings, vpc, &first.unwrap_or_default(), self.groups)
            .map_err(|error| (ProblemReason::NoSecurityGroups, error.to_string()))
    }

    fn instance_full(&self) -> (ProblemReason, String) {
        let limits = self.limits;
        let message = format!(
            "instance type {} takes {} interfaces with {} addresses each: use a larger type, prefix delegation, or fewer pods (kubelet --max-pods)",
            self.node.instance.kind, limits.interfaces, limits.addresses
        );
        (ProblemReason::InstanceFull, message)
    }

    /// What still is missing, unless something else is on its way.
    fn problem(&self) -> Option<Problem> {
        let (reason, message) = self.why.clone().filter(|_| self.missing > 0)?;
        Some(Problem { reason, missing: self.missing, message })
    }
}
