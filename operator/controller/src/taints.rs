//! Takes the taint from nodes whose agent is ready, and gives it back: see [`TaintBook`].

use crate::{
    clock::Clock,
    core::{Retaint, TaintBook},
};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::watcher::{self, Event, watcher},
};
use std::{collections::BTreeSet, pin::pin, time::Duration};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// How late a removal is tried again at the earliest, and how late a failed watch is.
const TICK: Duration = Duration::from_secs(1);

/// Changes taints of this key while this replica leads; never ends. `ready` are the nodes whose agent
/// has acknowledged the configuration; `serving`, where pods get addresses from Penstock, those that give
/// them, and after which absence of its agent a node gets the taint back.
pub(crate) async fn follow(
    client: Client,
    clock: Clock,
    key: String,
    leading: watch::Receiver<bool>,
    mut ready: watch::Receiver<BTreeSet<String>>,
    serving: Option<(watch::Receiver<BTreeSet<String>>, Duration)>,
) {
    let api: Api<Node> = Api::all(client);
    let mut events = pin!(watcher(api.clone(), watcher::Config::default()));
    let (serving, absence) = serving.unzip();
    let mut book = TaintBook::new(key, absence);
    let mut troubled = false;
    loop {
        let happened = async {
            tokio::select! {
                event = events.next() => event,
                _ = ready.changed() => None,
            }
        };
        match timeout(TICK, happened).await {
            Ok(Some(Ok(event))) => {
                troubled = false;
                take(&mut book, event);
            }
            Ok(Some(Err(error))) => {
                if !std::mem::replace(&mut troubled, true) {
                    tracing::warn!(%error, "the watch of nodes is interrupted; their taint stays");
                }
                sleep(TICK).await;
            }
            Ok(None) | Err(_) => {}
        }
        if !*leading.borrow() {
            book.rest();
            continue;
        }
        let mut nodes = ready.borrow().clone();
        if let Some(serving) = &serving {
            let serving = serving.borrow();
            nodes.retain(|node| serving.contains(node));
        }
        let now = clock.now().since_start;
        book.ready(nodes, now);
        for change in book.due(now) {
            apply(&api, &mut book, change).await;
        }
    }
}

async fn apply(api: &Api<Node>, book: &mut TaintBook, Retaint { node, tainted, patch }: Retaint) {
    match api.patch(&node, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(patched) => {
            match tainted {
                false => tracing::info!(node, "the agent is ready, the taint is gone"),
                true => tracing::warn!(
                    node,
                    "the agent stays away: the node is tainted, so that no pod is started that would \
                     get no address"
                ),
            }
            book.observe(&patched);
        }
        Err(error) => tracing::warn!(node, tainted, %error, "the taint is not changed for now"),
    }
}

fn take(book: &mut TaintBook, event: Event<Node>) {
    match event {
        Event::Init => book.begin(),
        Event::InitApply(node) | Event::Apply(node) => book.observe(&node),
        Event::Delete(node) => book.forget(&node.name_any()),
        Event::InitDone => {}
    }
}
