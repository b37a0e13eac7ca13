//! Backends of a snapshot.

use crate::telemetry::{BackendCells, Series};
use penstock_config::{BackendProtocol, Endpoint, Endpoints};
use std::{fmt, net::IpAddr, sync::Arc};

/// Where requests go.
#[derive(Clone, Debug)]
pub struct Backend {
    /// `namespace/name:port`.
    pub name: Arc<str>,
    /// What its endpoints speak.
    pub protocol: BackendProtocol,
    /// Its ready endpoints: host and port.
    pub endpoints: Arc<[(Host, u16)]>,
    /// Its metrics.
    pub cells: Arc<Series<BackendCells>>,
}

/// Address or name of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A DNS name, resolved when a connection is made.
    Name(Arc<str>),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(address) => address.fmt(f),
            Host::Name(name) => f.write_str(name),
        }
    }
}

/// The endpoints in the types of the proxy. One with a port that cannot exist is left out.
pub(super) fn endpoints(endpoints: &Endpoints) -> Arc<[(Host, u16)]> {
    let compile = |endpoint: &Endpoint| {
        let host = match endpoint.host.parse() {
            Ok(address) => Host::Ip(address),
            Err(_) => Host::Name(endpoint.host.as_str().into()),
        };
        Some((host, u16::try_from(endpoint.port).ok().filter(|port| *port > 0)?))
    };
    endpoints.endpoints.iter().filter_map(compile).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_told_apart() {
        let endpoint = |host: &str, port| Endpoint { host: host.into(), port };
        let found = endpoints(&Endpoints {
            backend: "n/s:80".into(),
            endpoints: vec![
                endpoint("10.0.0.1", 80),
                endpoint("::1", 81),
                endpoint("example.com", 82),
                endpoint("10.0.0.2", 70_000),
            ],
        });
        let text: Vec<String> = found.iter().map(|(host, port)| format!("{host} {port}")).collect();
        assert_eq!(text, ["10.0.0.1 80", "::1 81", "example.com 82"]);
        assert!(matches!(found[2].0, Host::Name(_)));
    }
}
