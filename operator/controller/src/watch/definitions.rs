//! The definitions of kinds, and with them all watches.

use super::kinds::{plural, watch_kind};
use crate::{
    core::{Input, is_built_in},
    engine::Inbox,
};
use futures_util::StreamExt as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    core::PartialObjectMeta,
    runtime::watcher::{self, Event, watcher},
};
use penstock_resources::{KINDS, Kind, gateway_api};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    time::Duration,
};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::sleep,
};

/// Annotation of the Gateway API's definitions: their release.
const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";
/// After a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Watches everything; never ends.
pub async fn watch(client: Client, inbox: Inbox) {
    let mut watches = Watches { client, inbox, running: BTreeMap::new(), tasks: JoinSet::new() };
    KINDS.into_iter().filter(|kind| is_built_in(*kind)).for_each(|kind| watches.start(kind));
    let api: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(watches.client.clone());
    let mut events = pin!(watcher(api, watcher::Config::default()));
    let (mut known, mut listed) = (BTreeMap::new(), BTreeMap::new());
    let mut troubled = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed = BTreeMap::new(),
            Ok(Event::InitApply(definition)) => put(&mut listed, definition),
            Ok(Event::InitDone) => {
                known = std::mem::take(&mut listed);
                watches.adjust(&known);
            }
            Ok(Event::Apply(definition)) => {
                put(&mut known, definition);
                watches.adjust(&known);
            }
            Ok(Event::Delete(definition)) => {
                known.remove(&definition.metadata.name.unwrap_or_default());
                watches.adjust(&known);
            }
            Err(error) => {
                if !std::mem::replace(&mut troubled, true) {
                    tracing::warn!(%error, "the watch of the definitions of kinds is interrupted");
                }
                sleep(RETRY).await;
                continue;
            }
        }
        troubled = false;
    }
}

struct Watches {
    client: Client,
    inbox: Inbox,
    running: BTreeMap<Kind, AbortHandle>,
    tasks: JoinSet<()>,
}

impl Watches {
    fn start(&mut self, kind: Kind) {
        let watch = watch_kind(self.client.clone(), kind, self.inbox.clone());
        self.running.insert(kind, self.tasks.spawn(watch));
    }

    /// Watches the kinds whose definitions are there, and no others.
    fn adjust(&mut self, definitions: &BTreeMap<String, Option<String>>) {
        let installable = KINDS.into_iter().filter(|kind| !is_built_in(*kind));
        let (mut installed, mut bundle_version) = (BTreeSet::new(), None);
        let mut fresh = Vec::new();
        for kind in installable {
            let definition = definitions.get(&format!("{}.{}", plural(kind), kind.group()));
            let running = self.running.contains_key(&kind);
            if let Some(version) = definition {
                installed.insert(kind);
                if kind.group() == gateway_api::GROUP && bundle_version.is_none() {
                    bundle_version.clone_from(version);
                }
                if !running {
                    tracing::info!(%kind, "is installed: it is watched from now on");
                    fresh.push(kind);
                }
            } else if let Some(watch) = self.running.remove(&kind) {
                tracing::info!(%kind, "is not installed any more");
                watch.abort();
            }
        }
        // Before the first word of a watch: what comes of a kind that is not named is not heard.
        self.inbox.send(Input::Definitions { installed, bundle_version });
        fresh.into_iter().for_each(|kind| self.start(kind));
    }
}

fn put(
    known: &mut BTreeMap<String, Option<String>>,
    definition: PartialObjectMeta<CustomResourceDefinition>,
) {
    let mut annotations = definition.metadata.annotations.unwrap_or_default();
    let name = definition.metadata.name.unwrap_or_default();
    known.insert(name, annotations.remove(BUNDLE_VERSION));
}
