//! A data plane, as far as the stream is concerned.

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};
use penstock_config::{Delta, Key, ResourceKind, State};
use penstock_stream::{Applied, Apply, LoadModules, Refused};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What it serves and what was asked of it. A handle.
#[derive(Clone, Default)]
pub(crate) struct Plane(Arc<(Mutex<Inner>, Condvar)>);

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) state: State,
    /// The size of each change.
    pub(crate) changes: Vec<usize>,
    pub(crate) refuse: BTreeSet<Key>,
    pub(crate) stopped: bool,
    pub(crate) modules: BTreeMap<String, Bytes>,
}

impl Plane {
    pub(crate) fn look(&self) -> MutexGuard<'_, Inner> {
        self.0.0.lock()
    }

    /// From now on a change waits in the middle of being applied, or no more.
    pub(crate) fn stop(&self, stopped: bool) {
        self.look().stopped = stopped;
        self.0.1.notify_all();
    }

    pub(crate) fn serves(&self, state: &State) -> bool {
        self.look().state == *state
    }
}

impl Apply for Plane {
    fn apply(&mut self, delta: &Delta) -> Applied {
        let mut inner = self.look();
        self.0.1.wait_while(&mut inner, |inner| inner.stopped);
        inner.changes.push(delta.upserts.len() + delta.removals.len());
        inner.state.apply(delta).expect("the change fits");
        let unloaded = inner.state.iter().filter(|resource| match &*resource.content {
            ResourceKind::Filter(filter) => !inner.modules.contains_key(&filter.module),
            _ => false,
        });
        let refused = unloaded.map(|resource| &resource.key).chain(&inner.refuse);
        let refused =
            refused.map(|key| Refused::new(key.clone(), "Unusable", "so it is")).collect();
        Applied { version: inner.state.version(), refused }
    }
}

impl LoadModules for Plane {
    fn engine(&self) -> String {
        "engine-1".into()
    }

    fn target(&self) -> String {
        "x86-64-v3".into()
    }

    fn has(&self, digest: &str) -> bool {
        self.look().modules.contains_key(digest)
    }

    fn load(&self, digest: &str, module: Bytes) -> Result<(), String> {
        if !module.starts_with(b"signed") {
            return Err("it is not signed".into());
        }
        self.look().modules.insert(digest.into(), module);
        Ok(())
    }
}
