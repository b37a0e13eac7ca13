//! Modules: looked at on a thread of their own, and given to nodes as compiled code.

use crate::{
    core::{Input, Question, name_of},
    engine::{Inbox, ModuleTask},
    fetching::Fetching,
    trust::Trust,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use penstock_filter_host::{
    Host,
    signature::{ENGINE, Subject, TARGET, sign},
};
use penstock_gateway::FilterFacts;
use penstock_modules::{ChildCompiler, CompileLimits, Failure, Modules, Sources, is_remote};
use penstock_resources::WasmFilter;
use penstock_stream::{ArtifactError, Artifacts, wire::ArtifactRequest};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{Arc, mpsc::Receiver},
};
use tokio::sync::watch;

/// Compiled modules, for nodes that ask.
#[derive(Clone)]
pub(crate) struct Shelf {
    artifacts: Arc<Mutex<BTreeMap<String, Bytes>>>,
    trust: watch::Receiver<Option<Trust>>,
}

/// Modules, compiled by a program of our own or, without one, by this process.
pub(crate) fn modules(host: Host, compiler: Option<PathBuf>) -> Modules {
    let modules = Modules::new(host.clone());
    match compiler {
        Some(program) => {
            modules.with_compiler(ChildCompiler::new(host, program, CompileLimits::default()))
        }
        None => modules,
    }
}

/// Looks at modules until nobody asks any more. Those from afar are fetched by tasks of their own,
/// so that nobody waits for a server but the filters that name it.
pub(crate) fn run(
    mut modules: Modules,
    tasks: &Receiver<ModuleTask>,
    fetching: &Fetching,
    inbox: &Inbox,
    shelf: &Shelf,
) {
    while let Ok(task) = tasks.recv() {
        match task {
            ModuleTask::Resolve(questions) => {
                for question in questions {
                    if is_remote(&question.filter) {
                        fetching.start(question);
                    } else {
                        inbox.send(answer(&mut modules, question, None, shelf));
                    }
                }
            }
            ModuleTask::Fetched(question, fetched) => {
                inbox.send(answer(&mut modules, *question, Some(fetched), shelf));
            }
            ModuleTask::Retain(in_use) => {
                let serving = in_use.serving.iter().map(String::as_str);
                modules.retain(in_use.filters.iter().map(AsRef::as_ref), serving);
                shelf.retain(&modules.loaded().collect());
            }
        }
    }
}

fn answer(
    modules: &mut Modules,
    question: Question,
    fetched: Option<Result<Bytes, Failure>>,
    shelf: &Shelf,
) -> Input {
    let Question { revision, filter, config_map } = question;
    let name = name_of(&filter);
    let span = tracing::info_span!("module", filter = %name);
    let objects = Objects { config_map: config_map.as_deref(), fetched };
    let resolution = span.in_scope(|| modules.resolve(&filter, &objects));
    if let FilterFacts::Failed { reason, message } = &resolution.facts {
        tracing::warn!(parent: &span, reason = reason.as_str(), message, "no module");
    }
    if let FilterFacts::Ready { digest, .. } = &resolution.facts {
        shelf.put(digest, modules);
    }
    Input::Facts { filter: name, asked: revision, facts: resolution.facts }
}

/// Where modules are in a cluster.
struct Objects<'a> {
    config_map: Option<&'a ConfigMap>,
    fetched: Option<Result<Bytes, Failure>>,
}

impl Sources for Objects<'_> {
    fn file(&self, _: &WasmFilter, _: &str, _: u64) -> Option<io::Result<Vec<u8>>> {
        None
    }

    fn config_map(&self, _: &str, _: &str) -> Option<&ConfigMap> {
        self.config_map
    }

    fn fetched(&self, _: &WasmFilter) -> Option<Result<Bytes, Failure>> {
        self.fetched.clone()
    }
}

impl Shelf {
    /// An empty one, that signs what it gives with the key in force.
    pub(crate) fn new(trust: watch::Receiver<Option<Trust>>) -> Self {
        Self { artifacts: Arc::default(), trust }
    }

    fn give(&self, request: &ArtifactRequest) -> Result<Bytes, ArtifactError> {
        let ArtifactRequest { digest, engine, target } = request;
        if (engine.as_str(), target.as_str()) != (ENGINE, TARGET) {
            return Err(ArtifactError::Unsupported(format!(
                "modules are compiled for engine {ENGINE} on {TARGET}, not for {engine} on \
                 {target}: run operator and proxies of one release"
            )));
        }
        let found = self.artifacts.lock().get(digest).cloned();
        let artifact = found.ok_or_else(|| ArtifactError::Unknown(digest.clone()))?;
        let trust = self.trust.borrow().clone();
        let key = trust.map(|trust| trust.authority.modules_key_pair());
        let Some(Ok(key)) = key else {
            return Err(ArtifactError::Unavailable("there is no key to sign modules with".into()));
        };
        Ok(sign(&artifact, Subject { digest, engine, target }, &key).into())
    }

    fn put(&self, digest: &str, modules: &Modules) {
        if self.artifacts.lock().contains_key(digest) {
            return;
        }
        match modules.artifact(digest) {
            Some(Ok(artifact)) => {
                self.artifacts.lock().insert(digest.to_owned(), artifact.into());
            }
            Some(Err(error)) => {
                tracing::error!(digest, %error, "a module cannot be given to nodes")
            }
            None => {}
        }
    }

    fn retain(&self, digests: &BTreeSet<&str>) {
        self.artifacts.lock().retain(|digest, _| digests.contains(digest.as_str()));
    }
}

impl Artifacts for Shelf {
    fn artifact<'a>(
        &'a self,
        request: &'a ArtifactRequest,
    ) -> BoxFuture<'a, Result<Bytes, ArtifactError>> {
        Box::pin(async move { self.give(request) })
    }
}
