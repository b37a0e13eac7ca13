//! Compiled modules: from the store, or else from the operator.

use super::{connect::Operator, store::Store};
use crate::{
    codec::{ARTIFACT, Protobuf},
    wire::{self, ArtifactRequest, Chunk},
};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt};
use http::uri::PathAndQuery;
use penstock_config::{ResourceKind, Versioned};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{task::spawn_blocking, time::timeout};
use tonic::{Request, client::Grpc};

/// How many are fetched at a time.
const AT_A_TIME: usize = 4;

/// Runs compiled modules.
pub trait LoadModules: Send + Sync + 'static {
    /// Which engine they must be compiled for.
    fn engine(&self) -> String;
    /// Which processor they must be compiled for.
    fn target(&self) -> String;
    /// Whether a module is loaded.
    fn has(&self, digest: &str) -> bool;
    /// Checks and loads a module. May block.
    ///
    /// # Errors
    /// Why it cannot be loaded. Whatever uses it is then refused by name when it is applied.
    fn load(&self, digest: &str, module: Bytes) -> Result<(), String>;
}

/// Where modules come from and go to.
#[derive(Clone)]
pub(super) struct Library {
    modules: Arc<dyn LoadModules>,
    store: Option<Arc<Store>>,
}

impl Library {
    pub(super) fn new(modules: Arc<dyn LoadModules>, store: Option<Arc<Store>>) -> Self {
        Self { modules, store }
    }

    /// What modules must be compiled for.
    pub(super) fn engine(&self) -> (String, String) {
        (self.modules.engine(), self.modules.target())
    }

    /// The modules that resources use and that are not loaded.
    pub(super) fn missing<'a>(
        &self,
        resources: impl IntoIterator<Item = &'a Versioned>,
    ) -> BTreeSet<String> {
        let used = resources.into_iter().filter_map(|resource| match &*resource.content {
            ResourceKind::Filter(filter) => Some(&filter.module),
            _ => None,
        });
        used.filter(|digest| !self.modules.has(digest)).cloned().collect()
    }

    /// Loads modules. Gives those that are loaded now; what is in the way of others is logged.
    pub(super) async fn load(
        &self,
        digests: BTreeSet<String>,
        operator: Option<&Operator>,
        patience: Duration,
    ) -> BTreeSet<String> {
        let load = |digest: String| async move {
            let loaded = timeout(patience, self.load_one(&digest, operator)).await;
            match loaded.unwrap_or_else(|_| Err(format!("not within {patience:?}"))) {
                Ok(()) => Some(digest),
                Err(problem) => {
                    tracing::warn!(digest, "a module is not loaded: {problem}");
                    None
                }
            }
        };
        let loading = stream::iter(digests).map(load).buffer_unordered(AT_A_TIME);
        loading.filter_map(std::future::ready).collect().await
    }

    async fn load_one(&self, digest: &str, operator: Option<&Operator>) -> Result<(), String> {
        let (engine, target) = self.engine();
        let request = ArtifactRequest { digest: digest.into(), engine, target };
        if !request.is_well_formed() {
            return Err("its digest is none".into());
        }
        if self.load_stored(&request).await {
            return Ok(());
        }
        let operator = operator.ok_or("it is not stored, and the operator is away")?;
        let module = fetch(operator, request.clone()).await?;
        let library = self.clone();
        let load = move || {
            library.modules.load(&request.digest, module.clone())?;
            if let Some(store) = &library.store
                && let Err(error) = store.keep_module(&request, &module)
            {
                tracing::warn!("a module is loaded and not stored: {error}");
            }
            Ok(())
        };
        spawn_blocking(load).await.map_err(|error| error.to_string())?
    }

    async fn load_stored(&self, request: &ArtifactRequest) -> bool {
        let (library, request) = (self.clone(), request.clone());
        let load = move || {
            let Some(module) = library.store.as_ref().and_then(|store| store.module(&request))
            else {
                return false;
            };
            let loaded = library.modules.load(&request.digest, module);
            if let Err(problem) = &loaded {
                let digest = &request.digest;
                tracing::warn!(digest, "a stored module is not loaded: {problem}");
            }
            loaded.is_ok()
        };
        spawn_blocking(load).await.unwrap_or(false)
    }
}

/// A module from the operator.
async fn fetch(operator: &Operator, request: ArtifactRequest) -> Result<Bytes, String> {
    let mut grpc = Grpc::new(operator.channel.clone())
        .max_decoding_message_size(wire::CHUNK_BYTES + (1 << 10));
    grpc.ready().await.map_err(|error| error.to_string())?;
    let mut request = Request::new(request);
    request.metadata_mut().insert("authorization", operator.authorization.clone());
    let path = PathAndQuery::from_static(ARTIFACT);
    let codec = Protobuf::<ArtifactRequest, Chunk>::default();
    let answer = grpc.server_streaming(request, path, codec).await;
    let mut chunks = answer.map_err(|status| status.message().to_owned())?.into_inner();
    let mut module = BytesMut::new();
    let mut total = 0;
    while let Some(chunk) = chunks.message().await.map_err(|s| s.message().to_owned())? {
        total = chunk.total;
        let length = (module.len() + chunk.data.len()) as u64;
        if total > wire::MAX_ARTIFACT_BYTES || length > total {
            return Err(format!("it has more than {} bytes", wire::MAX_ARTIFACT_BYTES.min(total)));
        }
        module.extend_from_slice(&chunk.data);
    }
    if module.is_empty() || module.len() as u64 != total {
        return Err(format!("{} of {total} bytes came", module.len()));
    }
    Ok(module.freeze())
}
