//! Alerts that rustls has no way to send: the choice of a policy, before or after the handshake.

use std::time::Duration;

use penstock_filter_host::Alert;
use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::server::ServerConnection;
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long a client has to take the alert.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes that are read from a client that goes on talking.
const LINGER_BYTES: usize = 64 * 1024;
/// `level` of a fatal alert (RFC 8446, section 6).
const FATAL: u8 = 2;

/// The alert of a policy as the protocol has it.
pub(super) fn description(alert: Alert) -> AlertDescription {
    match alert {
        Alert::HandshakeFailure => AlertDescription::HandshakeFailure,
        Alert::BadCertificate => AlertDescription::BadCertificate,
        Alert::CertificateExpired => AlertDescription::CertificateExpired,
        Alert::CertificateUnknown => AlertDescription::CertificateUnknown,
        Alert::UnknownCa => AlertDescription::UnknownCA,
        Alert::AccessDenied => AlertDescription::AccessDenied,
        Alert::UnrecognizedName => AlertDescription::UnrecognisedName,
        Alert::CertificateRequired => AlertDescription::CertificateRequired,
    }
}

/// The record of an alert before any key is agreed on: an answer to the ClientHello.
pub(super) fn plain(alert: AlertDescription) -> Vec<u8> {
    vec![ContentType::Alert.into(), 3, 3, 0, 2, FATAL, alert.into()]
}

/// The record of an alert on an established connection, which is spent by it: nothing else can be
/// sent after a fatal alert. `None` where the configuration does not allow to take the keys out.
pub(super) fn sealed(connection: ServerConnection, alert: AlertDescription) -> Option<Vec<u8>> {
    let suite = connection.negotiated_cipher_suite()?;
    let (sequence, secrets) = connection.dangerous_extract_secrets().ok()?.tx;
    let payload = [FATAL, alert.into()];
    let record = OutboundPlainMessage {
        typ: ContentType::Alert,
        version: ProtocolVersion::TLSv1_2,
        payload: OutboundChunks::Single(&payload),
    };
    let sealed = encrypter(suite, secrets)?.encrypt(record, sequence).ok()?;
    Some(sealed.encode())
}

fn encrypter(
    suite: SupportedCipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Option<Box<dyn MessageEncrypter>> {
    let (key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => return None,
    };
    match suite {
        SupportedCipherSuite::Tls13(suite) => Some(suite.aead_alg.encrypter(key, iv)),
        SupportedCipherSuite::Tls12(suite) => {
            // AES-GCM of TLS 1.2 has a fixed and an explicit part (RFC 5288, section 3).
            let fixed = suite.aead_alg.key_block_shape().fixed_iv_len;
            let (fixed, explicit) = iv.as_ref().split_at_checked(fixed)?;
            Some(suite.aead_alg.encrypter(key, fixed, explicit))
        }
    }
}

/// Sends the last bytes and waits a moment for the client to take them. Closing a socket with
/// unread bytes in it resets the connection, and a reset may overtake the alert.
pub(super) async fn farewell<IO: AsyncRead + AsyncWrite + Unpin>(mut io: IO, last: &[u8]) {
    let exchange = async {
        io.write_all(last).await?;
        io.shutdown().await?;
        let mut buffer = [0; 2048];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match io.read(&mut buffer).await? {
                0 => break,
                bytes => left = left.saturating_sub(bytes),
            }
        }
        std::io::Result::Ok(())
    };
    // Neither a client that is gone nor one that does not listen is of interest any more.
    let _ = tokio::time::timeout(LINGER, exchange).await;
}
