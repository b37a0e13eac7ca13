//! Where requests go.

/// A port of a Service. Key: `namespace/name:port`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Backend {
    /// `namespace/name:port`.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What its endpoints speak.
    #[prost(enumeration = "BackendProtocol", tag = "2")]
    pub protocol: i32,
}

/// What endpoints speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum BackendProtocol {
    /// HTTP/1.1, upgrades included.
    Http1 = 0,
    /// HTTP/2 with prior knowledge (`appProtocol: kubernetes.io/h2c`).
    H2c = 1,
}

/// The endpoints of a backend that are ready. Key: that of the backend.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Endpoints {
    /// Parent [`Backend`].
    #[prost(string, tag = "1")]
    pub backend: String,
    /// The endpoints, sorted, without repetition. Empty: requests are answered 503.
    #[prost(message, repeated, tag = "2")]
    pub endpoints: Vec<Endpoint>,
}

/// One address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message)]
pub struct Endpoint {
    /// IP address, or a DNS name (Service of type ExternalName).
    #[prost(string, tag = "1")]
    pub host: String,
    /// Port.
    #[prost(uint32, tag = "2")]
    pub port: u32,
}
