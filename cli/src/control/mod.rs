//! The control loop as a value: objects and facts go in, what the proxy has to change and what
//! people should know come out. No file, socket or clock is touched here.

mod verdict;

pub(crate) use verdict::Verdict;

use crate::loader::{Diagnostic, Located, Source, diagnose_config};
use penstock_config::{Delta, State};
use penstock_filter_host::Problem;
use penstock_gateway::{Confirmation, Index, Mode, Settings, Statuses, translate};
use penstock_modules::Resolution;
use penstock_resources::{Object, ObjectId, WasmFilter};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Everything that the standalone gateway knows.
#[derive(Default)]
pub(crate) struct Controller {
    index: Index,
    known: BTreeMap<ObjectId, Known>,
    problems: BTreeMap<ObjectId, Vec<Problem>>,
    served: State,
    confirmation: Confirmation,
    verdicts: BTreeMap<ObjectId, Verdict>,
}

/// An object from a file.
struct Known {
    object: Object,
    generation: i64,
    source: Source,
}

/// What the proxy has to change, and what the statuses are once it has.
pub(crate) struct Planned {
    /// For the proxy.
    pub(crate) delta: Delta,
    state: State,
    statuses: Statuses,
}

/// Something that people should know.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// An object is new, or its status is another one.
    Verdict(Verdict),
    /// An object is gone.
    Removed(ObjectId),
}

impl Controller {
    /// Knows nothing yet.
    pub(crate) fn new(mode: Mode) -> Self {
        let index = Index::new(Settings { mode, ..Settings::default() });
        Self { index, ..Self::default() }
    }

    /// Takes in all objects of one moment: those that are not among them are gone.
    pub(crate) fn accept(&mut self, objects: Vec<Located>) {
        let present: BTreeSet<ObjectId> = objects.iter().map(|o| o.id.clone()).collect();
        self.known.retain(|id, _| {
            let keep = present.contains(id);
            if !keep {
                self.index.remove(id);
            }
            keep
        });
        for Located { id, object, source } in objects {
            let generation = match self.known.get_mut(&id) {
                Some(known) if known.object == object => {
                    known.source = source;
                    continue;
                }
                Some(known) => known.generation + 1,
                None => 1,
            };
            self.index.apply(with_generation(object.clone(), generation));
            self.known.insert(id, Known { object, generation, source });
        }
    }

    /// The filters, whose modules somebody has to look at.
    pub(crate) fn filters(&self) -> Vec<WasmFilter> {
        self.index.filters().cloned().collect()
    }

    /// The objects, where modules may be.
    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// The folder of the file that holds an object.
    pub(crate) fn folder_of(&self, id: &ObjectId) -> Option<&Path> {
        self.known.get(id).and_then(|known| known.source.file.parent())
    }

    /// Takes in what was found out about a filter. Says whether it is anything new.
    pub(crate) fn set_facts(&mut self, id: &ObjectId, resolution: Resolution) -> bool {
        let name = format!("{}/{}", id.namespace, id.name);
        self.problems.insert(id.clone(), resolution.problems);
        self.index.set_filter_facts(&name, resolution.facts)
    }

    /// What has to change. `now`: seconds since 1970, against which certificates are checked.
    pub(crate) fn plan(&mut self, now: i64) -> Planned {
        self.index.settings_mut().now = Some(now);
        let translation = translate(&self.index);
        let mut delta = self.served.diff(&translation.state);
        // What was refused may be possible by now: the port is free again, for example.
        let again =
            self.confirmation.refused.iter().filter_map(|(key, ..)| translation.state.get(key));
        let again: Vec<_> = again.filter(|r| !delta.upserts.contains(r)).cloned().collect();
        delta.upserts.extend(again);
        delta.upserts.sort_by(|a, b| a.key.cmp(&b.key));
        delta.upserts.dedup_by(|a, b| a.key == b.key);
        Planned { delta, state: translation.state, statuses: translation.statuses }
    }

    /// Whether the proxy refused something, so that it is worth trying again.
    pub(crate) fn has_refusals(&self) -> bool {
        !self.confirmation.refused.is_empty()
    }

    /// What the proxy answered last; it stays true while nothing is sent.
    pub(crate) fn last_confirmation(&self) -> Confirmation {
        self.confirmation.clone()
    }

    /// Takes in what the proxy answered. What it refused is tried again with the next plan. Returns
    /// what changed for people.
    pub(crate) fn confirm(&mut self, planned: Planned, confirmation: Confirmation) -> Vec<Change> {
        self.index.confirm(&planned.state, &confirmation);
        if confirmation.acknowledged {
            self.served = planned.state;
        }
        let changes = self.judge(&planned.statuses.confirm(&confirmation));
        self.confirmation = confirmation;
        changes
    }

    /// The statuses of a plan that no proxy was asked about.
    pub(crate) fn judge(&mut self, statuses: &Statuses) -> Vec<Change> {
        let new: BTreeMap<ObjectId, Verdict> =
            verdict::verdicts(statuses).into_iter().map(|v| (v.id.clone(), v)).collect();
        let gone = self.verdicts.keys().filter(|id| !new.contains_key(id)).cloned();
        let mut changes: Vec<Change> = gone.map(Change::Removed).collect();
        let changed =
            new.values().filter(|v| self.verdicts.get(&v.id).is_none_or(|old| differs(old, v)));
        changes.extend(changed.cloned().map(Change::Verdict));
        self.verdicts = new;
        changes
    }

    /// What all statuses say.
    pub(crate) fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.values()
    }

    /// Where in its file an object's configuration is wrong.
    pub(crate) fn diagnostics(&self, id: &ObjectId) -> Vec<Diagnostic> {
        let problems = self.problems.get(id).into_iter().flatten();
        let Some(known) = self.known.get(id) else { return Vec::new() };
        problems.map(|p| diagnose_config(id, &known.source, &p.pointer, &p.message)).collect()
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }
}

impl Planned {
    /// The statuses before any proxy has answered.
    pub(crate) fn statuses(&self) -> &Statuses {
        &self.statuses
    }
}

/// Whether people should hear of it: not where only a generation was counted on.
fn differs(old: &Verdict, new: &Verdict) -> bool {
    old.problems != new.problems || old.summary != new.summary
}

fn with_generation(mut object: Object, generation: i64) -> Object {
    let metadata = match &mut object {
        Object::GatewayClass(o) => &mut o.metadata,
        Object::Gateway(o) => &mut o.metadata,
        Object::HttpRoute(o) => &mut o.metadata,
        Object::WasmFilter(o) => &mut o.metadata,
        // Nothing reads the generation of the others.
        _ => return object,
    };
    metadata.generation = Some(generation);
    object
}

#[cfg(test)]
mod tests;
