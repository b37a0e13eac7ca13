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
#[derive(Debug)]
pub(crate) struct ModuleBook {
    asked: ByName<Asked>,
    /// After which time a tag is looked up again, and a module from afar that could not be had for a
    /// reason that only somebody else can change.
    refresh: Duration,
    /// Until when the first configuration waits.
    patience: Option<Duration>,
}

#[derive(Debug)]
struct Asked {
    revision: Revision,
    source: Source,
    answered: bool,
    retry_at: Option<Duration>,
    /// How often it could not be had in succession.
    failures: u32,
    /// Whether the module was had before, so that nothing is lost while it cannot be looked up again.
    had: bool,
}

/// What can change about where a module comes from, without anything here that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Nothing: an object.
    Object,
    /// Whether it can be had.
    Pinned,
    /// What it is as well.
    Tag,
}

impl ModuleBook {
    /// Nothing was asked yet. What others may have changed is asked again after `refresh`.
    pub(crate) fn new(refresh: Duration) -> Self {
        Self { asked: ByName::default(), refresh, patience: None }
    }

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
            let (mut failures, mut had) = (0, false);
            if let Some(known) = left.remove(&name) {
                let due = known.retry_at.is_some_and(|at| at <= now);
                revision.attempt = known.revision.attempt + u32::from(due);
                if revision == known.revision {
                    self.asked.insert(name, known);
                    continue;
                }
                let again = Revision { attempt: known.revision.attempt, ..revision.clone() };
                if due && again == known.revision {
                    (failures, had) = (known.failures, known.had);
                } else {
                    revision.attempt = 0;
                }
            }
            let asked = Asked {
                revision: revision.clone(),
                source: source_of(filter),
                answered: false,
                retry_at: None,
                failures,
                had,
            };
            self.asked.insert(name, asked);
            questions.push(Question {
                revision,
                filter: Arc::new(filter.clone()),
                config_map: config_map.cloned().map(Box::new),
            });
        }
        questions
    }

    /// Notes an answer. Says whether it is news about what was asked last.
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
        let ready = matches!(facts, FilterFacts::Ready { .. });
        let wait = match known.source {
            _ if again => Some(retry(known.failures)),
            Source::Tag => Some(self.refresh),
            Source::Pinned if !ready => Some(self.refresh),
            Source::Pinned | Source::Object => None,
        };
        known.retry_at = wait.map(|wait| now + wait);
        known.failures = if again { known.failures + 1 } else { 0 };
        known.had |= ready;
        if again && known.had {
            return false;
        }
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

/// The ConfigMap that holds the module, or the authorities of the server that has it.
fn config_map_of<'a>(index: &'a Index, filter: &WasmFilter) -> Option<&'a ConfigMap> {
    let name = match &filter.spec.module {
        ModuleSource::ConfigMap(source) => &source.name,
        ModuleSource::Oci(source) => &source.ca_ref.as_ref()?.name,
        ModuleSource::Http(source) => &source.ca_ref.as_ref()?.name,
        ModuleSource::File(_) => return None,
    };
    index.config_map(filter.metadata.namespace.as_deref()?, name)
}

fn source_of(filter: &WasmFilter) -> Source {
    match &filter.spec.module {
        ModuleSource::Oci(source) if !source.image.contains('@') => Source::Tag,
        ModuleSource::Oci(_) | ModuleSource::Http(_) => Source::Pinned,
        ModuleSource::ConfigMap(_) | ModuleSource::File(_) => Source::Object,
    }
}

/// The name of a filter.
pub(crate) fn name_of(filter: &WasmFilter) -> Name {
    let metadata = &filter.metadata;
    Name::new(
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_config::PolicyKind;
    use penstock_gateway::{PlanSummary, Settings};
    use penstock_resources::Object;
    use serde_json::{Value, json};

    const REFRESH: Duration = Duration::from_secs(300);

    fn index(module: Value) -> Index {
        let mut index = Index::new(Settings::default());
        let filter = json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "WasmFilter",
            "metadata": {"name": "f", "namespace": "n", "uid": "u", "generation": 1},
            "spec": {"module": module},
        });
        index.apply(Object::from_json(filter).expect("a filter"));
        index
    }

    fn tag() -> Value {
        json!({"oci": {"image": "r.example/a:v1"}})
    }

    fn pinned() -> Value {
        json!({"oci": {"image": format!("r.example/a@sha256:{}", "0".repeat(64))}})
    }

    fn failed(reason: FilterReason) -> FilterFacts {
        FilterFacts::Failed { reason, message: String::new() }
    }

    fn ready() -> FilterFacts {
        let (digest, summary) = (String::new(), PlanSummary::default());
        FilterFacts::Ready { digest, kind: PolicyKind::Headers, summary }
    }

    /// Asks and answers each time that it is due. Returns the waits in seconds between, and whether
    /// the answer was news.
    fn life(module: Value, answers: &[FilterFacts]) -> Vec<(Option<u64>, bool)> {
        let (index, mut book) = (index(module), ModuleBook::new(REFRESH));
        let mut now = Duration::from_secs(1);
        let mut life = Vec::new();
        for facts in answers {
            let questions = book.questions(&index, now);
            let [question] = questions.as_slice() else { panic!("{} at {now:?}", questions.len()) };
            let news = book.answer(&Name::new("n", "f"), &question.revision, facts, now);
            assert_eq!(book.questions(&index, now).len(), 0);
            let wake = book.wake();
            life.push((wake.map(|wake| (wake - now).as_secs()), news));
            now = wake.unwrap_or(now);
        }
        life
    }

    #[test]
    fn what_may_heal_is_asked_again_after_waits_that_double_and_what_cannot_rarely() {
        let lost = failed(FilterReason::FetchFailed);
        let answers = [lost.clone(), lost.clone(), lost, failed(FilterReason::AccessDenied)];
        let waits = [(Some(5), true), (Some(10), true), (Some(20), true), (Some(300), true)];
        assert_eq!(life(pinned(), &answers), waits);
        assert_eq!(life(pinned(), &[ready()]), [(None, true)], "it cannot change");
        let file = json!({"configMap": {"name": "m", "key": "k"}});
        assert_eq!(life(file, &[failed(FilterReason::ModuleInvalid)]), [(None, true)]);
    }

    #[test]
    fn a_tag_is_looked_up_again_and_a_registry_that_is_away_takes_nothing_that_was_had() {
        let lost = failed(FilterReason::FetchFailed);
        let gone = failed(FilterReason::ModuleNotFound);
        let answers = [ready(), lost.clone(), lost.clone(), ready(), lost, gone, ready()];
        let waits = [300, 5, 10, 300, 5, 300, 300];
        let news = [true, false, false, true, false, true, true];
        let expected: Vec<_> = waits.into_iter().map(Some).zip(news).collect();
        assert_eq!(life(tag(), &answers), expected);
    }

    #[test]
    fn a_ca_that_changed_is_a_reason_to_ask_at_once() {
        let source = json!({"url": "https://a.example", "sha256": "0".repeat(64),
                            "caRef": {"name": "ca"}});
        let mut index = index(json!({"http": source}));
        let mut book = ModuleBook::new(REFRESH);
        let now = Duration::ZERO;
        assert_eq!(book.questions(&index, now)[0].config_map, None);
        for version in ["1", "2"] {
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata":
                             {"name": "ca", "namespace": "n", "resourceVersion": version}});
            index.apply(Object::from_json(map).expect("a ConfigMap"));
            let questions = book.questions(&index, now);
            assert_eq!(questions[0].revision.config_map.as_deref(), Some(version));
        }
    }
}
