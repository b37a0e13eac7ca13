//! A snapshot as one worker serves it.

use super::Policies;
use crate::{
    snapshot::{Snapshot, refusal},
    tls::Refusal,
    upstream::{BackendPool, Pool, Split, only},
};
use hashbrown::HashMap;
use penstock_config::{Key, Kind};
use penstock_filter_host::Policy;
use std::{rc::Rc, sync::Arc};

/// A snapshot with what belongs to one worker, by the snapshot's own indices.
#[derive(Debug)]
pub struct View {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// Endpoints of the backends.
    pub backends: Vec<Rc<BackendPool>>,
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

fn backends(snapshot: &Snapshot, previous: Option<&View>, pool: &Pool) -> Vec<Rc<BackendPool>> {
    let before: HashMap<&str, &Rc<BackendPool>> = previous
        .map(|view| view.backends.iter().map(|backend| (&*backend.name, backend)).collect())
        .unwrap_or_default();
    let compile = |backend: &crate::snapshot::Backend| match before.get(&*backend.name) {
        Some(known) if known.fits(backend) => (*known).clone(),
        _ => Rc::new(BackendPool::new(backend, pool)),
    };
    snapshot.backends.iter().map(compile).collect()
}

fn splits(snapshot: &Snapshot, previous: Option<&View>) -> Vec<Option<Rc<Split>>> {
    let mut before: HashMap<&str, &Rc<Split>> = HashMap::new();
    if let Some(view) = previous {
        for (rule, split) in view.snapshot.rules.iter().zip(&view.splits) {
            if let Some(split) = split {
                before.insert(&rule.key, split);
            }
        }
    }
    let compile = |rule: &crate::snapshot::RouteRule| match before.get(&*rule.key) {
        Some(known) if known.fits(&rule.choices) => Some((*known).clone()),
        _ => Split::new(&rule.choices).map(Rc::new),
    };
    snapshot.rules.iter().map(compile).collect()
}
