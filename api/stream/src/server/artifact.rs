//! Compiled modules.

use super::auth::Gatekeeper;
use crate::{
    Role,
    wire::{self, ArtifactRequest, Chunk},
};
use bytes::Bytes;
use futures_util::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};
use std::{sync::Arc, time::Duration};
use tonic::{Request, Response, Status, server::ServerStreamingService};

/// For a module to be found, or compiled where it has not been for this engine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Gives compiled modules.
pub trait Artifacts: Send + Sync + 'static {
    /// A module compiled and signed for an engine and a target.
    fn artifact<'a>(
        &'a self,
        request: &'a ArtifactRequest,
    ) -> BoxFuture<'a, Result<Bytes, ArtifactError>>;
}

/// A compiled module cannot be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactError {
    /// No filter names this module.
    #[error("no filter uses module {0}")]
    Unknown(String),
    /// The operator does not compile for this engine or target.
    #[error("{0}")]
    Unsupported(String),
    /// Not now. A retry can help.
    #[error("{0}")]
    Unavailable(String),
}

/// `rpc Artifact`.
#[derive(Clone)]
pub(super) struct ArtifactMethod {
    pub(super) gatekeeper: Gatekeeper,
    pub(super) artifacts: Arc<dyn Artifacts>,
}

impl ServerStreamingService<ArtifactRequest> for ArtifactMethod {
    type Response = Chunk;
    type ResponseStream = BoxStream<'static, Result<Chunk, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<ArtifactRequest>) -> Self::Future {
        let method = self.clone();
        Box::pin(async move { method.answer(request).await })
    }
}

impl ArtifactMethod {
    async fn answer(
        &self,
        request: Request<ArtifactRequest>,
    ) -> Result<Response<BoxStream<'static, Result<Chunk, Status>>>, Status> {
        let who = self.gatekeeper.identify(request.metadata(), request.extensions()).await?;
        if who.role != Role::Proxy {
            return Err(Status::permission_denied("WrongRole: only a proxy runs modules"));
        }
        let request = request.into_inner();
        if !request.is_well_formed() {
            return Err(Status::invalid_argument("Malformed: the request names no module"));
        }
        let found = tokio::time::timeout(PATIENCE, self.artifacts.artifact(&request)).await;
        let found = found
            .unwrap_or_else(|_| Err(ArtifactError::Unavailable("the module is not ready".into())));
        let module = found.map_err(|error| match error {
            ArtifactError::Unknown(_) => Status::not_found(error.to_string()),
            ArtifactError::Unsupported(_) => Status::failed_precondition(error.to_string()),
            ArtifactError::Unavailable(_) => Status::unavailable(error.to_string()),
        })?;
        if module.len() as u64 > wire::MAX_ARTIFACT_BYTES {
            let message = format!("the module has {} bytes, too many to send", module.len());
            return Err(Status::failed_precondition(message));
        }
        Ok(Response::new(stream::iter(chunks(module)).map(Ok).boxed()))
    }
}

/// A module in pieces, none of them copied.
fn chunks(module: Bytes) -> impl Iterator<Item = Chunk> {
    let total = module.len() as u64;
    let starts = (0..module.len()).step_by(wire::CHUNK_BYTES);
    starts.map(move |start| {
        let end = module.len().min(start + wire::CHUNK_BYTES);
        Chunk { total, data: module.slice(start..end) }
    })
}
