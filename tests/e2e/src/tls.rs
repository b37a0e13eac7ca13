//! Certificates, and clients that speak TLS.

use crate::{Answer, parse};
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    AlertDescription, ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion,
    client::Resumption,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// For each step of an exchange: far beyond what a slow machine takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A certificate authority.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate.
    pub leaf: CertificateDer<'static>,
    /// The certificate in PEM.
    pub certificate_pem: String,
    /// The private key in PEM.
    pub key_pem: String,
    key: KeyPair,
}

/// A client that trusts one authority. Sessions are kept, so that a second handshake can resume.
#[derive(Clone, Debug)]
pub struct Client(Arc<ClientConfig>);

/// Sends requests on one connection over TLS. A request that was sent is never sent again.
#[derive(Debug)]
pub struct Requests(Sender);

#[derive(Debug)]
enum Sender {
    Http1(conn::http1::SendRequest<Empty<Bytes>>),
    Http2(conn::http2::SendRequest<Empty<Bytes>>),
}

impl Authority {
    /// A new authority.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate with these DNS names as subject alternative names.
    ///
    /// # Errors
    /// When a name is none.
    pub fn issue(&self, names: &[&str]) -> Result<Identity> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.signed_by(&key, &self.0)?;
        Ok(Identity {
            leaf: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            key,
        })
    }
}

impl Client {
    /// A client of these protocol versions, with a certificate to show if it is asked.
    ///
    /// # Errors
    /// When rustls refuses the parts.
    pub fn new(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
    ) -> Result<Self> {
        Ok(Self(Arc::new(Self::config(authority, versions, identity)?)))
    }

    /// As [`Client::new`], but it tells no server name.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn nameless(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<Self> {
        let mut config = Self::config(authority, versions, None)?;
        config.enable_sni = false;
        Ok(Self(Arc::new(config)))
    }

    fn config(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
    ) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.0.der().clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(identity) => {
                let key = PrivateKeyDer::Pkcs8(identity.key.serialize_der().into());
                builder.with_client_auth_cert(vec![identity.leaf.clone()], key)?
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(32);
        Ok(config)
    }

    async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
        alpn: &[u8],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut config = ClientConfig::clone(&self.0);
        config.alpn_protocols = vec![alpn.to_vec()];
        let name = ServerName::try_from(name.to_owned()).map_err(std::io::Error::other)?;
        let connector = TlsConnector::from(Arc::new(config));
        timeout(PATIENCE, connector.connect(name, stream)).await?
    }

    /// `GET path` for `host` on a connection of its own with the server name `name`. Says also how
    /// the handshake went and what certificate the server has.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub async fn get(
        &self,
        address: SocketAddr,
        name: &str,
        host: &str,
        path: &str,
    ) -> Result<(Answer, HandshakeKind, CertificateDer<'static>)> {
        let mut stream = self.connect(address, name, b"http/1.1").await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut bytes)).await??;
        let session = stream.get_ref().1;
        let kind = session.handshake_kind().context("no handshake")?;
        let leaf = session.peer_certificates().and_then(<[_]>::first).context("no certificate")?;
        Ok((parse(&bytes)?, kind, leaf.clone().into_owned()))
    }

    /// The alert by which a handshake with the server name `name` is refused.
    ///
    /// # Errors
    /// When it is not refused, or in another way.
    pub async fn alert(&self, address: SocketAddr, name: &str) -> Result<AlertDescription> {
        let refused = async {
            // Clients of TLS 1.3 are done before they are judged: the verdict comes with a read.
            let mut stream = self.connect(address, name, b"http/1.1").await?;
            stream.read(&mut [0]).await
        };
        let Ok(outcome) = timeout(PATIENCE, refused).await else { bail!("{name} is let in") };
        let error = match outcome {
            Ok(read) => bail!("{name}: {read} bytes instead of an alert"),
            Err(error) => error,
        };
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::AlertReceived(alert)) => Ok(*alert),
            _ => bail!("{name}: no alert but {error}"),
        }
    }

    /// Opens an HTTP/1.1 connection with the server name `name`.
    ///
    /// # Errors
    /// When it does not come about.
    pub async fn http1(&self, address: SocketAddr, name: &str) -> Result<Requests> {
        let io = TokioIo::new(self.connect(address, name, b"http/1.1").await?);
        let (sender, connection) = conn::http1::handshake(io).await?;
        // How the connection ends shows in its requests.
        #[expect(clippy::disallowed_methods, reason = "a client, not a request of a worker")]
        tokio::spawn(connection);
        Ok(Requests(Sender::Http1(sender)))
    }

    /// Opens an HTTP/2 connection with the server name `name`.
    ///
    /// # Errors
    /// When it does not come about.
    pub async fn http2(&self, address: SocketAddr, name: &str) -> Result<Requests> {
        let stream = self.connect(address, name, b"h2").await?;
        let io = TokioIo::new(stream);
        let (sender, connection) = conn::http2::handshake(TokioExecutor::new(), io).await?;
        // How the connection ends shows in its requests.
        #[expect(clippy::disallowed_methods, reason = "a client, not a request of a worker")]
        tokio::spawn(connection);
        Ok(Requests(Sender::Http2(sender)))
    }
}

impl Requests {
    /// Waits for the server to end the connection, on which no request is sent.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ended(&self) -> Result<()> {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let closed = match &self.0 {
                Sender::Http1(sender) => sender.is_closed(),
                Sender::Http2(sender) => sender.is_closed(),
            };
            if closed {
                return Ok(());
            }
            ensure!(tokio::time::Instant::now() < end, "the server keeps the connection");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// `GET path` for `host`: status and `x-` fields and body as an [`Answer`].
    ///
    /// # Errors
    /// When there is no complete answer.
    pub async fn get(&mut self, host: &str, path: &str) -> Result<Answer> {
        let request = Request::get(match self.0 {
            Sender::Http1(_) => path.to_owned(),
            Sender::Http2(_) => format!("https://{host}{path}"),
        });
        let response = match &mut self.0 {
            Sender::Http1(sender) => {
                timeout(PATIENCE, sender.ready()).await??;
                let request = request.header("host", host).body(Empty::new())?;
                timeout(PATIENCE, sender.send_request(request)).await??
            }
            Sender::Http2(sender) => {
                timeout(PATIENCE, sender.ready()).await??;
                timeout(PATIENCE, sender.send_request(request.body(Empty::new())?)).await??
            }
        };
        let (head, body) = response.into_parts();
        let body = timeout(PATIENCE, body.collect()).await??.to_bytes();
        let mut text = format!("HTTP/2 {}", head.status);
        for (field, value) in &head.headers {
            text += &format!("\r\n{field}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status: head.status.as_u16(), head: text, body })
    }
}
