//! Statuses of nodes and events, at the API server.

use crate::names::FIELD_MANAGER;
use futures_util::{StreamExt as _, stream};
use k8s_openapi::{
    api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use parking_lot::Mutex;
use penstock_eni::Problem;
use penstock_resources::{PenstockNode, penstock_node::PenstockNodeStatus};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::Notify, time::sleep};

/// Between writes of one node's status: pods come and go faster than people read.
const PACE: Duration = Duration::from_secs(1);

/// Writes at a time.
const AT_A_TIME: usize = 8;

/// The name under which events are reported.
const CONTROLLER: &str = "penstock.dev/address-controller";

/// A Node, and its identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId {
    pub(super) name: String,
    pub(super) uid: String,
}

/// The newest of each node that is to be written.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    statuses: Mutex<BTreeMap<NodeId, PenstockNodeStatus>>,
    posted: Notify,
}

impl Outbox {
    /// What is to be written of a node; in place of what was and is not yet.
    pub(super) fn post(&self, node: NodeId, status: PenstockNodeStatus) {
        self.0.statuses.lock().insert(node, status);
        self.0.posted.notify_one();
    }

    /// Writes what is posted; never ends.
    pub(super) async fn write(&self, client: Client) {
        let api: Api<PenstockNode> = Api::all(client);
        loop {
            self.0.posted.notified().await;
            let posted = std::mem::take(&mut *self.0.statuses.lock());
            let failed: Vec<_> = stream::iter(posted)
                .map(|(node, status)| {
                    let api = &api;
                    async move {
                        let result = write(api, &node, &status).await;
                        result.err().map(|error| (node, status, error))
                    }
                })
                .buffer_unordered(AT_A_TIME)
                .filter_map(std::future::ready)
                .collect()
                .await;
            for (node, status, error) in failed {
                tracing::debug!(node = node.name, %error, "a node's status is not written yet");
                // Unless something newer came.
                self.0.statuses.lock().entry(node).or_insert(status);
                self.0.posted.notify_one();
            }
            sleep(PACE).await;
        }
    }
}

/// The object goes with its Node.
async fn write(
    api: &Api<PenstockNode>,
    node: &NodeId,
    status: &PenstockNodeStatus,
) -> kube::Result<()> {
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: node.name.clone(),
        uid: node.uid.clone(),
        ..OwnerReference::default()
    };
    let (api_version, kind) = ("penstock.dev/v1alpha1", "PenstockNode");
    let object = json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {"name": node.name, "ownerReferences": [owner]},
        "spec": {},
    });
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(&node.name, &parameters, &Patch::Apply(&object)).await?;
    let object = json!({"apiVersion": api_version, "kind": kind, "status": status});
    api.patch_status(&node.name, &parameters, &Patch::Apply(&object)).await?;
    Ok(())
}

/// Tells people of a node whose pods wait for addresses. An event that cannot be written is only
/// logged: the status says the same.
pub(super) async fn tell(client: Client, me: String, node: NodeId, problem: Problem) {
    let reporter = Reporter { controller: CONTROLLER.into(), instance: Some(me) };
    let reference = ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Node".into()),
        name: Some(node.name.clone()),
        uid: Some(node.uid),
        ..ObjectReference::default()
    };
    let event = Event {
        type_: EventType::Warning,
        reason: problem.reason.as_str().to_owned(),
        note: Some(format!("{} addresses are missing: {}", problem.missing, problem.message)),
        action: "GetAddresses".into(),
        secondary: None,
    };
    if let Err(error) = Recorder::new(client, reporter).publish(&event, &reference).await {
        tracing::debug!(node = node.name, %error, "an event was not written");
    }
}
