//! Which statuses have to be written: what is wanted against what the API server has.

use super::{
    event::{Action, StatusWrite, WriteError},
    pace::Pace,
    status::{Observed, Status, changed},
};
use crate::core::event::Now;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use penstock_gateway::Statuses;
use penstock_resources::ObjectId;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What is wanted, what is there, and what is on its way.
#[derive(Debug, Default)]
pub(crate) struct StatusBook {
    wanted: Statuses,
    observed: BTreeMap<ObjectId, Observed>,
    /// To be looked at.
    pending: BTreeSet<ObjectId>,
    /// One write for each object at a time.
    in_flight: BTreeSet<ObjectId>,
    pace: Pace<ObjectId>,
}

impl StatusBook {
    /// Notes what the API server has.
    pub(crate) fn observe(&mut self, id: &ObjectId, observed: Observed) {
        let older = self.observed.get(id).is_some_and(|known| is_older(&observed, known));
        if !older {
            self.observed.insert(id.clone(), observed);
            self.pending.insert(id.clone());
        }
    }

    /// Notes that an object is gone.
    pub(crate) fn forget(&mut self, id: &ObjectId) {
        self.observed.remove(id);
        self.pending.remove(id);
        self.pace.forget(id);
    }

    /// What the API server has of an object.
    pub(crate) fn observed(&self, id: &ObjectId) -> Option<&Observed> {
        self.observed.get(id)
    }

    /// Notes what is wanted. Returns the objects of which something else is wanted than before.
    pub(crate) fn want(&mut self, wanted: Statuses) -> Vec<ObjectId> {
        let changed = changed(&self.wanted, &wanted);
        self.pending.extend(changed.iter().cloned());
        self.wanted = wanted;
        changed
    }

    /// What is wanted.
    pub(crate) fn wanted(&self) -> &Statuses {
        &self.wanted
    }

    /// Looks at every object again: somebody else may have written meanwhile.
    pub(crate) fn look_at_all(&mut self) {
        self.pending.extend(self.observed.keys().cloned());
    }

    /// Notes how a write went.
    pub(crate) fn wrote(&mut self, id: &ObjectId, result: Result<Observed, WriteError>) {
        self.in_flight.remove(id);
        match result {
            // It may be gone by now.
            Ok(observed) if self.observed.contains_key(id) => self.observe(id, observed),
            Ok(_) | Err(WriteError::Gone) => {}
            Err(WriteError::Refused) => {
                self.pace.failed(id);
                self.pending.insert(id.clone());
            }
        }
    }

    /// The writes that are due. The second value: when the next one is.
    pub(crate) fn due(&mut self, now: Now) -> (Vec<Action>, Option<Duration>) {
        let time = Time(now.wall);
        let (mut actions, mut wake, mut left) = (Vec::new(), None, BTreeSet::new());
        for id in std::mem::take(&mut self.pending) {
            if self.in_flight.contains(&id) {
                left.insert(id);
                continue;
            }
            let Some(observed) = self.observed.get(&id) else { continue };
            let Some(wanted) = Status::wanted(&self.wanted, &id) else { continue };
            if Status::merge(observed.status.as_ref(), &wanted, &time).is_none() {
                continue;
            }
            match self.pace.write(&id, now.since_start) {
                Ok(()) => {
                    self.in_flight.insert(id.clone());
                    let observed = observed.clone();
                    actions.push(Action::WriteStatus(StatusWrite { id, observed, wanted }));
                }
                Err(due) => {
                    wake = Some(wake.map_or(due, |wake: Duration| wake.min(due)));
                    left.insert(id);
                }
            }
        }
        self.pending = left;
        (actions, wake)
    }
}

/// Resource versions of one object can be compared as numbers (Kubernetes API concepts, since 1.35).
fn is_older(observed: &Observed, known: &Observed) -> bool {
    let number = |observed: &Observed| observed.resource_version.parse::<u128>().ok();
    observed.uid == known.uid
        && number(observed).zip(number(known)).is_some_and(|(new, old)| new < old)
}
