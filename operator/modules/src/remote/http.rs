//! One `GET`, bounded in time, bytes and redirects.

use super::{location::Location, reach::Reach};
use crate::Failure;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use penstock_gateway::FilterReason;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Redirects that are followed.
const REDIRECTS: usize = 5;
const USER_AGENT: &str = concat!("penstock/", env!("CARGO_PKG_VERSION"));

/// For how long a server is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// Until the answer begins, and between two parts of it.
    pub idle: Duration,
    /// For the whole of a request with its redirects.
    pub whole: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(10),
            whole: Duration::from_secs(60),
        }
    }
}

/// Makes requests.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) reach: Reach,
    pub(crate) patience: Patience,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Get<'a> {
    pub(crate) at: Location,
    pub(crate) accept: &'a str,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) tls: &'a Arc<ClientConfig>,
    /// Bytes that the answer may have.
    pub(crate) limit: u64,
}

/// An answer. Only one of status 200 has a body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body.
    ///
    /// # Errors
    /// Another status than 200.
    pub(crate) fn content(self) -> Result<Bytes, Failure> {
        let (reason, remedy) = match self.status.as_u16() {
            200 => return Ok(self.body),
            401 | 403 => (
                FilterReason::AccessDenied,
                "name a pull secret that may read it (spec.module.oci.pullSecretRef), or make it \
                 public",
            ),
            404 | 410 => (FilterReason::ModuleNotFound, "push the module, or correct the name"),
            _ => (FilterReason::FetchFailed, "it is asked again"),
        };
        Err(Failure::new(reason, format!("the server answered {}; {remedy}", self.status)))
    }
}

/// Ends with its connection.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// Makes a request and follows redirects, never to another scheme, and with the credentials
    /// only to the same server.
    ///
    /// # Errors
    /// The server cannot be had, stalls, sends too much, or leads where it must not.
    pub(crate) async fn get(&self, get: Get<'_>) -> Result<Answer, Failure> {
        let host = get.at.authority.to_string();
        match timeout(self.patience.whole, self.follow(get)).await {
            Ok(answer) => answer,
            Err(_) => Err(slow(&host, "did not end its answer", self.patience.whole)),
        }
    }

    async fn follow(&self, mut get: Get<'_>) -> Result<Answer, Failure> {
        for _ in 0..=REDIRECTS {
            let answer = self.once(&get).await?;
            if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let to = answer.headers.get(header::LOCATION).and_then(|to| to.to_str().ok());
            let to = to.and_then(|to| get.at.join(to));
            let to = to.filter(|to| to.secure == get.at.secure).ok_or_else(|| {
                refused(format!(
                    "{} redirects to what is no {} address; name the address that it leads to",
                    get.at.authority,
                    get.at.scheme()
                ))
            })?;
            if to.authority != get.at.authority {
                get.authorization = None;
            }
            get.at = to;
        }
        let host = &get.at.authority;
        Err(refused(format!("{host} redirects more than {REDIRECTS} times; name where that ends")))
    }

    async fn once(&self, get: &Get<'_>) -> Result<Answer, Failure> {
        let host = get.at.authority.as_str();
        let connect = self.connect(get);
        let (mut sender, _connection) = timeout(self.patience.connect, connect)
            .await
            .map_err(|_| slow(host, "did not take a connection", self.patience.connect))??;
        let mut request = Request::get(get.at.path.as_str())
            .header(header::HOST, host)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, get.accept)
            .header(header::ACCEPT_ENCODING, "identity");
        if let Some(authorization) = &get.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| refused(format!("{host}: {error}; correct the address")))?;
        let answer = timeout(self.patience.idle, sender.send_request(request))
            .await
            .map_err(|_| slow(host, "did not begin an answer", self.patience.idle))?
            .map_err(|error| broken(host, &error))?;
        let (head, body) = answer.into_parts();
        let body = match head.status {
            StatusCode::OK => self.read(body, host, get.limit).await?,
            _ => Bytes::new(),
        };
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    async fn read(&self, mut body: Incoming, host: &str, limit: u64) -> Result<Bytes, Failure> {
        let mut content = Vec::new();
        loop {
            let frame = timeout(self.patience.idle, body.frame())
                .await
                .map_err(|_| slow(host, "stopped in its answer", self.patience.idle))?;
            let Some(frame) = frame else { return Ok(content.into()) };
            let frame = frame.map_err(|error| broken(host, &error))?;
            if let Ok(data) = frame.into_data() {
                if content.len() as u64 + data.len() as u64 > limit {
                    return Err(Failure::new(
                        FilterReason::TooLarge,
                        format!(
                            "{host} sends more than {limit} bytes; build the module for release and \
                             strip it"
                        ),
                    ));
                }
                content.extend_from_slice(&data);
            }
        }
    }

    async fn connect(
        &self,
        get: &Get<'_>,
    ) -> Result<(http1::SendRequest<Empty<Bytes>>, Connection), Failure> {
        let host = get.at.authority.as_str();
        let stream = self.dial(&get.at).await?;
        if !get.at.secure {
            return talk(host, stream).await;
        }
        let name = ServerName::try_from(get.at.host().to_owned())
            .map_err(|_| refused(format!("{host} is no name for TLS; correct the address")))?;
        let stream = TlsConnector::from(Arc::clone(get.tls)).connect(name, stream).await;
        let stream = stream.map_err(|error| {
            failed(format!(
                "TLS to {host}: {error}; where its certificate is of a CA of your own, put that CA \
                 under ca.crt of a ConfigMap and name it with caRef"
            ))
        })?;
        talk(host, stream).await
    }

    async fn dial(&self, at: &Location) -> Result<TcpStream, Failure> {
        let host = at.host();
        let found = lookup_host((host, at.port())).await.map_err(|error| {
            failed(format!("no address of {host} is known: {error}; correct the name or the DNS"))
        })?;
        let (allowed, others): (Vec<SocketAddr>, Vec<SocketAddr>) =
            found.partition(|address| self.reach.allows(address.ip()));
        if allowed.is_empty() && !others.is_empty() {
            return Err(refused(format!(
                "{host} is an address of the operator's own host or link-local; serve the module \
                 from an address of the network"
            )));
        }
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in allowed {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(failed(format!("cannot connect to {}: {last}; it is tried again", at.authority)))
    }
}

async fn talk<S>(
    host: &str,
    stream: S,
) -> Result<(http1::SendRequest<Empty<Bytes>>, Connection), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(host, &error))?;
    #[expect(clippy::disallowed_methods, reason = "the operator fetches on any of its threads")]
    let connection = tokio::spawn(async move {
        // What ends it is told to whoever waits for the answer.
        let _ = connection.await;
    });
    Ok((sender, Connection(connection)))
}

fn slow(host: &str, what: &str, waited: Duration) -> Failure {
    failed(format!("{host} {what} within {waited:?}; it is tried again"))
}

fn broken(host: &str, error: &hyper::Error) -> Failure {
    failed(format!("the connection to {host} broke: {error}; it is tried again"))
}

fn failed(message: String) -> Failure {
    Failure::new(FilterReason::FetchFailed, message)
}

fn refused(message: String) -> Failure {
    Failure::new(FilterReason::UnsupportedSource, message)
}
