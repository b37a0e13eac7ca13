//! Fetches modules from registries and web servers.

use crate::{core::Question, engine::ModuleTask};
use bytes::Bytes;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use penstock_gateway::FilterReason;
use penstock_modules::{Access, Failure, Fetcher};
use penstock_resources::{WasmFilter, wasm_filter::ModuleSource};
use std::sync::{Arc, mpsc::Sender};
use tokio::{runtime::Handle, sync::Semaphore};

/// Modules that are fetched at a time: each may take memory, and stall.
const AT_A_TIME: usize = 8;

/// Fetches modules, each in a task of its own.
#[derive(Clone)]
pub(crate) struct Fetching {
    runtime: Handle,
    fetcher: Arc<Fetcher>,
    client: Client,
    permits: Arc<Semaphore>,
    done: Sender<ModuleTask>,
}

impl Fetching {
    /// Runs on this runtime. What was fetched goes to `done`.
    pub(crate) fn new(fetcher: Fetcher, client: Client, done: Sender<ModuleTask>) -> Self {
        let permits = Arc::new(Semaphore::new(AT_A_TIME));
        Self { runtime: Handle::current(), fetcher: Arc::new(fetcher), client, permits, done }
    }

    /// Begins to fetch the module of a filter.
    pub(crate) fn start(&self, question: Question) {
        let this = self.clone();
        self.runtime.spawn(async move {
            // Nobody closes the semaphore.
            let permit = this.permits.acquire().await;
            let fetched = this.fetch(&question).await;
            drop(permit);
            // The thread ends only with the process.
            let _ = this.done.send(ModuleTask::Fetched(Box::new(question), fetched));
        });
    }

    async fn fetch(&self, question: &Question) -> Result<Bytes, Failure> {
        let filter = &question.filter;
        let access = Access {
            pull_secret: self.pull_secret(filter).await?,
            authorities: question.config_map.as_deref().cloned(),
        };
        self.fetcher.fetch(filter, &access).await
    }

    /// Read when it is needed, and held no longer.
    async fn pull_secret(&self, filter: &WasmFilter) -> Result<Option<Secret>, Failure> {
        let ModuleSource::Oci(source) = &filter.spec.module else { return Ok(None) };
        let Some(named) = &source.pull_secret_ref else { return Ok(None) };
        let namespace = filter.metadata.namespace.as_deref().unwrap_or("default");
        let secrets = Api::<Secret>::namespaced(self.client.clone(), namespace);
        secrets.get_opt(&named.name).await.map_err(|error| {
            Failure::new(
                FilterReason::FetchFailed,
                format!("Secret {} of pullSecretRef cannot be read: {error}", named.name),
            )
        })
    }
}
