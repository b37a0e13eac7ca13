//! The HTTP server of the port.

use super::source::AdminSource;
use crate::page::PageFormat;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, thread, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot},
    task::LocalSet,
};

/// Connections at a time.
const CONNECTIONS: usize = 64;
/// Time for a client to send a head, and longest time without a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// What can be asked for.
const PATHS: [&str; 4] = ["/livez", "/readyz", "/metrics", "/config"];
/// What it can be asked with.
const METHODS: &str = "GET, HEAD";

/// The running server. It ends when dropped.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl AdminServer {
    /// Binds and serves.
    ///
    /// # Errors
    /// The address cannot be bound, or the thread cannot be started.
    pub fn start(address: SocketAddr, source: Arc<dyn AdminSource>) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("admin".into()).spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    () = serve(listener, source) => {}
                    // Dropping the sender means the same as sending.
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens; the port is the kernel's choice where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, source: Arc<dyn AdminSource>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Most often no descriptors are left: trying at once would spin.
                tracing::warn!(%error, "the admin port cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let source = source.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let response =
                    answer(request.method(), request.uri().path(), request.headers(), &*source);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            // What a client does to its own connection concerns nobody else.
            let _ = connection.await;
            drop(place);
        });
    }
}

/// The answer to a request. hyper leaves the body out of answers to HEAD.
fn answer(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    source: &dyn AdminSource,
) -> Response<Full<Bytes>> {
    if !PATHS.contains(&path) {
        let body = format!("not found; there are {}\n", PATHS.join(", "));
        return text(StatusCode::NOT_FOUND, body);
    }
    if method != Method::GET && method != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("use {METHODS}\n"));
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(METHODS));
        return response;
    }
    match path {
        "/livez" => health(source.live()),
        "/readyz" => health(source.ready()),
        "/metrics" => {
            let format = page_format(headers);
            respond(StatusCode::OK, format.content_type(), source.metrics(format))
        }
        _ => {
            let body = format!("{:#}\n", source.config());
            respond(StatusCode::OK, "application/json", body)
        }
    }
}

fn health(state: Result<(), String>) -> Response<Full<Bytes>> {
    match state {
        Ok(()) => text(StatusCode::OK, "ok\n".into()),
        Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", body)
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// OpenMetrics where the client prefers it, else the older text format, which anything reads
/// (RFC 9110, section 12.5.1: the highest weight wins, 0 is "not acceptable").
fn page_format(headers: &HeaderMap) -> PageFormat {
    let weight_of = |wanted: &str| {
        headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter(|range| {
                let media = range.split(';').next().unwrap_or_default();
                media.trim().eq_ignore_ascii_case(wanted)
            })
            .map(weight)
            .fold(0.0, f32::max)
    };
    let open = weight_of("application/openmetrics-text");
    if open > 0.0 && open >= weight_of("text/plain") {
        PageFormat::OpenMetrics
    } else {
        PageFormat::Prometheus
    }
}

/// The `q` parameter of a media range; 1 where there is none (RFC 9110, section 12.4.2).
fn weight(range: &str) -> f32 {
    range
        .split(';')
        .skip(1)
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .map_or(1.0, |(_, value)| value.trim().parse().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format_for(accept: &[&'static str]) -> PageFormat {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, HeaderValue::from_static(value));
        }
        page_format(&headers)
    }

    #[test]
    fn openmetrics_is_for_those_who_prefer_it_rfc_9110_12_5_1() {
        use PageFormat::{OpenMetrics, Prometheus};
        for (accept, expected) in [
            (&[][..], Prometheus),
            (&["*/*"], Prometheus),
            (&["application/openmetrics-text"], OpenMetrics),
            (&["text/plain;q=0.5", "Application/OpenMetrics-Text; version=1.0.0"], OpenMetrics),
            (&["text/plain, application/openmetrics-text;q=0.5"], Prometheus),
            (
                &[
                    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2",
                ],
                OpenMetrics,
            ),
            (&["application/openmetrics-text;q=0"], Prometheus),
            (&["application/openmetrics-text;q=x"], Prometheus),
        ] {
            assert_eq!(format_for(accept), expected, "{accept:?}");
        }
    }
}
