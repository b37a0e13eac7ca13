//! What TLS policies see and decide (`penstock:policy/tls`).

/// Attributes of each exchange on a connection: names and values.
pub type Attributes = Vec<(Box<str>, Box<str>)>;

/// What the client offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// `namespace/gateway/listener`.
    pub listener: String,
    /// The peer's address as text.
    pub peer: String,
    /// Server name, lower-case.
    pub sni: Option<String>,
    /// Offered application protocols; bytes that are not UTF-8 are replaced.
    pub alpn: Vec<String>,
    /// Offered cipher suites by their registered numbers.
    pub cipher_suites: Vec<u16>,
    /// Offered signature schemes by their registered numbers.
    pub signature_schemes: Vec<u16>,
    /// Offered groups by their registered numbers.
    pub groups: Vec<u16>,
}

/// Whether the client is asked for a certificate. The greater one is the stricter one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientAuth {
    /// It is not asked.
    #[default]
    None,
    /// It is asked and may decline.
    Request,
    /// Without a certificate the handshake ends.
    Require,
}

/// The alert that ends a handshake (RFC 8446, section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names of RFC 8446 say what they are")]
pub enum Alert {
    HandshakeFailure,
    BadCertificate,
    CertificateExpired,
    CertificateUnknown,
    UnknownCa,
    AccessDenied,
    UnrecognizedName,
    CertificateRequired,
}

/// On what terms a handshake goes on. What is absent stays as the Gateway has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Name of a TLS profile that the GatewayConfig declares.
    pub profile: Option<String>,
    /// Whether to ask for a certificate.
    pub client_auth: Option<ClientAuth>,
    /// Become attributes of each exchange on the connection.
    pub attributes: Attributes,
}

/// What a TLS policy decides on a ClientHello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelloDecision {
    /// Go on as the Gateway has it.
    Default,
    /// Go on with these terms.
    Terminate(Terms),
    /// End it.
    Reject(Alert),
}

/// A subject alternative name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum San {
    /// DNS name.
    Dns(String),
    /// URI, for example a SPIFFE id.
    Uri(String),
    /// E-mail address.
    Email(String),
    /// IP address as text.
    Ip(String),
}

/// The client's certificate, after its chain was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The chain as DER, leaf first. The host passes it on only where the plan says `want_der`.
    pub chain: Vec<Vec<u8>>,
    /// Subject as text (RFC 4514).
    pub subject: String,
    /// Issuer as text (RFC 4514).
    pub issuer: String,
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    /// Subject alternative names in order.
    pub sans: Vec<San>,
    /// SHA-256 of the certificate, lower-case hexadecimal.
    pub sha256: String,
    /// Start of validity, seconds since 1970.
    pub not_before: i64,
    /// End of validity, seconds since 1970.
    pub not_after: i64,
}

/// What a TLS policy decides on the client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerDecision {
    /// Accept; the fields become attributes of each exchange on the connection.
    Accept(Attributes),
    /// End the handshake.
    Reject(Alert),
}

/// When a TLS policy takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsPlan {
    /// Call it on the ClientHello.
    pub client_hello: bool,
    /// Call it on the client's certificate, also when the client sent none.
    pub client_certificate: bool,
    /// It reads [`PeerCertificate::chain`].
    pub want_der: bool,
    /// The client is asked for a certificate at least this strictly.
    pub client_auth: ClientAuth,
}
