//! Backends that say what they got.

use super::LOCAL;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};
use tokio::{runtime::Builder, sync::oneshot, task::LocalSet};

/// A backend on a thread of its own. It ends when it is dropped.
pub struct Echo {
    pub address: SocketAddr,
    pub requests: Arc<AtomicUsize>,
    pub connections: Arc<AtomicUsize>,
    _stop: oneshot::Sender<()>,
}

#[derive(Clone, Copy)]
struct Spawn;

impl<F: Future + 'static> hyper::rt::Executor<F> for Spawn {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

impl Echo {
    /// Speaks HTTP/1.1 and answers with `name` and what it got.
    pub fn start(name: &'static str) -> Self {
        Self::spawn(name, false, usize::MAX)
    }

    /// Speaks HTTP/2 with prior knowledge.
    pub fn start_h2(name: &'static str, max_streams: u32) -> Self {
        Self::spawn(name, true, max_streams as usize)
    }

    /// Closes each connection after so many answers, without saying so before.
    pub fn start_closing(name: &'static str, after: usize) -> Self {
        Self::spawn(name, false, after)
    }

    fn spawn(name: &'static str, h2: bool, limit: usize) -> Self {
        let requests = Arc::<AtomicUsize>::default();
        let connections = Arc::<AtomicUsize>::default();
        let (counted, opened) = (requests.clone(), connections.clone());
        let (stop, mut stopped) = oneshot::channel::<()>();
        let socket = std::net::TcpListener::bind((LOCAL, 0)).expect("a free port");
        socket.set_nonblocking(true).expect("a socket");
        let address = socket.local_addr().expect("an address");
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            LocalSet::new().block_on(&runtime, async move {
                let listener = tokio::net::TcpListener::from_std(socket).expect("a listener");
                loop {
                    let stream = tokio::select! {
                        accepted = listener.accept() => accepted.expect("a connection").0,
                        _ = &mut stopped => return,
                    };
                    opened.fetch_add(1, SeqCst);
                    let counted = counted.clone();
                    tokio::task::spawn_local(async move {
                        stream.set_nodelay(true).expect("no delay");
                        let io = TokioIo::new(stream);
                        let served = Arc::<AtomicUsize>::default();
                        let seen = served.clone();
                        let service = service_fn(move |request| {
                            counted.fetch_add(1, SeqCst);
                            seen.fetch_add(1, SeqCst);
                            echo(name, request)
                        });
                        if h2 {
                            let _ = http2::Builder::new(Spawn)
                                .max_concurrent_streams(limit as u32)
                                .serve_connection(io, service)
                                .await;
                        } else if limit == usize::MAX {
                            let _ = http1::Builder::new()
                                .half_close(true)
                                .serve_connection(io, service)
                                .await;
                        } else {
                            let mut served_connection =
                                std::pin::pin!(http1::Builder::new().serve_connection(io, service));
                            // Ends as a keep-alive timeout does: after an answer, unannounced.
                            std::future::poll_fn(|cx| {
                                let polled = served_connection.as_mut().poll(cx);
                                if served.load(SeqCst) >= limit && polled.is_pending() {
                                    return std::task::Poll::Ready(());
                                }
                                polled.map(|_| ())
                            })
                            .await;
                        }
                    });
                }
            });
        });
        Self { address, requests, connections, _stop: stop }
    }

    pub fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

async fn echo(
    name: &'static str,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut text =
        format!("{name}\n{} {} {:?}\n", request.method(), request.uri(), request.version());
    for (field, value) in request.headers() {
        text.push_str(&format!("{field}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    let wait = request.headers().get("x-wait-ms").and_then(|v| v.to_str().ok()?.parse().ok());
    if let Some(wait) = wait {
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
    }
    let (body, trailers) = match request.into_body().collect().await {
        Ok(collected) => {
            let trailers = collected.trailers().cloned();
            (collected.to_bytes(), trailers)
        }
        Err(_) => (Bytes::new(), None),
    };
    text.push('\n');
    text.push_str(&String::from_utf8_lossy(&body));
    if let Some(trailers) = trailers {
        for (field, value) in &trailers {
            text.push_str(&format!(
                "\ntrailer {field}: {}",
                String::from_utf8_lossy(value.as_bytes())
            ));
        }
    }
    let response = Response::builder()
        .header("x-backend", name)
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .body(Full::new(Bytes::from(text)));
    Ok(response.expect("a response"))
}
