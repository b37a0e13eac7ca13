//! TLS connections.

use super::{auth::Proven, options::ServeOptions};
use futures_util::stream;
use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::{
    body::Body,
    transport::server::{Connected, Server},
};
use tower_service::Service;

/// Between pings (RFC 9113 section 6.7), and for their answer.
const PING: Duration = Duration::from_secs(5);

/// Streams of one connection: a node has one, and asks for some modules beside it.
const MAX_STREAMS: u32 = 32;

/// Bytes of a request's fields, of which the token is the largest.
const MAX_HEAD: u32 = 32 << 10;

/// After an accept failed for want of descriptors or memory.
const BREATH: Duration = Duration::from_millis(100);

/// Serving ended. The system is at fault; a retry can help.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve the node stream: {0}")]
pub struct ServeError(#[from] tonic::transport::Error);

/// Serves until `shutdown`, and then for as long as streams need to end, within bounds.
pub(super) async fn serve<S>(
    listener: TcpListener,
    tls: watch::Receiver<Arc<rustls::ServerConfig>>,
    service: S,
    options: ServeOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError>
where
    S: Service<
            http::Request<Body>,
            Response = http::Response<Body>,
            Error = Infallible,
            Future: Send,
        > + Clone
        + Send
        + 'static,
{
    let (ready, mut incoming) = mpsc::channel(1);
    let accept = tokio::spawn(accept(listener, tls, options, ready));
    let incoming = stream::poll_fn(move |context| incoming.poll_recv(context));
    let (told, telling) = tokio::sync::oneshot::channel();
    let shutdown = async {
        shutdown.await;
        let _ = told.send(());
    };
    let served = Server::builder()
        .http2_keepalive_interval(Some(PING))
        .http2_keepalive_timeout(Some(PING))
        .http2_max_header_list_size(MAX_HEAD)
        .max_concurrent_streams(MAX_STREAMS)
        .serve_with_incoming_shutdown(service, incoming, shutdown);
    let overdue = async {
        if telling.await.is_err() {
            std::future::pending::<()>().await;
        }
        sleep(options.drain_timeout).await;
    };
    let served = tokio::select! {
        served = served => served,
        () = overdue => Ok(()),
    };
    accept.abort();
    Ok(served?)
}

/// Accepts, and has each connection shake hands on its own: one that stalls holds nobody up.
async fn accept(
    listener: TcpListener,
    tls: watch::Receiver<Arc<rustls::ServerConfig>>,
    options: ServeOptions,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    let permits = Arc::new(Semaphore::new(options.max_connections));
    while let Ok(permit) = permits.clone().acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of a node");
                sleep(BREATH).await;
                continue;
            }
        };
        let (config, ready) = (tls.borrow().clone(), ready.clone());
        tokio::spawn(async move {
            match timeout(options.proof_timeout, shake_hands(stream, config)).await {
                Ok(Ok(stream)) => {
                    let connection = Connection::new(stream, permit, options.proof_timeout);
                    let _ = ready.send(Ok(connection)).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake of a node failed"),
                Err(_) => tracing::debug!("a TLS handshake of a node took too long"),
            }
        });
    }
}

async fn shake_hands(
    stream: TcpStream,
    config: Arc<rustls::ServerConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    TlsAcceptor::from(config).accept(stream).await
}

/// A connection, one of so many. It fails when nobody on it has shown a valid token in time.
struct Connection {
    stream: TlsStream<TcpStream>,
    proven: Proven,
    overdue: Option<Pin<Box<Sleep>>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TlsStream<TcpStream>, permit: OwnedSemaphorePermit, proof: Duration) -> Self {
        let overdue = Some(Box::pin(sleep(proof)));
        Self { stream, proven: Proven::default(), overdue, _permit: permit }
    }
}

impl Connected for Connection {
    type ConnectInfo = Proven;

    fn connect_info(&self) -> Proven {
        self.proven.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(overdue) = &mut self.overdue
            && overdue.as_mut().poll(context).is_ready()
        {
            self.overdue = None;
            if !self.proven.is_proven() {
                let message = "nobody on this connection has shown a valid token";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
            }
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
