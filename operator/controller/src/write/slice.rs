//! Where nodes find the leader: the Service of the stream has no selector, and its one endpoint is the
//! replica that holds the lease.

use crate::names::FIELD_MANAGER;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use std::{net::IpAddr, time::Duration};
use tokio::{sync::watch, time::sleep};

/// After a failure.
const RETRY: Duration = Duration::from_secs(1);

/// This replica, as nodes reach it.
#[derive(Clone, Debug)]
pub struct Leader {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
    /// Where this replica listens.
    pub address: IpAddr,
    /// And on which port.
    pub port: u16,
    /// Its pod, for people.
    pub pod: String,
}

/// Leads nodes to this replica whenever it leads; never ends.
pub async fn lead(client: Client, me: Leader, mut leading: watch::Receiver<bool>) {
    let api: Api<EndpointSlice> = Api::namespaced(client, &me.namespace);
    let name = format!("{}-leader", me.service);
    loop {
        if leading.wait_for(|leading| *leading).await.is_err() {
            return std::future::pending().await;
        }
        let slice = me.slice(&name);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        if let Err(error) = api.patch(&name, &parameters, &Patch::Apply(&slice)).await {
            tracing::warn!(%error, slice = name, "nodes do not find this replica yet");
            sleep(RETRY).await;
            continue;
        }
        if leading.wait_for(|leading| !*leading).await.is_err() {
            return std::future::pending().await;
        }
    }
}

impl Leader {
    fn slice(&self, name: &str) -> Value {
        let family = if self.address.is_ipv4() { "IPv4" } else { "IPv6" };
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "labels": {
                    "kubernetes.io/service-name": self.service,
                    "endpointslice.kubernetes.io/managed-by": FIELD_MANAGER,
                },
            },
            "addressType": family,
            "ports": [{"name": "stream", "port": self.port, "protocol": "TCP"}],
            "endpoints": [{
                "addresses": [self.address.to_string()],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "targetRef": {"kind": "Pod", "name": self.pod, "namespace": self.namespace},
            }],
        })
    }
}
