//! Modules: looked at on a thread of their own, and given to nodes as compiled code.

use crate::{
    core::{Input, Question},
    engine::{Inbox, ModuleTask},
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
use penstock_gateway::{FilterFacts, Name};
use penstock_modules::{Modules, Sources};
use penstock_resources::WasmFilter;
use penstock_stream::{ArtifactError, Artifacts, wire::ArtifactRequest};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, mpsc::Receiver},
};
use tokio::sync::watch;

/// Compiled modules, for nodes that ask.
#[derive(Clone)]
pub(crate) struct Shelf {
    artifacts: Arc<Mutex<BTreeMap<String, Bytes>>>,
    trust: watch::Receiver<Option<Trust>>,
}

/// Looks at modules until nobody asks any more.
pub(crate) fn run(host: Host, tasks: &Receiver<ModuleTask>, inbox: &Inbox, shelf: &Shelf) {
    let mut modules = Modules::new(host);
    while let Ok(task) = tasks.recv() {
        match task {
            ModuleTask::Resolve(questions) => {
                for question in questions {
                    inbox.send(answer(&mut modules, question, shelf));
                }
            }
            ModuleTask::Retain(in_use) => {
                let serving = in_use.serving.iter().map(String::as_str);
                modules.retain(in_use.filters.iter().map(AsRef::as_ref), serving);
                shelf.retain(&modules.loaded().collect());
            }
        }
    }
}

fn answer(modules: &mut Modules, question: Question, shelf: &Shelf) -> Input {
    let Question { revision, filter, config_map } = question;
    let metadata = &filter.metadata;
    let name = Name::new(
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    );
    let span = tracing::info_span!("module", filter = %name);
    let resolution =
        span.in_scope(|| modules.resolve(&filter, &Objects { config_map: config_map.as_deref() }));
    if let FilterFacts::Ready { digest, .. } = &resolution.facts {
        shelf.put(digest, modules);
    }
    Input::Facts { filter: name, asked: revision, facts: resolution.facts }
}

/// Where modules are in a cluster.
struct Objects<'a> {
    config_map: Option<&'a ConfigMap>,
}

impl Sources for Objects<'_> {
    fn file(&self, _: &WasmFilter, _: &str, _: u64) -> Option<io::Result<Vec<u8>>> {
        None
    }

    fn config_map(&self, _: &str, _: &str) -> Option<&ConfigMap> {
        self.config_map
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
