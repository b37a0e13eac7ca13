//! HTTP/2 clients.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Body, client::conn::http2};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use tokio::{
    net::TcpStream,
    runtime::Builder,
    task::{JoinHandle, LocalSet},
};

#[derive(Clone, Copy)]
pub struct Spawn;

impl<F: Future + 'static> hyper::rt::Executor<F> for Spawn {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// Runs a test with tasks on its own thread.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(std::time::Duration::from_secs(60), test).await.expect("in time")
    })
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub text: String,
    pub trailers: Option<http::HeaderMap>,
}

pub type Sender<B> = http2::SendRequest<B>;

/// A connection with prior knowledge, and its end.
pub async fn connect<B>(address: SocketAddr) -> (Sender<B>, JoinHandle<hyper::Result<()>>)
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    over(stream).await
}

/// A connection over a stream.
pub async fn over<IO, B>(stream: IO) -> (Sender<B>, JoinHandle<hyper::Result<()>>)
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (sender, connection) =
        http2::Builder::new(Spawn).handshake(TokioIo::new(stream)).await.expect("a handshake");
    (sender, tokio::task::spawn_local(connection))
}

pub fn request(uri: &str) -> http::request::Builder {
    Request::builder().uri(uri)
}

pub fn empty() -> Full<Bytes> {
    Full::new(Bytes::new())
}

/// Sends a request and reads its answer; never tries again.
pub async fn send<B>(sender: &Sender<B>, request: Request<B>) -> Result<Answer, hyper::Error>
where
    B: Body + 'static,
{
    let response = sender.clone().send_request(request).await?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().cloned();
    Ok(Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        text: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        trailers,
    })
}

/// GET on a connection.
pub async fn get(sender: &Sender<Full<Bytes>>, uri: &str) -> Answer {
    let request = request(uri).body(empty()).expect("a request");
    send(sender, request).await.expect("an answer")
}
