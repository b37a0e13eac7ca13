//! The service and its methods.

use super::{
    artifact::{ArtifactMethod, Artifacts},
    auth::{Authenticate, Gatekeeper},
    fleet::Fleet,
    listen::{self, ServeError},
    node::StreamMethod,
    options::ServeOptions,
};
use crate::{
    codec::{ARTIFACT, Protobuf, STREAM},
    wire,
};
use futures_util::future::BoxFuture;
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{net::TcpListener, sync::watch};
use tonic::{Status, body::Body, server::Grpc};
use tower_service::Service;

/// Bytes of a request for a module.
const MAX_REQUEST: usize = 4 << 10;

/// The service `penstock.stream.v1.Nodes`, ready to be served.
#[derive(Clone)]
pub struct Router {
    fleet: Fleet,
    gatekeeper: Gatekeeper,
    artifacts: Arc<dyn Artifacts>,
    options: ServeOptions,
}

/// The same with the sign that it ends.
#[derive(Clone)]
struct Nodes {
    router: Router,
    closing: watch::Receiver<bool>,
}

/// The service for a fleet.
pub fn router(fleet: Fleet, authenticate: impl Authenticate, artifacts: impl Artifacts) -> Router {
    Router {
        fleet,
        gatekeeper: Gatekeeper::new(Arc::new(authenticate)),
        artifacts: Arc::new(artifacts),
        options: ServeOptions::default(),
    }
}

impl Router {
    /// With other limits.
    #[must_use]
    pub fn with_options(self, options: ServeOptions) -> Self {
        Self { options, ..self }
    }

    /// Serves on a socket until `shutdown`; then every stream is ended, and the nodes connect
    /// elsewhere. `tls` is read for each connection: a rotated certificate is in force at once, and
    /// breaks no connection.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve(
        self,
        listener: TcpListener,
        tls: watch::Receiver<Arc<rustls::ServerConfig>>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let (close, closing) = watch::channel(false);
        let options = self.options;
        let shutdown = async {
            shutdown.await;
            close.send_replace(true);
        };
        listen::serve(listener, tls, Nodes { router: self, closing }, options, shutdown).await
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Service<http::Request<Body>> for Nodes {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Router { fleet, gatekeeper, artifacts, options } = self.router.clone();
        match request.uri().path() {
            STREAM => {
                let closing = self.closing.clone();
                let method = StreamMethod { fleet, gatekeeper, options, closing };
                let mut grpc = Grpc::new(Protobuf::default())
                    .max_decoding_message_size(wire::MAX_NODE_MESSAGE)
                    .max_encoding_message_size(wire::MAX_OPERATOR_MESSAGE);
                Box::pin(async move { Ok(grpc.streaming(method, request).await) })
            }
            ARTIFACT => {
                let method = ArtifactMethod { gatekeeper, artifacts };
                let mut grpc =
                    Grpc::new(Protobuf::default()).max_decoding_message_size(MAX_REQUEST);
                Box::pin(async move { Ok(grpc.server_streaming(method, request).await) })
            }
            _ => {
                Box::pin(async { Ok(Status::unimplemented("there is no such method").into_http()) })
            }
        }
    }
}
