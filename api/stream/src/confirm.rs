//! Who must acknowledge.

use crate::{
    Refused, Role,
    members::{NodeView, SILENCE},
};
use penstock_config::{State, Version};
use std::{collections::BTreeMap, time::Instant};

/// How many pods a confirmation names.
const NAMED: usize = 5;

/// What the serving set says about a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirmation {
    /// Whether there is a serving set and all of it serves the configuration.
    pub acknowledged: bool,
    /// What some of the set cannot use of it: one for each resource, ordered.
    pub refused: Vec<Refused>,
    /// How many belong to the set.
    pub members: usize,
    /// Pods of the set that do not serve it yet, the first few.
    pub waiting: Vec<String>,
}

/// What the serving set says about `state`.
///
/// The serving set is the proxies heard of within [`SILENCE`]. One joins after it swapped to what was
/// then current, and leaves by silence or by saying goodbye. So a dead node holds a change up for
/// that long, and one that joins never does. An empty set acknowledges nothing.
pub fn confirmation<'a>(
    views: impl IntoIterator<Item = &'a NodeView>,
    state: &State,
    now: Instant,
) -> Confirmation {
    confirmation_of(views, state, state.version(), now)
}

/// The same, where the version is at hand.
pub(crate) fn confirmation_of<'a>(
    views: impl IntoIterator<Item = &'a NodeView>,
    state: &State,
    version: Version,
    now: Instant,
) -> Confirmation {
    let mut found = Confirmation { acknowledged: true, ..Confirmation::default() };
    let mut refused = BTreeMap::new();
    for view in views.into_iter().filter(|view| belongs(view, version, now)) {
        found.members += 1;
        if view.version != Some(version) {
            found.acknowledged = false;
            if found.waiting.len() < NAMED {
                found.waiting.push(view.identity.pod.clone());
            }
            continue;
        }
        // A node that names what is not there says nothing about what is.
        for one in view.refused.iter().filter(|one| state.get(&one.key).is_some()) {
            let known = refused.entry(&one.key).or_insert(one);
            // It serves on where it does so everywhere.
            if known.kept && !one.kept {
                *known = one;
            }
        }
    }
    found.acknowledged &= found.members > 0;
    found.refused = refused.into_values().cloned().collect();
    found
}

/// When a confirmation may change although nobody says anything: the next node falls silent.
pub fn next_silence<'a>(
    views: impl IntoIterator<Item = &'a NodeView>,
    now: Instant,
) -> Option<Instant> {
    let silent = |view: &NodeView| view.heard + SILENCE;
    let proxies = views.into_iter().filter(|view| view.identity.role == Role::Proxy);
    proxies.map(silent).filter(|at| *at > now).min()
}

/// Whether a node belongs to the serving set.
fn belongs(view: &NodeView, version: Version, now: Instant) -> bool {
    view.identity.role == Role::Proxy
        && now.saturating_duration_since(view.heard) < SILENCE
        && (view.joined || view.version == Some(version))
}
