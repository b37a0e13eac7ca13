//! Sends one request.

use super::scenario::{Observed, Sent};
use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time::timeout};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends a request over a connection of its own and waits for the whole answer. Runs in a
/// `LocalSet`.
///
/// # Errors
/// When there is no whole answer.
pub(crate) async fn send(gateway: SocketAddr, sent: &Sent) -> anyhow::Result<Observed> {
    timeout(PATIENCE, exchange(gateway, sent))
        .await
        .with_context(|| format!("no answer from {gateway} in {} s", PATIENCE.as_secs()))?
}

async fn exchange(gateway: SocketAddr, sent: &Sent) -> anyhow::Result<Observed> {
    let stream = TcpStream::connect(gateway)
        .await
        .with_context(|| format!("cannot connect to the gateway at {gateway}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // How it ends is seen at the request.
    let connection = tokio::task::spawn_local(connection);
    let mut request = Request::builder()
        .method(sent.method.as_str())
        .uri(&sent.path)
        .header("host", gateway.to_string());
    for (name, value) in &sent.headers {
        request = request.header(name, value);
    }
    let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in answer.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.to_string())
            .and_modify(|joined| *joined = format!("{joined}, {value}"))
            .or_insert_with(|| value.into_owned());
    }
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await?.to_bytes();
    // Closed now: nobody drives it after this, and the gateway would wait for it in the end.
    drop(sender);
    let _ = connection.await;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Observed { status, headers, body, filters: Vec::new() })
}
