//! Reads a cluster: lists in pages, nothing is written and nothing watched.

use super::{
    connect::Connection,
    failure::Failure,
    seen::{AGENT, Denied, OPERATOR, PROXY, Seen},
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment},
        coordination::v1::Lease,
        core::v1::Event,
    },
    jiff::{Timestamp, fmt::rfc2822},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ListParams, ObjectList},
    client::Body,
};
use penstock_resources::{GatewayConfig, Kind, gateway_api::ReferenceGrant};
use serde::de::DeserializeOwned;
use std::{collections::BTreeSet, fmt::Debug};

/// Objects of one answer.
const PAGE: u32 = 500;
/// How often a list is begun anew when its pages have expired.
const ATTEMPTS: usize = 3;
/// Label of everything that the chart makes.
const PART_OF: &str = "app.kubernetes.io/part-of=penstock";

/// Reads everything that a report needs.
///
/// # Errors
/// When the API server cannot be reached, does not know who asks, or fails. What is not permitted is
/// no error: it is part of what was read.
pub(crate) async fn read(
    connection: &Connection,
    namespace: Option<&str>,
) -> Result<Seen, Failure> {
    let Connection { client, server } = connection;
    let mut reading = Reading { client, server, seen: Seen::default() };
    reading.seen.server.clone_from(server);
    reading.version().await?;
    reading.components(namespace).await?;
    reading.seen.nodes = reading.list(&Place::cluster(None), false).await?;
    reading.seen.classes = reading.list(&Place::cluster(Some(Kind::GatewayClass)), false).await?;
    reading.seen.gateways = reading.list(&Place::cluster(Some(Kind::Gateway)), false).await?;
    reading.seen.routes = reading.list(&Place::cluster(Some(Kind::HttpRoute)), false).await?;
    reading.seen.filters = reading.list(&Place::cluster(Some(Kind::WasmFilter)), false).await?;
    reading.seen.pools = reading.list(&Place::cluster(Some(Kind::LoadBalancerPool)), false).await?;
    // Of these it matters only whether the definition is there.
    let _: Vec<ReferenceGrant> =
        reading.list(&Place::cluster(Some(Kind::ReferenceGrant)), true).await?;
    let _: Vec<GatewayConfig> =
        reading.list(&Place::cluster(Some(Kind::GatewayConfig)), true).await?;
    Ok(reading.seen)
}

/// What is listed.
struct Place {
    namespace: Option<String>,
    labels: &'static str,
    fields: &'static str,
    /// Of a kind that somebody has to install.
    kind: Option<Kind>,
}

impl Place {
    fn cluster(kind: Option<Kind>) -> Self {
        Self { namespace: None, labels: "", fields: "", kind }
    }

    fn labelled(namespace: Option<&str>) -> Self {
        Self { namespace: namespace.map(str::to_owned), labels: PART_OF, fields: "", kind: None }
    }
}

struct Reading<'a> {
    client: &'a Client,
    server: &'a str,
    seen: Seen,
}

impl Reading<'_> {
    /// Version and clock of the API server: that of this machine may be wrong.
    async fn version(&mut self) -> Result<(), Failure> {
        let failure =
            |error: &kube::Error| Failure::of_request(self.server, "say its version", error);
        let request = http::Request::get("/version").body(Body::empty());
        let request = request.map_err(|error| failure(&kube::Error::HttpError(error)))?;
        let answer = self.client.send(request).await.map_err(|error| failure(&error))?;
        let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
        let now = date.and_then(|date| rfc2822::parse(date).ok()).map(|date| date.timestamp());
        self.seen.now = now.unwrap_or_else(Timestamp::now);
        let version = self.client.apiserver_version().await.map_err(|error| failure(&error))?;
        self.seen.kubernetes = version.git_version;
        Ok(())
    }

    async fn components(&mut self, namespace: Option<&str>) -> Result<(), Failure> {
        let place = Place::labelled(namespace);
        let deployments: Vec<Deployment> = self.list_in(&place).await?;
        let sets: Vec<DaemonSet> = self.list_in(&place).await?;
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
        self.seen.pods = self.list_in(&Place::labelled(Some(&chosen))).await?;
        self.seen.lease = self.lease(&chosen).await?;
        let warnings =
            Place { namespace: Some(chosen), labels: "", fields: "type=Warning", kind: None };
        self.seen.events = self.list_in::<Event>(&warnings).await?;
        // They only say more about what is said anyway.
        self.seen.denied.retain(|denied| denied.resource != "events");
        Ok(())
    }

    async fn lease(&mut self, namespace: &str) -> Result<Option<Lease>, Failure> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), namespace);
        match api.get_opt(OPERATOR).await {
            Ok(lease) => Ok(lease),
            Err(error) if code(&error) == 403 => {
                self.deny::<Lease>("get", Some(namespace));
                Ok(None)
            }
            Err(error) => Err(Failure::of_request(self.server, "get leases", &error)),
        }
    }

    /// All objects of a namespaced kind at a place.
    async fn list_in<K>(&mut self, place: &Place) -> Result<Vec<K>, Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        let api: Api<K> = match &place.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        self.pages(&api, place, false).await
    }

    /// All objects of a kind in the cluster, or the first page of one object.
    async fn list<K>(&mut self, place: &Place, one: bool) -> Result<Vec<K>, Failure>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        self.pages(&api, place, one).await
    }

    async fn pages<K>(&mut self, api: &Api<K>, place: &Place, one: bool) -> Result<Vec<K>, Failure>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let mut attempt = 1;
        let first = ListParams::default().limit(if one { 1 } else { PAGE });
        let first = first.labels(place.labels).fields(place.fields);
        let (mut all, mut next) = (Vec::new(), first.clone());
        loop {
            let page: ObjectList<K> = match (api.list(&next).await, place.kind) {
                (Ok(page), _) => page,
                (Err(error), Some(kind)) if code(&error) == 404 => {
                    self.seen.missing.push(kind);
                    return Ok(Vec::new());
                }
                (Err(error), _) if code(&error) == 403 => {
                    self.deny::<K>("list", place.namespace.as_deref());
                    return Ok(Vec::new());
                }
                // The pages that are left are of a version that is gone.
                (Err(error), _) if code(&error) == 410 && attempt < ATTEMPTS => {
                    attempt += 1;
                    all.clear();
                    next = first.clone();
                    continue;
                }
                (Err(error), _) => {
                    let what = format!("list {}", K::plural(&()));
                    return Err(Failure::of_request(self.server, &what, &error));
                }
            };
            all.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty() && !one) {
                Some(token) => next = first.clone().continue_token(&token),
                None => return Ok(all),
            }
        }
    }

    fn deny<K: Resource<DynamicType = ()>>(&mut self, verb: &'static str, namespace: Option<&str>) {
        self.seen.denied.push(Denied {
            verb,
            resource: K::plural(&()).into_owned(),
            group: K::group(&()).into_owned(),
            namespace: namespace.map(str::to_owned),
        });
    }
}

/// Status of an answer; 0 where there is none.
fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    }
}
