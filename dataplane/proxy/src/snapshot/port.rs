//! Ports of a snapshot.

use crate::{
    routing::RouteTable,
    telemetry::{ListenerCells, Series},
    tls::TlsPort,
};
use penstock_config::Gateway;
use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

/// One port with all its listeners.
#[derive(Debug)]
pub struct Port {
    /// As the client dials it.
    pub number: u32,
    /// Which rule a request belongs to.
    pub table: RouteTable,
    /// The listeners, sorted by key: the order the table was built from.
    pub listeners: Vec<ListenerInfo>,
    /// Present on an HTTPS port.
    pub tls: Option<Arc<TlsPort>>,
    /// Open connections, all workers together; goes on in the next snapshot.
    pub open: Arc<AtomicU32>,
}

/// A listener of a port.
#[derive(Clone, Debug)]
pub struct ListenerInfo {
    /// `namespace/gateway/section`.
    pub key: Arc<str>,
    /// What its Gateway says.
    pub settings: Arc<Settings>,
    /// Its metrics.
    pub cells: Arc<Series<ListenerCells>>,
}

impl Port {
    /// What is in force for a connection before it is known which listener its requests belong to.
    pub fn settings(&self) -> &Arc<Settings> {
        // A port exists because a listener has it.
        &self.listeners[0].settings
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// Limits and client address of a Gateway, defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Proxies in front that are trusted to have written `X-Forwarded-For`.
    pub trusted_hops: usize,
    /// Open connections on the port, all workers together.
    pub max_connections: u32,
    /// Bytes of a request's head.
    pub max_header_bytes: usize,
    /// Fields of a request.
    pub max_headers: usize,
    /// For a client to send a head, or to finish the TLS handshake.
    pub header_timeout: Duration,
    /// For a connection without a request.
    pub idle_timeout: Duration,
    /// HTTP/2 streams on one connection.
    pub max_concurrent_streams: u32,
    /// Without progress of a body, in either direction.
    pub body_timeout: Duration,
    /// Bytes of a request's body.
    pub max_body_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trusted_hops: 0,
            max_connections: 65_536,
            max_header_bytes: 64 * 1024,
            max_headers: 100,
            header_timeout: Duration::from_secs(10),
            // Longer than the 350 s of an AWS network load balancer: who is in front closes first,
            // so that no request meets a connection that is being closed.
            idle_timeout: Duration::from_secs(400),
            max_concurrent_streams: 100,
            body_timeout: Duration::from_secs(60),
            max_body_bytes: u64::MAX,
        }
    }
}

impl Settings {
    /// Least head that hyper's read buffer can be limited to.
    const LEAST_HEADER_BYTES: usize = 8 * 1024;

    /// What a Gateway says; 0 is the default.
    pub fn of(gateway: &Gateway) -> Self {
        let defaults = Self::default();
        let limits = gateway.limits.unwrap_or_default();
        let count = |given: u32, default: usize| match given {
            0 => default,
            given => given as usize,
        };
        let time = |given: u32, default: Duration| match given {
            0 => default,
            given => Duration::from_millis(given.into()),
        };
        Self {
            trusted_hops: gateway.trusted_hops as usize,
            max_connections: match limits.max_connections {
                0 => defaults.max_connections,
                given => given,
            },
            max_header_bytes: count(limits.max_header_bytes, defaults.max_header_bytes),
            max_headers: count(limits.max_headers, defaults.max_headers),
            header_timeout: time(limits.header_timeout_ms, defaults.header_timeout),
            idle_timeout: time(limits.idle_timeout_ms, defaults.idle_timeout),
            max_concurrent_streams: match limits.max_concurrent_streams {
                0 => defaults.max_concurrent_streams,
                given => given,
            },
            body_timeout: time(limits.body_timeout_ms, defaults.body_timeout),
            max_body_bytes: match limits.max_body_bytes {
                0 => defaults.max_body_bytes,
                given => given,
            },
        }
    }

    /// Bytes that the read buffer of an HTTP/1 connection may take.
    pub fn read_buffer(&self) -> usize {
        self.max_header_bytes.max(Self::LEAST_HEADER_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_config::Limits;

    #[test]
    fn zero_is_the_default_and_anything_else_is_taken() {
        let gateway = Gateway::default();
        assert_eq!(Settings::of(&gateway), Settings::default());
        let limits = Limits { max_headers: 7, header_timeout_ms: 250, ..Limits::default() };
        let settings = Settings::of(&Gateway { limits: Some(limits), trusted_hops: 2, ..gateway });
        assert_eq!(settings.max_headers, 7);
        assert_eq!(settings.header_timeout, Duration::from_millis(250));
        assert_eq!(settings.trusted_hops, 2);
        assert_eq!(settings.max_body_bytes, u64::MAX);
    }
}
