//! What the answer to a call changes.

use super::{CallId, LOOK_SOON, Machine, Outcome, Shared};
use crate::{
    CONSISTENCY,
    action::Action,
    eni::{Attachment, Eni},
    failure::{Failure, Fault, Reason},
    plan::{Problem, ProblemReason},
    time::Time,
};
use penstock_config::address::{Held, InterfaceId, Unit};
use std::{collections::BTreeSet, time::Duration};

/// For how long nothing is asked of a subnet that had nothing.
const FULL: Duration = Duration::from_secs(60);

/// For how long no prefix is asked of a subnet that had none.
const FRAGMENTED: Duration = Duration::from_secs(600);

impl Machine {
    pub(super) fn done(
        &mut self,
        id: CallId,
        result: Result<Outcome, Failure>,
        shared: &mut Shared,
        now: Time,
    ) {
        // An answer that comes twice has no second effect.
        let Some(action) = self.calls.remove(&id) else { return };
        let repeats = matches!(
            (&action, &result),
            (Action::Create { .. }, Err(Failure { reason: Reason::NoAnswer, .. }))
        );
        if repeats {
            self.again.push((now + Reason::NoAnswer.pause(), id, action));
            return;
        }
        if let Some(at) = self.node.running.iter().position(|running| *running == action) {
            self.node.running.swap_remove(at);
        }
        match result {
            Ok(outcome) => self.succeeded(action, outcome, now),
            Err(failure) => self.failed(action, &failure, shared, now),
        }
        self.drop_idle_releases();
    }

    fn succeeded(&mut self, action: Action, outcome: Outcome, now: Time) {
        match (action, outcome) {
            (Action::Create { .. }, Outcome::Created(eni)) => self.created(eni, now),
            (Action::Attach { interface, place }, Outcome::Attached(id)) => {
                let (card, index) = place;
                let at = Attachment { id, card, index, delete_on_termination: false };
                self.placed(&interface, Some(at), now);
            }
            (Action::Assign { interface, .. }, Outcome::Assigned(units)) => {
                self.assigned(&interface, units, now);
            }
            (Action::Unassign { interface, units }, _) => self.unassigned(&interface, &units, now),
            (Action::Detach { interface, .. }, _) => self.placed(&interface, None, now),
            (Action::Delete { interface }, _) => self.forget(&interface, now),
            (Action::DeleteOnTermination { interface, delete, .. }, _) => {
                let eni = self.node.enis.get_mut(&interface);
                if let Some(at) = eni.and_then(|eni| eni.attachment.as_mut()) {
                    at.delete_on_termination = delete;
                }
            }
            // An answer that does not fit the call: the node is looked at.
            _ => self.look_at(now + LOOK_SOON),
        }
    }

    fn created(&mut self, eni: Eni, now: Time) {
        let trace = self.traces.entry(eni.id.clone()).or_default();
        trace.placed(now);
        trace.gained(&eni.units, now);
        // A description may have shown it already, with more that came since.
        self.node.enis.entry(eni.id.clone()).or_insert(eni);
    }

    /// Its own address is none of them, whatever the answer says.
    fn assigned(&mut self, id: &InterfaceId, mut units: BTreeSet<Unit>, now: Time) {
        let Some(eni) = self.node.enis.get_mut(id) else { return };
        units.remove(&Unit::Address(eni.primary));
        self.traces.entry(id.clone()).or_default().gained(&units, now);
        eni.units.extend(units);
    }

    fn placed(&mut self, id: &InterfaceId, at: Option<Attachment>, now: Time) {
        self.traces.entry(id.clone()).or_default().placed(now);
        if let Some(eni) = self.node.enis.get_mut(id) {
            eni.attachment = at;
        }
    }

    fn unassigned(&mut self, id: &InterfaceId, units: &BTreeSet<Unit>, now: Time) {
        self.traces.entry(id.clone()).or_default().lost(units, now);
        if let Some(eni) = self.node.enis.get_mut(id) {
            eni.units.retain(|unit| !units.contains(unit));
        }
        for unit in units {
            self.node.releases.remove(&Held::unit(id, *unit));
        }
    }

    fn failed(&mut self, action: Action, failure: &Failure, shared: &mut Shared, now: Time) {
        let reason = failure.reason;
        let subnet = match &action {
            Action::Create { subnet, .. } => Some(subnet.clone()),
            Action::Assign { interface, .. } => {
                self.node.enis.get(interface).map(|eni| eni.subnet.clone())
            }
            _ => None,
        };
        match (reason, subnet.and_then(|id| shared.subnets.get_mut(&id))) {
            (Reason::SubnetFull, Some(subnet)) => subnet.full_until = Some(now + FULL),
            (Reason::NoPrefixes, Some(subnet)) => subnet.fragmented_until = Some(now + FRAGMENTED),
            _ => self.pause(&action, reason, now),
        }
        if reason.fault() == Fault::Platform && reason.pause() > Duration::ZERO {
            let message = failure.told(action.name(), &action.about());
            let missing = action.brings();
            let problem = Problem { reason: ProblemReason::Refused, missing, message };
            self.refused = Some((now + reason.pause(), problem));
        }
        match reason {
            Reason::AddressLimit | Reason::AttachmentLimit | Reason::InUse | Reason::NotFound => {
                self.look_at(now + LOOK_SOON);
            }
            Reason::Invalid if action.interface().is_some() => self.look_at(now + LOOK_SOON),
            _ => {}
        }
    }

    fn pause(&mut self, action: &Action, reason: Reason, now: Time) {
        let Some(id) = action.interface().cloned() else {
            self.node.no_create_until = Some(now + reason.pause());
            return;
        };
        if reason == Reason::NoAnswer {
            self.node.paused.insert(id.clone(), Time(u64::MAX));
            self.unsure.insert(id, now + CONSISTENCY);
            self.look_at(now + CONSISTENCY);
        } else {
            self.node.paused.insert(id, now + reason.pause());
        }
    }

    fn look_at(&mut self, at: Time) {
        self.look.due = self.look.due.min(at);
    }
}
