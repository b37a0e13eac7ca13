//! A connection to the operator.

use super::options::ClientOptions;
use crate::{TlsError, client_config};
use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use rustls_pki_types::{InvalidDnsNameError, ServerName};
use std::{
    fs, io,
    path::{Path, PathBuf},
    task::{Context, Poll},
    time::Duration,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint, Uri},
};
use tower_service::Service;

/// For a connection and its handshake.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between pings (RFC 9113 section 6.7), and for their answer: an operator that is gone without a word
/// is noticed after twice that.
const PING: Duration = Duration::from_secs(3);

/// There is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("cannot read {}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{}: {error}", path.display())]
    Anchors { path: PathBuf, error: TlsError },
    #[error("{} holds no token", .0.display())]
    Token(PathBuf),
    #[error("{0:?} is no https://HOST:PORT")]
    Address(String),
    #[error("{0:?} is no name: {1}")]
    Name(String, InvalidDnsNameError),
    #[error("cannot connect to {0}: {1}")]
    Transport(String, String),
}

/// A connection, and the proof that goes with each request on it.
#[derive(Clone)]
pub(super) struct Operator {
    pub(super) channel: Channel,
    pub(super) authorization: MetadataValue<Ascii>,
}

impl Operator {
    /// Connects. Trust anchors and token are read anew: both are rotated.
    pub(super) async fn connect(options: &ClientOptions) -> Result<Self, ConnectError> {
        let address = options.endpoint.strip_prefix("https://").unwrap_or_default();
        let address = address.trim_end_matches('/').to_owned();
        if !address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        {
            return Err(ConnectError::Address(options.endpoint.clone()));
        }
        let config = client_config(&read(&options.ca)?)
            .map_err(|error| ConnectError::Anchors { path: options.ca.clone(), error })?;
        let token = read(&options.token)?;
        let token = str::from_utf8(&token).unwrap_or_default().trim();
        let authorization = format!("Bearer {token}").parse().ok().filter(|_| !token.is_empty());
        let authorization =
            authorization.ok_or_else(|| ConnectError::Token(options.token.clone()))?;
        let name = ServerName::try_from(options.server_name.clone())
            .map_err(|error| ConnectError::Name(options.server_name.clone(), error))?;
        let dial = Dial { tls: TlsConnector::from(config), address: address.clone(), name };
        let failed = |error| ConnectError::Transport(address, chain(&error));
        // TLS is the connector's: for the layers above, the connection is a plain one.
        let endpoint = Endpoint::from_shared(format!("http://{}", options.server_name));
        let connected = async {
            let endpoint = endpoint?
                .http2_keep_alive_interval(PING)
                .keep_alive_timeout(PING)
                .keep_alive_while_idle(true);
            endpoint.connect_with_connector(dial).await
        };
        let channel = connected.await.map_err(failed)?;
        Ok(Self { channel, authorization })
    }
}

/// Dials one address, whatever it is asked for.
#[derive(Clone)]
struct Dial {
    tls: TlsConnector,
    address: String,
    name: ServerName<'static>,
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Dial { tls, address, name } = self.clone();
        Box::pin(async move {
            let dial = async {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                tls.connect(name, stream).await.map(TokioIo::new)
            };
            tokio::time::timeout(PATIENCE, dial).await?
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConnectError> {
    fs::read(path).map_err(|error| ConnectError::File { path: path.into(), error })
}

/// An error with its causes: the outermost of a transport says nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
