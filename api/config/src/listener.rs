//! Gateways, their listeners, certificates and TLS policies.

/// What all listeners of one Gateway share. Key: `namespace/name`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Gateway {
    /// `namespace/name`.
    #[prost(string, tag = "1")]
    pub name: String,
    /// How many proxies in front of the gateway are trusted to have written `X-Forwarded-For`.
    /// 0: the peer is the client and what it sent in that field is replaced.
    #[prost(uint32, tag = "2")]
    pub trusted_hops: u32,
    /// The profiles that listeners and TLS policies may name, at least one.
    #[prost(message, repeated, tag = "3")]
    pub tls_profiles: Vec<TlsProfile>,
    /// Name of the profile in force where no policy names a stricter one.
    #[prost(string, tag = "4")]
    pub default_tls_profile: String,
    /// Limits on what clients may use.
    #[prost(message, optional, tag = "5")]
    pub limits: Option<Limits>,
}

/// Limits on what clients may use; 0 is "the proxy's default".
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Limits {
    /// Open client connections on each listener port, all workers together.
    #[prost(uint32, tag = "1")]
    pub max_connections: u32,
    /// Bytes of a request's head.
    #[prost(uint32, tag = "2")]
    pub max_header_bytes: u32,
    /// Number of request fields.
    #[prost(uint32, tag = "3")]
    pub max_headers: u32,
    /// Milliseconds for a client to send a request's head, and to finish the TLS handshake.
    #[prost(uint32, tag = "4")]
    pub header_timeout_ms: u32,
    /// Milliseconds after which a connection without a request is closed.
    #[prost(uint32, tag = "5")]
    pub idle_timeout_ms: u32,
    /// Concurrent HTTP/2 streams on one connection.
    #[prost(uint32, tag = "6")]
    pub max_concurrent_streams: u32,
    /// Milliseconds without progress of a body in either direction.
    #[prost(uint32, tag = "7")]
    pub body_timeout_ms: u32,
    /// Bytes of a request's body; a larger one is answered 413.
    #[prost(uint64, tag = "8")]
    pub max_body_bytes: u64,
}

/// A named set of TLS parameters, declared by the `GatewayConfig`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TlsProfile {
    /// Name, for example `modern`.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Least version that is accepted.
    #[prost(enumeration = "TlsVersion", tag = "2")]
    pub min_version: i32,
}

/// TLS protocol versions, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum TlsVersion {
    /// RFC 5246
    Tls12 = 0,
    /// RFC 8446
    Tls13 = 1,
}

/// A listener that is served. Key: `namespace/gateway/listener`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Listener {
    /// Parent [`Gateway`], `namespace/name`.
    #[prost(string, tag = "1")]
    pub gateway: String,
    /// Section name.
    #[prost(string, tag = "2")]
    pub section: String,
    /// Port as the client dials it.
    #[prost(uint32, tag = "3")]
    pub port: u32,
    /// Protocol.
    #[prost(enumeration = "ListenerProtocol", tag = "4")]
    pub protocol: i32,
    /// Host name, lower-case: empty for any, `*.example.com` for one or more labels before it.
    #[prost(string, tag = "5")]
    pub hostname: String,
    /// Keys of [`Certificate`]s, in the order of `certificateRefs`. HTTPS only.
    #[prost(string, repeated, tag = "6")]
    pub certificates: Vec<String>,
    /// How client certificates are checked. HTTPS only.
    #[prost(message, optional, tag = "7")]
    pub client_validation: Option<ClientValidation>,
    /// Where a proxy that serves several Gateways takes the connections of this port: the
    /// [`crate::Frontend::target_port`]. 0: at [`Listener::port`] itself (standalone).
    #[prost(uint32, tag = "8")]
    pub target_port: u32,
}

impl Listener {
    /// The port at which a proxy takes connections of this listener: one that no other Gateway
    /// shares, where there are several.
    pub fn serving_port(&self) -> u32 {
        if self.target_port == 0 { self.port } else { self.target_port }
    }
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ListenerProtocol {
    /// HTTP/1.1 and HTTP/2 with prior knowledge, without TLS.
    Http = 0,
    /// The same within TLS that is terminated here.
    Https = 1,
}

/// Frontend client-certificate validation (Gateway `tls.frontend`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct ClientValidation {
    /// Trust anchors as PEM, all `caCertificateRefs` joined.
    #[prost(string, tag = "1")]
    pub anchors_pem: String,
    /// What happens without a valid certificate.
    #[prost(enumeration = "ValidationMode", tag = "2")]
    pub mode: i32,
}

/// What happens to a client without a valid certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ValidationMode {
    /// `AllowInsecureFallback`: served all the same.
    AllowInsecureFallback = 0,
    /// `AllowValidOnly`: the handshake fails.
    AllowValidOnly = 1,
    /// Nobody is asked by the listener itself; the anchors are there for TLS policies.
    OnDemand = 2,
}

/// A certificate chain with its key. Key: `namespace/name` of the Secret. Holds a secret: never
/// logged, never in a configuration dump.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct Certificate {
    /// `namespace/name` of the Secret.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Chain as PEM, leaf first.
    #[prost(bytes = "vec", tag = "2")]
    pub chain_pem: Vec<u8>,
    /// Private key as PEM.
    #[prost(bytes = "vec", tag = "3")]
    pub key_pem: Vec<u8>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The TLS policies in force for one name of one listener. Key: `listener key|hostname`.
///
/// The most specific binding for a server name applies, as for routes. Rules say in
/// [`crate::Rule::tls_filters`] which policies a connection must have satisfied.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TlsBinding {
    /// Key of the [`Listener`].
    #[prost(string, tag = "1")]
    pub listener: String,
    /// Name, lower-case; empty for any, may begin with `*.`.
    #[prost(string, tag = "2")]
    pub hostname: String,
    /// Keys of [`crate::Filter`]s of kind TLS, in order.
    #[prost(string, repeated, tag = "3")]
    pub filters: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_printed_shows_its_name_and_no_key() {
        let certificate = Certificate {
            name: "n/cert".into(),
            chain_pem: b"chain".to_vec(),
            key_pem: b"key".to_vec(),
        };
        assert_eq!(format!("{certificate:?}"), r#"Certificate { name: "n/cert", .. }"#);
    }
}
