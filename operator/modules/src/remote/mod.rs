//! Modules from registries and web servers.

mod cache;
mod challenge;
mod credentials;
mod http;
mod location;
mod manifest;
mod reach;
mod reference;
mod registry;
mod trust;
mod verify;

pub use http::Patience;
pub use reach::Reach;

use crate::{DEFAULT_MAX_BYTES, Failure};
use bytes::Bytes;
use cache::{Cache, Store};
use http::{Client, Get};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use location::Location;
use penstock_gateway::FilterReason;
use penstock_resources::{
    WasmFilter,
    wasm_filter::{HttpSource, ModuleSource, OciSource},
};
use reference::Reference;
use registry::Registry;
use rustls::ClientConfig;
use std::{collections::BTreeSet, sync::Arc};

/// How modules are fetched.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Addresses that they may come from.
    pub reach: Reach,
    /// Registries (`host:port`) that are spoken to without TLS.
    pub plain_registries: BTreeSet<String>,
    /// Bytes that a module may have.
    pub max_bytes: u64,
    /// For how long servers are waited for.
    pub patience: Patience,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            reach: Reach::default(),
            plain_registries: BTreeSet::new(),
            max_bytes: DEFAULT_MAX_BYTES,
            patience: Patience::default(),
        }
    }
}

/// The objects that the source of a filter names, in its namespace.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// What `pullSecretRef` names, where it exists.
    pub pull_secret: Option<Secret>,
    /// What `caRef` names, where it exists.
    pub authorities: Option<ConfigMap>,
}

/// Fetches modules. What it fetched is kept by digest, for the namespace that could have it.
#[derive(Debug)]
pub struct Fetcher {
    options: FetchOptions,
    client: Client,
    /// Trusts public authorities.
    public: Arc<ClientConfig>,
    store: Store,
}

/// Whether the module of a filter has to be fetched by a [`Fetcher`].
pub fn is_remote(filter: &WasmFilter) -> bool {
    matches!(filter.spec.module, ModuleSource::Oci(_) | ModuleSource::Http(_))
}

impl Fetcher {
    /// A fetcher that knows nothing yet.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(options: FetchOptions) -> Result<Self, rustls::Error> {
        let client = Client { reach: options.reach, patience: options.patience };
        Ok(Self { options, client, public: trust::public()?, store: Store::default() })
    }

    /// The module of a filter, complete and with the digest that it must have.
    ///
    /// # Errors
    /// Why it cannot be had, and what to do.
    pub async fn fetch(&self, filter: &WasmFilter, access: &Access) -> Result<Bytes, Failure> {
        let namespace = filter.metadata.namespace.as_deref().unwrap_or("default");
        let cache = Cache { store: &self.store, namespace };
        let result = match &filter.spec.module {
            ModuleSource::Oci(source) => self.oci(source, access, &cache).await,
            ModuleSource::Http(source) => self.http(source, access, &cache).await,
            ModuleSource::File(_) | ModuleSource::ConfigMap(_) => Err(Failure::new(
                FilterReason::UnsupportedSource,
                "files and ConfigMaps are read, not fetched",
            )),
        };
        result.map_err(|failure| {
            let what = match &filter.spec.module {
                ModuleSource::Oci(source) => format!("image {}", source.image),
                ModuleSource::Http(source) => source.url.clone(),
                ModuleSource::File(_) | ModuleSource::ConfigMap(_) => "spec.module".to_owned(),
            };
            Failure { message: format!("{what}: {}", failure.message), ..failure }
        })
    }

    async fn oci(
        &self,
        source: &OciSource,
        access: &Access,
        cache: &Cache<'_>,
    ) -> Result<Bytes, Failure> {
        let reference = Reference::parse(&source.image).map_err(|cause| {
            let remedy = "write registry/repository:tag or registry/repository@sha256:<64 digits>";
            Failure::new(FilterReason::UnsupportedSource, format!("{cause}; {remedy}"))
        })?;
        let basic = match (&source.pull_secret_ref, &access.pull_secret) {
            (None, _) => None,
            (Some(named), None) => return Err(missing("Secret", &named.name, "pullSecretRef")),
            (Some(named), Some(secret)) => credentials::of(secret, &reference.registry)
                .map_err(|cause| denied(&named.name, &cause))?,
        };
        let tls = self.tls(source.ca_ref.as_ref().map(|named| named.name.as_str()), access)?;
        let plain = self.options.plain_registries.contains(&reference.registry);
        let mut registry = Registry {
            client: &self.client,
            tls: &tls,
            plain,
            reference: &reference,
            basic,
            authorization: None,
        };
        registry.pull(cache, self.options.max_bytes).await
    }

    async fn http(
        &self,
        source: &HttpSource,
        access: &Access,
        cache: &Cache<'_>,
    ) -> Result<Bytes, Failure> {
        let digest = format!("sha256:{}", source.sha256);
        if let Some(known) = cache.get(&digest) {
            return Ok(known);
        }
        let at = Location::parse(&source.url).ok_or_else(|| {
            Failure::new(FilterReason::UnsupportedSource, "write an absolute http or https address")
        })?;
        let tls = self.tls(source.ca_ref.as_ref().map(|named| named.name.as_str()), access)?;
        let limit = self.options.max_bytes;
        let get =
            Get { at, accept: "application/wasm, */*", authorization: None, tls: &tls, limit };
        let content = self.client.get(get).await?.content()?;
        cache.put(&digest, &content)?;
        Ok(content)
    }

    fn tls(&self, ca: Option<&str>, access: &Access) -> Result<Arc<ClientConfig>, Failure> {
        match (ca, &access.authorities) {
            (None, _) => Ok(Arc::clone(&self.public)),
            (Some(name), None) => Err(missing("ConfigMap", name, "caRef")),
            (Some(name), Some(map)) => trust::private(map).map_err(|cause| {
                Failure::new(
                    FilterReason::AccessDenied,
                    format!(
                        "ConfigMap {name} of caRef: {cause}; put PEM certificates under ca.crt"
                    ),
                )
            }),
        }
    }
}

fn missing(kind: &str, name: &str, field: &str) -> Failure {
    Failure::new(
        FilterReason::AccessDenied,
        format!(
            "{field} names {kind} {name}, which does not exist; create it in the filter's \
                 namespace"
        ),
    )
}

fn denied(secret: &str, cause: &str) -> Failure {
    Failure::new(FilterReason::AccessDenied, format!("Secret {secret} of pullSecretRef: {cause}"))
}
