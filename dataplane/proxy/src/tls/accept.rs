//! One handshake from the first byte to the [`TlsSession`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use penstock_filter_host::{ClientAuth, ClientHello};
use rustls::server::{Acceptor, ServerConnection};
use rustls::{AlertDescription, Error, HandshakeKind, ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::alert::{farewell, plain, sealed};
use super::client_auth::PeerSlot;
use super::listener::ServedListener;
use super::peer;
use super::policies::{Judgement, TlsPolicies, no_anchors};
use super::port::{Entry, TlsPort};
use super::session::{ClientCert, RejectReason, TlsReject, TlsSession};

/// A handshake that failed, the connection it failed on and the last bytes for the client.
struct Failed<IO> {
    reject: TlsReject,
    io: Option<IO>,
    last: Vec<u8>,
}

/// Does the handshake of one connection.
///
/// Policies are called synchronously on this thread. `handshake_timeout` bounds the time until the
/// client is done; a client that is refused gets one more second to take the alert.
///
/// # Errors
/// [`TlsReject`]; the client got its alert and the connection is closed.
pub async fn accept<IO>(
    port: &Arc<TlsPort>,
    io: IO,
    peer: SocketAddr,
    policies: &dyn TlsPolicies,
    handshake_timeout: Duration,
) -> Result<(TlsStream<IO>, TlsSession), TlsReject>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = Instant::now() + handshake_timeout;
    let failed = match timeout_at(deadline, handshake(port, io, peer, policies)).await {
        Ok(Ok(accepted)) => return Ok(accepted),
        Ok(Err(failed)) => *failed,
        Err(_) => {
            let message = format!("not done within {} ms", handshake_timeout.as_millis());
            return Err(TlsReject::new(RejectReason::Timeout, None, message));
        }
    };
    if let Some(io) = failed.io {
        farewell(io, &failed.last).await;
    }
    Err(failed.reject)
}

async fn handshake<IO>(
    port: &Arc<TlsPort>,
    io: IO,
    peer: SocketAddr,
    policies: &dyn TlsPolicies,
) -> Result<(TlsStream<IO>, TlsSession), Box<Failed<IO>>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), io);
    let start = match (&mut acceptor).await {
        Ok(start) => start,
        Err(error) => {
            let reject = of_error(&error, true);
            let last = reject.alert.map(plain).unwrap_or_default();
            return Err(Box::new(Failed { reject, io: acceptor.take_io(), last }));
        }
    };
    let sni = start.client_hello().server_name().map(str::to_ascii_lowercase);
    let refuse = |io: IO, reject: TlsReject| {
        let last = reject.alert.map(plain).unwrap_or_default();
        Box::new(Failed { reject: TlsReject { sni: sni.clone(), ..reject }, io: Some(io), last })
    };
    let listener = match find(port, sni.as_deref()) {
        Ok(listener) => listener,
        Err(reject) => return Err(refuse(start.io, reject)),
    };
    let hello = read_hello(&start.client_hello(), listener, peer, sni.clone());
    let prepared = prepare(listener, &hello, policies);
    let (mut judgement, config, slot) = match prepared {
        Ok(prepared) => prepared,
        Err(reject) => return Err(refuse(start.io, reject)),
    };
    let stream = match start.into_stream(config).into_fallible().await {
        Ok(stream) => stream,
        Err((error, io)) => {
            let reject = TlsReject { sni, ..of_error(&error, false) };
            return Err(Box::new(Failed { reject, io: Some(io), last: Vec::new() }));
        }
    };
    let connection = stream.get_ref().1;
    match client_certificate(connection, slot.as_deref(), &mut judgement) {
        Ok(client_cert) => {
            let session = conclude(listener, sni, connection, client_cert, judgement);
            Ok((stream, session))
        }
        Err(reject) => {
            let (io, connection) = stream.into_inner();
            let last = reject.alert.and_then(|alert| sealed(connection, alert));
            let reject = TlsReject { sni, ..reject };
            Err(Box::new(Failed { reject, io: Some(io), last: last.unwrap_or_default() }))
        }
    }
}

fn find<'a>(port: &'a TlsPort, sni: Option<&str>) -> Result<&'a Arc<ServedListener>, TlsReject> {
    match port.listener(sni) {
        Some(Entry::Served(listener)) => Ok(listener),
        Some(Entry::Refused(key)) => Err(TlsReject::new(
            RejectReason::ListenerRefused,
            Some(AlertDescription::InternalError),
            format!("listener {key} has no usable certificate or trust anchor"),
        )),
        None => Err(TlsReject::new(
            RejectReason::UnknownName,
            Some(AlertDescription::UnrecognisedName),
            "no listener of this port has the name",
        )),
    }
}

