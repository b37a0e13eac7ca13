//! The networks of a VPC, as the command line names them.

use ipnet::Ipv4Net;
use std::{fmt, net::Ipv4Addr, str::FromStr};

/// One or more networks of IPv4, no two of which overlap. Written with commas between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks(Vec<Ipv4Net>);

/// A list of networks that means nothing. Who wrote it is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworksError {
    /// Not a CIDR.
    #[error("{0:?} is no CIDR of IPv4; one looks like 10.0.0.0/16, a comma stands between two")]
    NoNetwork(String),
    /// The address has bits beyond the prefix: it may be mistyped.
    #[error("{given} is an address in {network}; write {network} if that is meant")]
    NotFirst {
        /// As it was written.
        given: Ipv4Net,
        /// The network that it is in.
        network: Ipv4Net,
    },
    /// One is in the other: one of the two may be mistyped.
    #[error("{0} and {1} overlap; leave out the smaller one")]
    Overlap(Ipv4Net, Ipv4Net),
}

impl Networks {
    /// In the order in which they were written.
    pub fn as_slice(&self) -> &[Ipv4Net] {
        &self.0
    }

    /// Whether an address is in one of them.
    pub fn contain(&self, address: Ipv4Addr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromStr for Networks {
    type Err = NetworksError;

    fn from_str(text: &str) -> Result<Self, NetworksError> {
        let mut networks: Vec<Ipv4Net> = Vec::new();
        for word in text.split(',').map(str::trim) {
            let no_network = |_| NetworksError::NoNetwork(word.to_owned());
            let given: Ipv4Net = word.parse().map_err(no_network)?;
            let network = given.trunc();
            if given != network {
                return Err(NetworksError::NotFirst { given, network });
            }
            let overlaps = |other: &&Ipv4Net| other.contains(&network) || network.contains(*other);
            if let Some(other) = networks.iter().find(overlaps) {
                return Err(NetworksError::Overlap(*other, network));
            }
            networks.push(network);
        }
        Ok(Self(networks))
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.0.iter().map(Ipv4Net::to_string).collect();
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_as_they_are_written() {
        let networks: Networks = "10.0.0.0/16, 100.64.0.0/10".parse().unwrap();
        assert_eq!(networks.to_string(), "10.0.0.0/16,100.64.0.0/10");
        assert!(networks.contain(Ipv4Addr::new(10, 0, 255, 1)));
        assert!(!networks.contain(Ipv4Addr::new(10, 1, 0, 1)));
    }

    #[test]
    fn what_may_be_a_mistake_is_refused_by_name() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/8,", "fd00::/8", "vpc"] {
            let error = text.parse::<Networks>().unwrap_err();
            assert!(matches!(error, NetworksError::NoNetwork(_)), "{text}: {error}");
        }
        let error = "10.0.3.0/16".parse::<Networks>().unwrap_err().to_string();
        assert!(error.contains("write 10.0.0.0/16"), "{error}");
        for text in ["10.0.0.0/8,10.1.0.0/16", "10.1.0.0/16,10.0.0.0/8", "10.0.0.0/8,10.0.0.0/8"] {
            let error = text.parse::<Networks>().unwrap_err();
            assert!(matches!(error, NetworksError::Overlap(..)), "{text}: {error}");
        }
    }
}
