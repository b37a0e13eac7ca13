//! What has to be done before the release goes: a hook of the chart runs it.
//!
//! The agents' DaemonSet itself cleans the nodes, since it is what is on every node, with the privileges
//! and the tolerations that it takes: its containers are told to take away instead of to steer, and are
//! ready once that is done. Everything can be repeated after it was interrupted.

mod cleaning;

use crate::names::{AUTHORITY, TRUST};
use anyhow::{Context as _, bail};
use cleaning::{cleaning, unclean};
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    coordination::v1::Lease,
    core::v1::{ConfigMap, Pod, Secret, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::{fmt::Debug, future::Future, time::Duration};
use tokio::time::{Instant, sleep};

/// Names of the workloads, and of their pods' label `app.kubernetes.io/name`.
const OPERATOR: &str = "penstock-operator";
const AGENT: &str = "penstock-agent";
const PROXY: &str = "penstock-proxy";
/// Services that the operator made for Gateways.
const SERVICES: &str =
    "app.kubernetes.io/managed-by=penstock,gateway.networking.k8s.io/gateway-name";
/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// What is cleaned.
#[derive(Clone, Debug)]
pub struct Options {
    /// Namespace that Penstock is installed in.
    pub namespace: String,
    /// For how long nodes are waited for.
    pub patience: Duration,
    /// Port of the agents' health.
    pub agent_admin_port: u16,
}

/// Ends what runs, cleans the nodes and deletes what the operator made.
///
/// # Errors
/// The API server refuses something; nodes that did not answer in time, each with what is known.
pub async fn run(client: Client, options: Options) -> anyhow::Result<()> {
    let until = Instant::now() + options.patience;
    let namespace = options.namespace.as_str();
    // It would make anew what is deleted below.
    delete::<Deployment>(&client, namespace, OPERATOR).await?;
    delete::<DaemonSet>(&client, namespace, PROXY).await?;
    wait(until, "the operator's pods to end", || gone(&client, namespace, OPERATOR)).await?;
    for service in list::<Service>(&client, namespace, SERVICES).await? {
        delete::<Service>(&client, namespace, &service.name_any()).await?;
    }
    delete::<EndpointSlice>(&client, namespace, "penstock-stream-leader").await?;
    delete::<Lease>(&client, namespace, OPERATOR).await?;
    delete::<Secret>(&client, namespace, AUTHORITY).await?;
    tracing::info!("waiting for the proxies to finish what they serve");
    wait(until, "the proxies' pods to end", || gone(&client, namespace, PROXY)).await?;
    clean_nodes(&client, &options, until).await?;
    // Last: the agents' pods mount it.
    delete::<ConfigMap>(&client, namespace, TRUST).await
}

async fn clean_nodes(client: &Client, options: &Options, until: Instant) -> anyhow::Result<()> {
    let agents: Api<DaemonSet> = Api::namespaced(client.clone(), &options.namespace);
    let Some(daemon_set) = agents.get_opt(AGENT).await.context("cannot read the agents")? else {
        tracing::warn!("there is no DaemonSet {AGENT}: nodes stay as they are");
        return Ok(());
    };
    let spec = json!({"spec": cleaning(daemon_set, options.agent_admin_port).spec});
    let patched = agents.patch(AGENT, &PatchParams::default(), &Patch::Merge(&spec)).await;
    let generation = patched.context("cannot change the agents")?.metadata.generation;
    tracing::info!("the agents take away what they set up");
    loop {
        let daemon_set = agents.get(AGENT).await.context("cannot read the agents")?;
        let pods = list::<Pod>(client, &options.namespace, &label(AGENT)).await?;
        let left = unclean(&daemon_set, generation, &pods);
        if left.is_empty() {
            tracing::info!(nodes = pods.len(), "all nodes are clean");
            return Ok(());
        }
        if Instant::now() >= until {
            bail!(
                "not clean after {} s: {}. Programs, rules and addresses of such a node stay until it \
                 boots anew. Repeat helm uninstall when it answers, or go on without it by \
                 helm uninstall --no-hooks",
                options.patience.as_secs(),
                left.join("; ")
            );
        }
        sleep(LOOK).await;
    }
}

fn label(name: &str) -> String {
    format!("app.kubernetes.io/name={name}")
}

async fn gone(client: &Client, namespace: &str, name: &str) -> anyhow::Result<Vec<String>> {
    let pods = list::<Pod>(client, namespace, &label(name)).await?;
    Ok(pods.iter().map(cleaning::describe).collect())
}

/// Waits until nothing is left.
async fn wait<F>(until: Instant, what: &str, left: impl Fn() -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<Vec<String>>>,
{
    loop {
        let left = left().await?;
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            bail!(
                "waited in vain for {what}: {}. Repeat helm uninstall with a longer --timeout, or go on \
                 without the nodes by helm uninstall --no-hooks",
                left.join("; ")
            );
        }
        sleep(LOOK).await;
    }
}

async fn list<K>(client: &Client, namespace: &str, labels: &str) -> anyhow::Result<Vec<K>>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let all = api.list(&ListParams::default().labels(labels)).await;
    Ok(all.with_context(|| format!("cannot list {}", K::plural(&())))?.items)
}

/// Deletes an object; one that is gone already is well.
async fn delete<K>(client: &Client, namespace: &str, name: &str) -> anyhow::Result<()>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot delete {} {name}", K::kind(&()))),
    }
}
