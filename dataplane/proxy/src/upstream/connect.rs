//! Making connections.

use super::{
    Peer, RequestBody,
    peer::{Connection, H1Connection, Streams},
};
use crate::{snapshot::Host, stream::Whole, worker::LocalExecutor};
use futures_util::FutureExt as _;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use penstock_config::BackendProtocol;
use std::{io, net::SocketAddr, pin::pin, rc::Rc};
use tokio::net::TcpStream;

/// A response's head may take so much before the endpoint is taken for broken.
const MAX_RESPONSE_HEAD: usize = 256 * 1024;
/// Bytes that an HTTP/2 endpoint may send on a stream before the client took them.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all streams of a connection.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Requests that may wait on a new HTTP/2 connection for the endpoint's settings. One is sent at
/// once; more could be refused by an endpoint that allows fewer.
const WAIT_FOR_SETTINGS: usize = 16;

/// No connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The name of the endpoint.
    #[error("the endpoint's name cannot be resolved: {0}")]
    Resolve(io::Error),
    /// The endpoint refuses, or is not there.
    #[error("no connection to the endpoint: {0}")]
    Connect(io::Error),
    /// It does not answer.
    #[error("no connection to the endpoint in time")]
    Timeout,
    /// It does not speak the protocol.
    #[error("the endpoint does not speak the protocol: {0}")]
    Handshake(hyper::Error),
}

impl Peer {
    /// A new connection, and the address it goes to. For HTTP/2 one that somebody else just made
    /// will do.
    pub(super) async fn dial(&self) -> Result<Connection, ConnectError> {
        match self.key().protocol {
            BackendProtocol::Http1 => {
                let (stream, address) = self.connect().await?;
                // hyper's own limit of 100 fields stays: any other costs it two allocations of 8 KiB
                // for each answer.
                let (sender, driver) = http1::Builder::new()
                    .max_buf_size(MAX_RESPONSE_HEAD)
                    .handshake::<_, RequestBody>(TokioIo::new(Whole(stream)))
                    .await
                    .map_err(ConnectError::Handshake)?;
                // Not an `async` block, which would hold the connection twice.
                tokio::task::spawn_local(driver.with_upgrades().map(move |ended| {
                    if let Err(error) = ended {
                        tracing::debug!(%address, "upstream connection: {error}");
                    }
                }));
                Ok(Connection::H1(H1Connection { sender, address }))
            }
            BackendProtocol::H2c => {
                let _turn = self.dialling.lock().await;
                if let Some(connection) = self.checkout_h2() {
                    return Ok(Connection::H2(connection));
                }
                let (stream, address) = self.connect().await?;
                let (sender, driver) = http2::Builder::new(LocalExecutor)
                    .initial_stream_window_size(STREAM_WINDOW)
                    .initial_connection_window_size(CONNECTION_WINDOW)
                    .initial_max_send_streams(1)
                    .handshake::<_, RequestBody>(TokioIo::new(Whole(stream)))
                    .await
                    .map_err(ConnectError::Handshake)?;
                let streams = Rc::new(Streams::new(WAIT_FOR_SETTINGS));
                let seen = streams.clone();
                tokio::task::spawn_local(async move {
                    let mut driver = pin!(driver);
                    let driven = std::future::poll_fn(|cx| {
                        let polled = driver.as_mut().poll(cx);
                        if polled.is_pending() {
                            seen.look(driver.current_max_send_streams());
                            *seen.driver.borrow_mut() = Some(cx.waker().clone());
                        }
                        polled
                    });
                    if let Err(error) = driven.await {
                        tracing::debug!(%address, "upstream connection: {error}");
                    }
                });
                Ok(Connection::H2(self.add_h2(sender, address, streams)))
            }
        }
    }

    async fn connect(&self) -> Result<(TcpStream, SocketAddr), ConnectError> {
        let limit = self.shared.options.connect_timeout;
        let connect = async {
            let key = self.key();
            let address = match &key.host {
                Host::Ip(address) => *address,
                Host::Name(name) => {
                    self.shared.resolver.resolve(name).await.map_err(ConnectError::Resolve)?
                }
            };
            let address = SocketAddr::new(address, key.port);
            let stream = TcpStream::connect(address).await.map_err(ConnectError::Connect)?;
            stream.set_nodelay(true).map_err(ConnectError::Connect)?;
            Ok((stream, address))
        };
        tokio::time::timeout(limit, connect).await.unwrap_or(Err(ConnectError::Timeout))
    }
}
