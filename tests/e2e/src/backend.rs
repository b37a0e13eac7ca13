//! A backend that says who it is.

use anyhow::Result;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, net::SocketAddr, time::Duration};
use tokio::net::TcpListener;

/// An HTTP/1.1 backend on loopback, on a thread of its own. It answers each request with its name
/// after a delay, echoing the request's `x-` fields, and ends with the process.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
}

impl Backend {
    /// Starts a backend.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(name: &'static str, delay: Duration) -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        std::thread::Builder::new().name(format!("backend-{name}")).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            tokio::task::LocalSet::new().block_on(&runtime, serve(listener, name, delay))
        })?;
        Ok(Self { address })
    }

    /// An EndpointSlice of a Service with this backend as its only endpoint.
    pub fn endpoint_slice(&self, namespace: &str, service: &str) -> String {
        let (ip, port) = (self.address.ip(), self.address.port());
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{ name: {service}-1, namespace: {namespace}, labels: {{ kubernetes.io/service-name: {service} }} }}\n\
             addressType: IPv4\nports: [{{ name: http, port: {port} }}]\n\
             endpoints: [{{ addresses: [\"{ip}\"], conditions: {{ ready: true }} }}]\n---\n"
        )
    }
}

async fn serve(
    listener: std::net::TcpListener,
    name: &'static str,
    delay: Duration,
) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| answer(request, name, delay));
            // A client that goes away ends its connection; there is nothing to report.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    name: &'static str,
    delay: Duration,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let mut response = Response::new(Full::new(Bytes::from_static(name.as_bytes())));
    for (field, value) in request.headers().iter().filter(|(n, _)| n.as_str().starts_with("x-")) {
        response.headers_mut().append(field.clone(), value.clone());
    }
    Ok(response)
}
