//! One client connection.

use super::{guard::Guard, late::answer_late_head, service};
use crate::{
    filters::Parts,
    snapshot::Port,
    telemetry::{ConnectionInfo, TlsInfo},
    tls::TlsSession,
    worker::{ConnectionState, Ending, LocalExecutor, Worker},
};
use bytes::Bytes;
use http::HeaderValue;
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{cell::Cell, net::SocketAddr, pin::Pin, rc::Rc, sync::Arc, task::Poll};
use tokio::io::{AsyncRead, AsyncWrite};

/// Streams that a client may reset before they were looked at, and on its own errors, before the
/// connection ends: a flood of resets costs it the connection (CVE-2023-44487, CVE-2025-8671).
const MAX_PENDING_RESETS: usize = 20;
const MAX_ERROR_RESETS: usize = 128;
/// Bytes that a client may send on a stream before the endpoint took them.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all streams of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of answers that wait for the client, for each stream.
const SEND_BUFFER: usize = 128 * 1024;

/// What hyper allows without being asked, in a way that is cheaper than asking.
const HYPER_MAX_HEADERS: usize = 100;

/// What the requests of a connection share.
#[derive(Debug)]
pub struct Connection {
    /// The worker that has it.
    pub worker: Rc<Worker>,
    /// What policies may read.
    pub parts: Rc<Parts>,
    /// What telemetry knows of it.
    pub info: Arc<ConnectionInfo>,
    /// How it goes and how it ends.
    pub state: Rc<ConnectionState>,
    /// The peer's address as a field value.
    pub peer: HeaderValue,
    /// Requests so far.
    pub requests: Cell<u64>,
}

impl Connection {
    /// A connection whose handshake, if any, is done.
    pub fn new(
        worker: Rc<Worker>,
        port: &Port,
        peer: SocketAddr,
        tls: Option<Rc<TlsSession>>,
        state: Rc<ConnectionState>,
    ) -> Rc<Self> {
        let address = peer.ip().to_canonical().to_string();
        let info = ConnectionInfo {
            peer,
            port: u16::try_from(port.number).unwrap_or_default(),
            scheme: port.scheme(),
            tls: tls.as_ref().map(|session| TlsInfo {
                version: session.version,
                sni: session.sni.as_deref().map(Into::into),
            }),
        };
        Rc::new(Self {
            worker,
            // The text of an address is a valid field value.
            peer: HeaderValue::from_str(&address).unwrap_or(HeaderValue::from_static("unknown")),
            parts: Rc::new(Parts {
                peer: address.into(),
                scheme: port.scheme(),
                port: port.number,
                tls,
            }),
            info: Arc::new(info),
            state,
            requests: Cell::new(0),
        })
    }

    /// Serves the connection to its end. `first` was read from `io` already.
    ///
    /// The future is what an idle connection costs beside its buffers.
    pub async fn serve<IO>(self: Rc<Self>, io: IO, first: Bytes, h2: bool, port: &Port)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let settings = port.settings();
        let state = self.state.clone();
        let tick = self.worker.clock.shared();
        let io = TokioIo::new(Guard::new(io, first, !h2, state.pulse.clone(), tick));
        let service = service_fn(move |request| service::handle(self.clone(), request));
        let ended = if h2 {
            state.set_multiplexed();
            // Boxed: it is larger than the state for HTTP/1, which must not carry it.
            let served = http2::Builder::new(LocalExecutor)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_send_buf_size(SEND_BUFFER)
                .max_concurrent_streams(settings.max_concurrent_streams)
                .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX))
                .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
                .max_local_error_reset_streams(MAX_ERROR_RESETS)
                .serve_connection(io, service);
            drive(Box::pin(served).as_mut(), &state, |served| served.graceful_shutdown()).await
        } else {
            let mut builder = http1::Builder::new();
            if settings.max_headers != HYPER_MAX_HEADERS {
                builder.max_headers(settings.max_headers);
            }
            let mut served = builder
                .half_close(true)
                .max_header_size(settings.max_header_bytes)
                .max_buf_size(settings.read_buffer())
                .serve_connection(io, service)
                .with_upgrades();
            let ended =
                drive(Pin::new(&mut served), &state, |served| served.graceful_shutdown()).await;
            if state.is_late_head()
                && let Some(parts) = served.into_parts()
            {
                // Boxed: rare, and a served connection must not carry it.
                Box::pin(answer_late_head(parts.io.into_inner())).await;
            }
            ended
        };
        if let Err(error) = ended {
            tracing::debug!("client connection: {error}");
        }
    }
}

/// Drives a connection to its end, or to the end that the worker wants.
async fn drive<C>(
    mut served: Pin<&mut C>,
    state: &ConnectionState,
    drain: impl Fn(Pin<&mut C>),
) -> Result<(), String>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut draining = false;
    std::future::poll_fn(|cx| {
        match state.poll_ending(cx) {
            Ending::Kill(why) => return Poll::Ready(Err(why.to_owned())),
            Ending::Drain if !draining => {
                draining = true;
                drain(served.as_mut());
            }
            _ => {}
        }
        served.as_mut().poll(cx).map_err(|error| error.to_string())
    })
    .await
}
