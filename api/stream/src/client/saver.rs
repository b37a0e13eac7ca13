//! When the configuration is saved.

use super::store::Store;
use penstock_config::State;
use std::{sync::Arc, time::Duration};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

/// A change is acknowledged before it is saved: saving writes all of the configuration.
const DELAY: Duration = Duration::from_millis(20);

/// Between two savings: changes in quick succession are saved once.
const REST: Duration = Duration::from_secs(1);

/// Saving takes at most one part in so many of the time: a large configuration that changes all the
/// time is saved less often.
const SHARE: u32 = 20;

/// Saves in the background, one at a time.
#[derive(Debug)]
pub(super) struct Saver {
    store: Option<Arc<Store>>,
    due: Option<Instant>,
    rest: Instant,
    saving: Option<JoinHandle<Duration>>,
}

impl Saver {
    pub(super) fn new(store: Option<Arc<Store>>) -> Self {
        Self { store, due: None, rest: Instant::now(), saving: None }
    }

    /// The configuration changed.
    pub(super) fn changed(&mut self) {
        if self.store.is_some() && self.due.is_none() {
            self.due = Some((Instant::now() + DELAY).max(self.rest));
        }
    }

    /// Waits until [`Saver::save`] is to be called. Can be dropped at any time.
    pub(super) async fn due(&mut self) {
        if let Some(saving) = &mut self.saving {
            let took = saving.await.unwrap_or_default();
            self.saving = None;
            self.rest = Instant::now() + REST.max(took * SHARE);
            self.due = self.due.map(|due| due.max(self.rest));
        }
        match self.due {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Saves a configuration.
    pub(super) fn save(&mut self, state: &State) {
        let Some(store) = self.store.clone() else {
            return;
        };
        self.due = None;
        let state = state.clone();
        self.saving = Some(spawn_blocking(move || {
            let began = Instant::now();
            if let Err(error) = store.save(&state) {
                tracing::error!("the configuration is not saved: {error}");
            }
            began.elapsed()
        }));
    }

    /// Saves what is not saved yet, and waits for it.
    pub(super) async fn finish(mut self, state: &State) {
        let saving = self.saving.take();
        if let Some(saving) = saving {
            let _ = saving.await;
        }
        if self.due.is_some() {
            self.save(state);
            if let Some(saving) = self.saving.take() {
                let _ = saving.await;
            }
        }
    }
}
