//! Whose modules have to be looked at.

use super::event::{ByName, InUse, Question, Revision};
use k8s_openapi::api::core::v1::ConfigMap;
use penstock_gateway::{FilterFacts, FilterReason, Index, Name};
use penstock_resources::{WasmFilter, wasm_filter::ModuleSource};
use std::{sync::Arc, time::Duration};

/// Before a module that could not be had is asked for again; doubles with each failure.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// The longest wait.
const LONGEST_RETRY: Duration = Duration::from_secs(300);
/// For how long the first configuration waits for the modules of the filters that were there from
/// the start: nodes serve them, and must not be told otherwise only because this process began.
const FIRST_PATIENCE: Duration = Duration::from_secs(60);

/// What was asked about each filter, and what came back.
#[derive(Debug, Default)]
pub(crate) struct ModuleBook {
    asked: ByName<Asked>,
    /// Until when the first configuration waits.
    patience: Option<Duration>,
}

#[derive(Debug)]
struct Asked {
    revision: Revision,
    answered: bool,
    retry_at: Option<Duration>,
}

impl ModuleBook {
    /// What to ask now: filters that are new, that changed, whose ConfigMap changed, or whose module
    /// could not be had some time ago.
    pub(crate) fn questions(&mut self, index: &Index, now: Duration) -> Vec<Question> {
        self.patience.get_or_insert(now + FIRST_PATIENCE);
        let mut questions = Vec::new();
        let mut left = std::mem::take(&mut self.asked);
        for filter in index.filters() {
            let name = name_of(filter);
            let config_map = config_map_of(index, filter);
            let mut revision = Revision {
                filter: (
                    filter.metadata.uid.clone().unwrap_or_default(),
                    filter.metadata.generation.unwrap_or_default(),
                ),
                config_map: config_map.and_then(|map| map.metadata.resource_version.clone()),
                attempt: 0,
            };
            if let Some(known) = left.remove(&name) {
                let due = known.retry_at.is_some_and(|at| at <= now);
                revision.attempt = known.revision.attempt + u32::from(due);
                if revision == known.revision {
                    self.asked.insert(name, known);
                    continue;
                }
                if !due {
                    revision.attempt = 0;
                }
            }
            let asked = Asked { revision: revision.clone(), answered: false, retry_at: None };
            self.asked.insert(name, asked);
            questions.push(Question {
                revision,
                filter: Arc::new(filter.clone()),
                config_map: config_map.cloned().map(Box::new),
            });
        }
        questions
    }

    /// Notes an answer. Says whether it is one to what was asked last.
    pub(crate) fn answer(
        &mut self,
        filter: &Name,
        asked: &Revision,
        facts: &FilterFacts,
        now: Duration,
    ) -> bool {
        let Some(known) = self.asked.get_mut(filter).filter(|known| known.revision == *asked)
        else {
            return false;
        };
        known.answered = true;
        let again = matches!(facts, FilterFacts::Failed { reason: FilterReason::FetchFailed, .. });
        known.retry_at = again.then(|| now + retry(known.revision.attempt));
        true
    }

    /// Whether the first configuration has to wait for answers, and until when.
    pub(crate) fn waiting(&self, now: Duration) -> Option<Duration> {
        let open = self.asked.values().any(|asked| !asked.answered);
        self.patience.filter(|until| open && now < *until)
    }

    /// When something is to be asked again.
    pub(crate) fn wake(&self) -> Option<Duration> {
        self.asked.values().filter_map(|asked| asked.retry_at).min()
    }
}

/// The modules that are in use.
pub(crate) fn in_use(index: &Index) -> InUse {
    InUse {
        filters: index.filters().cloned().map(Arc::new).collect(),
        serving: index.last_good_modules().map(str::to_owned).collect(),
    }
}

fn retry(attempt: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << attempt.min(10)).min(LONGEST_RETRY)
}

fn config_map_of<'a>(index: &'a Index, filter: &WasmFilter) -> Option<&'a ConfigMap> {
    let ModuleSource::ConfigMap(source) = &filter.spec.module else { return None };
    index.config_map(filter.metadata.namespace.as_deref()?, &source.name)
}

/// The name of a filter.
pub(crate) fn name_of(filter: &WasmFilter) -> Name {
    let metadata = &filter.metadata;
    Name::new(
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}
