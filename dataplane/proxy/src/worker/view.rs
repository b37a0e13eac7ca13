//! A snapshot as one worker serves it.

use super::Policies;
use crate::{
    snapshot::{Backend, RouteRule, Snapshot, refusal},
    tls::Refusal,
    upstream::{BackendPool, Pool, Split, only},
};
use penstock_config::{Key, Kind};
use penstock_filter_host::Policy;
use std::{rc::Rc, sync::Arc};

/// A snapshot with what belongs to one worker, by the snapshot's own indices.
#[derive(Debug)]
pub struct View {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// Endpoints of the backends.
    backends: Vec<Option<Rc<BackendPool>>>,
    /// Live policies; absent where one could not be prepared.
    pub policies: Vec<Option<Policy>>,
    splits: Vec<Option<Rc<Split>>>,
    owner: Rc<Policies>,
}

impl View {
    /// Makes everything ready to serve a snapshot. What `previous` has and did not change goes on:
    /// connections, shares in progress, live policies.
    pub fn prepare(
        snapshot: Arc<Snapshot>,
        previous: Option<&View>,
        owner: &Rc<Policies>,
        pool: &Pool,
    ) -> (Self, Vec<Refusal>) {
        let mut refused = Vec::new();
        let policies = snapshot
            .filters
            .iter()
            .map(|slot| {
                slot.plan.as_ref()?;
                match owner.prepare(&slot.config, slot.version) {
                    Ok(policy) => Some(policy),
                    Err(error) => {
                        refused.push(refusal(&Key::new(Kind::Filter, &*slot.name), &error));
                        None
                    }
                }
            })
            .collect();
        let backends = backends(&snapshot, previous, pool);
        let splits = splits(&snapshot, previous);
        (Self { backends, policies, splits, owner: owner.clone(), snapshot }, refused)
    }

    /// The endpoints of a backend.
    pub fn backend(&self, index: usize) -> Option<&Rc<BackendPool>> {
        self.backends.get(index)?.as_ref()
    }

    /// The backendRef that gets the next request of a rule; `None` where none has a weight.
    pub fn choose(&self, rule: usize) -> Option<usize> {
        match &self.splits[rule] {
            Some(split) => Some(split.next()),
            None => only(&self.snapshot.rules[rule].choices),
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.owner.retire(self.policies.drain(..).flatten());
    }
}

fn backends(
    snapshot: &Snapshot,
    previous: Option<&View>,
    pool: &Pool,
) -> Vec<Option<Rc<BackendPool>>> {
    let compile = |(index, backend): (usize, Option<&Arc<Backend>>)| {
        let backend = backend?;
        let known = previous.and_then(|view| Some((view, view.backends.get(index)?.as_ref()?)));
        let known = known.filter(|(view, known)| {
            let same = view.snapshot.backends.get(index);
            same.is_some_and(|same| Arc::ptr_eq(same, backend))
                || (known.name == backend.name && known.fits(backend))
        });
        Some(match known {
            Some((_, known)) => known.clone(),
            None => Rc::new(BackendPool::new(backend, pool)),
        })
    };
    snapshot.backends.places().enumerate().map(compile).collect()
}

fn splits(snapshot: &Snapshot, previous: Option<&View>) -> Vec<Option<Rc<Split>>> {
    let compile = |(index, rule): (usize, Option<&Arc<RouteRule>>)| {
        let rule = rule?;
        let before = previous.and_then(|view| Some((view.snapshot.rules.get(index)?, view)));
        if let Some((before, view)) = before.filter(|(before, _)| before.key == rule.key) {
            let known = view.splits.get(index)?;
            if Arc::ptr_eq(before, rule) {
                return known.clone();
            }
            if let Some(known) = known.as_ref().filter(|known| known.fits(&rule.choices)) {
                return Some(known.clone());
            }
        }
        Split::new(&rule.choices).map(Rc::new)
    };
    snapshot.rules.places().enumerate().map(compile).collect()
}
