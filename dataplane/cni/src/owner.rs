//! Who has an address, and how the devices of a pod are named.

use penstock_net::pods::PREFIX;
use serde::{Deserialize, Serialize};
use std::{fmt, net::Ipv4Addr, str::FromStr};

/// The name of a pod's device on the node: 15 characters, as many as a name may have (`IFNAMSIZ`).
/// Follows from who has it, so that it is found again whoever looks.
pub fn device_name(container: &str, device: &str) -> String {
    // FNV-1a, 64 bits: no secret depends on it, and it is the same in each version.
    let bytes = container.bytes().chain([b'/']).chain(device.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{PREFIX}{:012x}", hash & 0xffff_ffff_ffff)
}

/// What is noted on a pod's device on the node, from which the agent knows it again when its own file
/// is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_IFNAME`.
    pub device: String,
    /// The pod's address.
    pub address: Ipv4Addr,
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "penstock {} {} {}", self.address, self.device, self.container)
    }
}

/// A text that is no [`Alias`]: the device is somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the alias is not one of Penstock's")]
pub struct AliasError;

impl FromStr for Alias {
    type Err = AliasError;

    fn from_str(text: &str) -> Result<Self, AliasError> {
        let mut words = text.strip_prefix("penstock ").ok_or(AliasError)?.split(' ');
        let address = words.next().and_then(|word| word.parse().ok()).ok_or(AliasError)?;
        match (words.next(), words.next(), words.next()) {
            (Some(device), Some(container), None) if !device.is_empty() => {
                Ok(Self { container: container.into(), device: device.into(), address })
            }
            _ => Err(AliasError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_devices_name_fits_and_differs_by_container_and_device() {
        let name = device_name("0123456789abcdef", "eth0");
        assert_eq!(name.len(), 15);
        assert_eq!(name, "pst7c12c2183f77", "other versions look for the same");
        assert_ne!(name, device_name("0123456789abcdef", "eth1"));
        assert_ne!(device_name("a/b", "c"), device_name("a", "b/c!"));
    }

    #[test]
    fn an_alias_is_read_as_it_is_written() {
        let alias = Alias {
            container: "0123".into(),
            device: "eth0".into(),
            address: Ipv4Addr::new(10, 0, 0, 17),
        };
        assert_eq!(alias.to_string().parse(), Ok(alias));
        for text in ["", "penstock", "penstock 10.0.0.1 eth0", "penstock x eth0 a", "other a b c"] {
            assert_eq!(text.parse::<Alias>(), Err(AliasError), "{text}");
        }
    }
}
