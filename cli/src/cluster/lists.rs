//! Lists of objects, in pages: nothing is written and nothing watched.

use super::{Connection, Failure};
use k8s_openapi::{
    NamespaceResourceScope,
    jiff::{Timestamp, fmt::rfc2822},
};
use kube::{
    Api, Resource,
    api::{ListParams, ObjectList},
    client::Body,
};
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Objects of one answer.
const PAGE: u32 = 500;
/// How often a list is begun anew when its pages have expired.
const ATTEMPTS: usize = 3;

/// A request that the API server does not permit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Denied {
    pub(crate) verb: &'static str,
    /// Plural of the kind.
    pub(crate) resource: String,
    /// API group; empty for the core group.
    pub(crate) group: String,
    /// `None`: in the whole cluster.
    pub(crate) namespace: Option<String>,
}

/// What is listed: by default everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// `None`: the whole cluster.
    pub(crate) namespace: Option<String>,
    /// A label selector.
    pub(crate) labels: &'static str,
    /// A field selector.
    pub(crate) fields: &'static str,
    /// Only the first object: it matters whether there is one, or whether the kind is defined.
    pub(crate) one: bool,
}

/// Reads, and keeps in mind what is not permitted: that is no error.
pub(crate) struct Reader<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) denied: Vec<Denied>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(connection: &'a Connection) -> Self {
        Self { connection, denied: Vec::new() }
    }

    /// Clock and version of the API server: the clock of this machine may be wrong.
    pub(crate) async fn clock(&self) -> Result<(Timestamp, String), Failure> {
        let Connection { client, server } = self.connection;
        let failure = |error: &kube::Error| Failure::of_request(server, "say its version", error);
        let request = http::Request::get("/version").body(Body::empty());
        let request = request.map_err(|error| failure(&kube::Error::HttpError(error)))?;
        let answer = client.send(request).await.map_err(|error| failure(&error))?;
        let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
        let now = date.and_then(|date| rfc2822::parse(date).ok()).map(|date| date.timestamp());
        let version = client.apiserver_version().await.map_err(|error| failure(&error))?;
        Ok((now.unwrap_or_else(Timestamp::now), version.git_version))
    }

    /// An object of a namespace.
    pub(crate) async fn get<K>(&mut self, namespace: &str, name: &str) -> Result<Option<K>, Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        let api: Api<K> = Api::namespaced(self.connection.client.clone(), namespace);
        match api.get_opt(name).await {
            Ok(object) => Ok(object),
            Err(error) if code(&error) == 403 => {
                self.deny::<K>(&(), "get", Some(namespace));
                Ok(None)
            }
            Err(error) => {
                let what = format!("get {}", K::plural(&()));
                Err(Failure::of_request(&self.connection.server, &what, &error))
            }
        }
    }

    /// All objects of a namespaced kind at a place.
    pub(crate) async fn list_in<K>(&mut self, place: &Place) -> Result<Vec<K>, Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        let client = self.connection.client.clone();
        let api: Api<K> = match &place.namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let missing = self.missing::<K>();
        self.pages(&api, &(), place).await?.ok_or(missing)
    }

    /// All objects of a kind that every cluster has.
    pub(crate) async fn list<K>(&mut self, place: &Place) -> Result<Vec<K>, Failure>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let missing = self.missing::<K>();
        self.list_if_defined(&(), place).await?.ok_or(missing)
    }

    /// All objects of a kind that somebody has to install; `None` where nobody has.
    pub(crate) async fn list_if_defined<K>(
        &mut self,
        kind: &K::DynamicType,
        place: &Place,
    ) -> Result<Option<Vec<K>>, Failure>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = Api::all_with(self.connection.client.clone(), kind);
        self.pages(&api, kind, place).await
    }

    async fn pages<K>(
        &mut self,
        api: &Api<K>,
        kind: &K::DynamicType,
        place: &Place,
    ) -> Result<Option<Vec<K>>, Failure>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        let mut attempt = 1;
        let first = ListParams::default().limit(if place.one { 1 } else { PAGE });
        let first = first.labels(place.labels).fields(place.fields);
        let (mut all, mut next) = (Vec::new(), first.clone());
        loop {
            let page: ObjectList<K> = match api.list(&next).await {
                Ok(page) => page,
                Err(error) if code(&error) == 404 => return Ok(None),
                Err(error) if code(&error) == 403 => {
                    self.deny::<K>(kind, "list", place.namespace.as_deref());
                    return Ok(Some(Vec::new()));
                }
                // The pages that are left are of a version that is gone.
                Err(error) if code(&error) == 410 && attempt < ATTEMPTS => {
                    attempt += 1;
                    all.clear();
                    next = first.clone();
                    continue;
                }
                Err(error) => {
                    let what = format!("list {}", K::plural(kind));
                    return Err(Failure::of_request(&self.connection.server, &what, &error));
                }
            };
            all.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty() && !place.one) {
                Some(token) => next = first.clone().continue_token(&token),
                None => return Ok(Some(all)),
            }
        }
    }

    /// A kind that every cluster has, and this one has not.
    fn missing<K: Resource<DynamicType = ()>>(&self) -> Failure {
        Failure {
            text: format!(
                "the API server {} does not know {}: it is no Kubernetes that this command knows",
                self.connection.server,
                K::plural(&())
            ),
            retry: false,
        }
    }

    fn deny<K: Resource>(
        &mut self,
        kind: &K::DynamicType,
        verb: &'static str,
        namespace: Option<&str>,
    ) {
        self.denied.push(Denied {
            verb,
            resource: K::plural(kind).into_owned(),
            group: K::group(kind).into_owned(),
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
