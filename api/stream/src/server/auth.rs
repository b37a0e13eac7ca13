//! Who a client is.

use crate::Identity;
use futures_util::future::BoxFuture;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::Semaphore;
use tonic::{Extensions, Status, metadata::MetadataMap};

/// How many tokens are examined at a time; more wait. Who has no valid token must not make the
/// operator flood the API server.
const AT_A_TIME: usize = 32;

/// For an examination.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a token; a projected ServiceAccount token has 1 to 2 KiB.
const MAX_TOKEN: usize = 16 << 10;

/// Examines tokens.
pub trait Authenticate: Send + Sync + 'static {
    /// What a token proves.
    fn authenticate<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Identity, AuthError>>;
}

/// A token proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It is not valid for this: another audience, expired, not bound to a node and a pod, of a
    /// ServiceAccount that plays no role. The client is at fault.
    #[error("{0}")]
    Invalid(String),
    /// It cannot be examined now. A retry can help.
    #[error("{0}")]
    Unavailable(String),
}

/// That a connection has proven itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Proven(Arc<AtomicBool>);

impl Proven {
    /// Whether it has.
    pub(super) fn is_proven(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Examines the tokens of requests.
#[derive(Clone)]
pub(super) struct Gatekeeper {
    authenticate: Arc<dyn Authenticate>,
    examining: Arc<Semaphore>,
}

impl Gatekeeper {
    pub(super) fn new(authenticate: Arc<dyn Authenticate>) -> Self {
        Self { authenticate, examining: Arc::new(Semaphore::new(AT_A_TIME)) }
    }

    /// Who sent a request.
    pub(super) async fn identify(
        &self,
        metadata: &MetadataMap,
        extensions: &Extensions,
    ) -> Result<Identity, Status> {
        let token = bearer(metadata).ok_or_else(|| {
            Status::unauthenticated("TokenMissing: `authorization: Bearer TOKEN` is missing")
        })?;
        let examine = async {
            let _permit = self.examining.acquire().await;
            self.authenticate.authenticate(token).await
        };
        let examined = tokio::time::timeout(PATIENCE, examine).await;
        let identity = examined.unwrap_or_else(|_| Err(AuthError::Unavailable("timed out".into())));
        let identity = identity.map_err(|error| {
            tracing::warn!(%error, "a client of the node stream was turned away");
            match error {
                AuthError::Invalid(_) => Status::unauthenticated(format!("TokenInvalid: {error}")),
                AuthError::Unavailable(_) => Status::unavailable(format!(
                    "TokenUnexamined: the token was not examined: {error}"
                )),
            }
        })?;
        if let Some(proven) = extensions.get::<Proven>() {
            proven.0.store(true, Relaxed);
        }
        Ok(identity)
    }
}

fn bearer(metadata: &MetadataMap) -> Option<&str> {
    let value = metadata.get("authorization")?.to_str().ok()?;
    value.strip_prefix("Bearer ").filter(|token| !token.is_empty() && token.len() <= MAX_TOKEN)
}