fn read_hello(
    hello: &rustls::server::ClientHello<'_>,
    listener: &ServedListener,
    peer: SocketAddr,
    sni: Option<String>,
) -> ClientHello {
    let alpn = hello.alpn().into_iter().flatten();
    let groups = hello.named_groups().unwrap_or_default();
    ClientHello {
        listener: listener.key.clone(),
        peer: peer.ip().to_string(),
        sni,
        alpn: alpn.map(|name| String::from_utf8_lossy(name).into_owned()).collect(),
        cipher_suites: hello.cipher_suites().iter().map(|suite| u16::from(*suite)).collect(),
        signature_schemes: hello.signature_schemes().iter().map(|s| u16::from(*s)).collect(),
        groups: groups.iter().map(|group| u16::from(*group)).collect(),
    }
}

type Prepared<'a> = (Judgement<'a>, Arc<ServerConfig>, Option<Arc<PeerSlot>>);

/// Everything before the answer to the ClientHello: what the policies say, and the configuration
/// that follows from it.
fn prepare<'a>(
    listener: &'a ServedListener,
    hello: &'a ClientHello,
    policies: &'a dyn TlsPolicies,
) -> Result<Prepared<'a>, TlsReject> {
    let mut judgement = Judgement::new(listener.filters(hello.sni.as_deref()), hello, policies)?;
    let mut terms = listener.terms.clone();
    judgement.hear_hello(listener, &mut terms)?;
    let key = listener.terms_key(&terms, judgement.versions());
    let internal = |error: Error| {
        let alert = Some(AlertDescription::InternalError);
        TlsReject::new(RejectReason::Protocol, alert, error.to_string())
    };
    if terms.client_auth == ClientAuth::None {
        // Nobody will be asked, so the absence is certain, and a refusal still gets to the client
        // as the answer to its ClientHello.
        judgement.see_certificate(None)?;
        return Ok((judgement, listener.config(&key).map_err(internal)?, None));
    }
    let Some(anchors) = &listener.anchors else { return Err(no_anchors(terms.client_auth)) };
    let slot = Arc::new(PeerSlot::default());
    let config = listener.config_with_peer(&key, anchors, &slot).map_err(internal)?;
    Ok((judgement, config, Some(slot)))
}

/// Shows the certificate of an established connection to the policies, of a resumed one too.
fn client_certificate(
    connection: &ServerConnection,
    slot: Option<&PeerSlot>,
    judgement: &mut Judgement<'_>,
) -> Result<Option<ClientCert>, TlsReject> {
    let Some(slot) = slot else { return Ok(None) };
    let chain = connection.peer_certificates().filter(|_| slot.get().is_some());
    let Some(chain) = chain else {
        judgement.see_certificate(None)?;
        return Ok(None);
    };
    let Some(peer) = peer::read(chain, judgement.wants_der()) else {
        let message = "the client's certificate verifies, but its names cannot be read";
        let alert = Some(AlertDescription::BadCertificate);
        return Err(TlsReject::new(RejectReason::ClientCertificate, alert, message));
    };
    judgement.see_certificate(Some(&peer))?;
    let san = peer.sans.first().map(peer::san_text);
    Ok(Some(ClientCert { san, fingerprint: peer.sha256 }))
}

fn conclude(
    listener: &ServedListener,
    sni: Option<String>,
    connection: &ServerConnection,
    client_cert: Option<ClientCert>,
    judgement: Judgement<'_>,
) -> TlsSession {
    let conclusion = judgement.conclude();
    TlsSession {
        listener: listener.key.clone(),
        sni,
        alpn: match connection.alpn_protocol() {
            Some(b"h2") => Some("h2"),
            Some(b"http/1.1") => Some("http/1.1"),
            _ => None,
        },
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        satisfied: conclusion.satisfied,
        skipped: conclusion.skipped,
        attributes: conclusion.attributes,
        client_cert,
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
    }
}

/// What an error of the TLS library means. It has sent its alert itself, unless the first record is
/// of another kind: that one is left to the caller.
fn of_error(error: &io::Error, before_hello: bool) -> TlsReject {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let (reason, alert) = match inner {
        None => (RejectReason::Disconnected, None),
        Some(Error::NoCertificatesPresented) => {
            (RejectReason::ClientCertificate, Some(AlertDescription::CertificateRequired))
        }
        Some(Error::InvalidCertificate(problem)) => {
            (RejectReason::ClientCertificate, Some(problem.clone().into()))
        }
        Some(Error::PeerIncompatible(_)) | Some(Error::NoApplicationProtocol) => {
            (RejectReason::Incompatible, None)
        }
        Some(Error::AlertReceived(_)) => (RejectReason::ClientAlert, None),
        Some(Error::InappropriateMessage { .. }) if before_hello => {
            (RejectReason::NotTls, Some(AlertDescription::UnexpectedMessage))
        }
        Some(_) if before_hello => (RejectReason::NotTls, None),
        Some(_) => (RejectReason::Protocol, None),
    };
    TlsReject::new(reason, alert, error.to_string())
}
