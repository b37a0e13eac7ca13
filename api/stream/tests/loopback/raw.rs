//! A client that says what it likes.

use crate::trust::{Authority, NAME};
use futures_util::{Stream, StreamExt, stream};
use penstock_stream::{
    client_config,
    wire::{ArtifactRequest, Chunk, FromNode, Hello, NodeMessage, OperatorMessage},
};
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{net::TcpStream, sync::watch};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    transport::{Channel, Endpoint, Uri},
};
use tonic_prost::ProstCodec;

const STREAM: &str = "/penstock.stream.v1.Nodes/Stream";
const ARTIFACT: &str = "/penstock.stream.v1.Nodes/Artifact";

/// Its streams end with it.
pub(crate) struct Client {
    channel: Channel,
    end: watch::Sender<()>,
}

/// Bytes as a message, whatever they are: field 1 of a string.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Bytes {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) hello: Vec<u8>,
}

pub(crate) fn hello(node: &str, pod: &str, role: u32) -> NodeMessage {
    let hello = Hello { node: node.into(), pod: pod.into(), role, ..Hello::default() };
    FromNode::Hello(hello).into()
}

/// A TLS connection.
pub(crate) async fn dial(authority: &Authority, port: u16) -> TlsStream<TcpStream> {
    let config = client_config(authority.pem().as_bytes()).expect("a CA");
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
    let name = NAME.try_into().expect("a name");
    TlsConnector::from(config).connect(name, stream).await.expect("a handshake")
}

impl Client {
    pub(crate) async fn connect(authority: &Authority, port: u16) -> Self {
        let io = dial(authority, port).await;
        let endpoint = Endpoint::from_static("http://operator");
        let connected = endpoint.connect_with_connector(Once(Some(io))).await;
        Self { channel: connected.expect("a connection"), end: watch::channel(()).0 }
    }

    /// Opens a stream with some messages, and keeps it open.
    pub(crate) async fn open<M: prost::Message + 'static>(
        &self,
        token: &str,
        messages: impl IntoIterator<Item = M, IntoIter: Send + 'static>,
    ) -> Result<Streaming<OperatorMessage>, Status> {
        let mut end = self.end.subscribe();
        let open = stream::pending().take_until(async move { end.changed().await });
        let messages = stream::iter(messages).chain(open);
        self.stream(token, STREAM, messages).await
    }

    pub(crate) async fn stream<M: prost::Message + 'static>(
        &self,
        token: &str,
        path: &'static str,
        messages: impl Stream<Item = M> + Send + 'static,
    ) -> Result<Streaming<OperatorMessage>, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_encoding_message_size(1 << 30);
        grpc.ready().await.expect("a connection");
        let request = authorized(messages, token);
        let codec = ProstCodec::<M, OperatorMessage>::default();
        Ok(grpc.streaming(request, path.parse().expect("a path"), codec).await?.into_inner())
    }

    pub(crate) async fn artifact(
        &self,
        token: &str,
        request: ArtifactRequest,
    ) -> Result<Streaming<Chunk>, Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.expect("a connection");
        let path = ARTIFACT.parse().expect("a path");
        let codec = ProstCodec::<ArtifactRequest, Chunk>::default();
        Ok(grpc.server_streaming(authorized(request, token), path, codec).await?.into_inner())
    }
}

fn authorized<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    if !token.is_empty() {
        let value = format!("Bearer {token}").parse().expect("a token");
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// Gives the one connection it has.
struct Once(Option<TlsStream<TcpStream>>);

type Io = hyper_util::rt::TokioIo<TlsStream<TcpStream>>;

impl tower_service::Service<Uri> for Once {
    type Response = Io;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Io>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let io = self.0.take().map(hyper_util::rt::TokioIo::new);
        Box::pin(async { io.ok_or_else(|| std::io::ErrorKind::NotConnected.into()) })
    }
}
