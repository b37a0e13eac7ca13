//! Reads what `penstock status` says of a cluster.

use super::seen::{AGENT, OPERATOR, PART_OF, PROXY, Seen};
use crate::cluster::{Connection, Failure, Place, Reader};
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::Event,
};
use kube::{Resource, ResourceExt as _};
use penstock_resources::{GatewayConfig, Kind, gateway_api::ReferenceGrant};
use serde::de::DeserializeOwned;
use std::{collections::BTreeSet, fmt::Debug};

/// Reads everything that a report needs.
///
/// # Errors
/// When the API server cannot be reached, does not know who asks, or fails. What is not permitted is
/// no error: it is part of what was read.
pub(crate) async fn read(
    connection: &Connection,
    namespace: Option<&str>,
) -> Result<Seen, Failure> {
    let mut reading = Reading { reader: Reader::new(connection), seen: Seen::default() };
    reading.seen.server.clone_from(&connection.server);
    (reading.seen.now, reading.seen.kubernetes) = reading.reader.clock().await?;
    reading.components(namespace).await?;
    reading.seen.nodes = reading.reader.list(&Place::default()).await?;
    reading.seen.classes = reading.of(Kind::GatewayClass, false).await?;
    reading.seen.gateways = reading.of(Kind::Gateway, false).await?;
    reading.seen.routes = reading.of(Kind::HttpRoute, false).await?;
    reading.seen.filters = reading.of(Kind::WasmFilter, false).await?;
    reading.seen.pools = reading.of(Kind::LoadBalancerPool, false).await?;
    // Of these it matters only whether the definition is there.
    let _: Vec<ReferenceGrant> = reading.of(Kind::ReferenceGrant, true).await?;
    let _: Vec<GatewayConfig> = reading.of(Kind::GatewayConfig, true).await?;
    reading.seen.denied = reading.reader.denied;
    Ok(reading.seen)
}

/// What the chart made: in a namespace, or wherever it is.
fn labelled(namespace: Option<&str>) -> Place {
    Place { namespace: namespace.map(str::to_owned), labels: PART_OF, ..Place::default() }
}

struct Reading<'a> {
    reader: Reader<'a>,
    seen: Seen,
}

impl Reading<'_> {
    async fn components(&mut self, namespace: Option<&str>) -> Result<(), Failure> {
        let place = labelled(namespace);
        let deployments: Vec<Deployment> = self.reader.list_in(&place).await?;
        let sets: Vec<DaemonSet> = self.reader.list_in(&place).await?;
        let found: BTreeSet<String> = deployments
            .iter()
            .filter_map(|deployment| deployment.namespace())
            .chain(sets.iter().filter_map(|set| set.namespace()))
            .collect();
        let chosen = namespace.map(str::to_owned).or_else(|| found.first().cloned());
        self.seen.namespaces = found;
        self.seen.namespace.clone_from(&chosen);
        let Some(chosen) = chosen else { return Ok(()) };
        let here = |there: Option<String>| there.as_deref() == Some(chosen.as_str());
        self.seen.operator =
            deployments.into_iter().find(|d| d.name_any() == OPERATOR && here(d.namespace()));
        let mut sets = sets.into_iter().filter(|set| here(set.namespace()));
        let (mut agent, mut proxy) = (None, None);
        sets.by_ref().for_each(|set| match set.name_any().as_str() {
            AGENT => agent = Some(set),
            PROXY => proxy = Some(set),
            _ => {}
        });
        (self.seen.agent, self.seen.proxy) = (agent, proxy);
        self.seen.pods = self.reader.list_in(&labelled(Some(&chosen))).await?;
        self.seen.lease = self.reader.get(&chosen, OPERATOR).await?;
        let warnings =
            Place { namespace: Some(chosen), fields: "type=Warning", ..Place::default() };
        self.seen.events = self.reader.list_in::<Event>(&warnings).await?;
        // They only say more about what is said anyway.
        self.reader.denied.retain(|denied| denied.resource != "events");
        Ok(())
    }

    /// All objects of a kind that somebody has to install.
    async fn of<K>(&mut self, kind: Kind, one: bool) -> Result<Vec<K>, Failure>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let place = Place { one, ..Place::default() };
        let found = self.reader.list_if_defined(&(), &place).await?;
        if found.is_none() {
            self.seen.missing.push(kind);
        }
        Ok(found.unwrap_or_default())
    }
}
