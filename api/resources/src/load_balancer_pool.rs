//! `LoadBalancerPool`: addresses for Gateways where no cloud controller gives them one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema_rules::rules;

/// Addresses for Gateways where no cloud controller gives them one.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "LoadBalancerPool",
    status = "LoadBalancerPoolStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "lbpool",
    category = "penstock",
    doc = "Addresses for Gateways where no cloud controller gives them one. Each address is announced by one node at a time on its uplink (ARP and neighbour discovery).",
    printcolumn = r#"{"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name": "Used", "type": "integer", "jsonPath": ".status.used"}"#,
    printcolumn = r#"{"name": "Free", "type": "string", "jsonPath": ".status.free"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerPoolSpec {
    /// The addresses. A Gateway gets the lowest free one of each family, in the order of the pools'
    /// names; it keeps it as long as a pool that selects the Gateway holds it.
    #[schemars(length(min = 1, max = 32))]
    pub ranges: Vec<AddressRange>,
    /// Labels of the Gateways that get an address. Absent: any Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector")]
    pub gateway_selector: Option<LabelSelector>,
    /// Labels of the namespaces whose Gateways get an address. Absent: any namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector")]
    pub namespace_selector: Option<LabelSelector>,
}

/// A range of addresses of one family: all of a CIDR block, or those from `start` to `stop`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.cidr) != has(self.start)", "a range has either cidr or start"),
    ("!has(self.stop) || has(self.start)", "stop needs start"),
    ("!has(self.cidr) || isCIDR(self.cidr)", "cidr must be a block of addresses, for example 192.0.2.0/24"),
    ("!has(self.start) || isIP(self.start)", "start must be an IP address"),
    ("!has(self.stop) || isIP(self.stop)", "stop must be an IP address"),
    (
        "!has(self.start) || !has(self.stop) || !isIP(self.start) || !isIP(self.stop) || \
         ip(self.start).family() == ip(self.stop).family()",
        "start and stop must be of one address family",
    ),
])))]
pub struct AddressRange {
    /// All addresses of a block, the first and the last one too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 43))]
    pub cidr: Option<String>,
    /// First address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 39))]
    pub start: Option<String>,
    /// Last address. Absent: `start` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 39))]
    pub stop: Option<String>,
}

/// What became of a pool.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerPoolStatus {
    /// `Accepted`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = crate::schema_rules::keys(&["type"])
    ))]
    pub conditions: Vec<Condition>,
    /// Addresses that Gateways have.
    #[serde(default)]
    #[schemars(with = "i32")]
    pub used: u32,
    /// Addresses that are free, as a number in decimal: a block of IPv6 has more than an integer
    /// holds.
    #[serde(default)]
    pub free: String,
}

/// Blocks of addresses that no Gateway can have (RFC 6890, RFC 4291), by first and last address.
/// Addresses of one family are never between two of the other.
const RESERVED: [(IpAddr, IpAddr); 6] = [
    (v4(0, 0, 0, 0), v4(0, 255, 255, 255)),
    (v4(127, 0, 0, 0), v4(127, 255, 255, 255)),
    (v4(224, 0, 0, 0), v4(255, 255, 255, 255)),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::LOCALHOST)),
    (v6(0, 0xffff, 0), v6(0, 0xffff, 0xffff)),
    (v6(0xff00, 0, 0), v6(0xffff, 0xffff, 0xffff)),
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// The first 16 bits, those before the last 32, and each of those.
const fn v6(first: u16, mapped: u16, last: u16) -> IpAddr {
    let rest = if first == 0xffff { 0xffff } else { 0 };
    IpAddr::V6(Ipv6Addr::new(first, rest, rest, rest, rest, mapped, last, last))
}

/// Why a range has no addresses. The writer of the pool is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Neither `cidr` nor `start`, or both.
    #[error("a range has either cidr or start")]
    Form,
    /// A text is no address or block.
    #[error("`{0}` is no IP address or block of addresses")]
    Address(String),
    /// Addresses that no Gateway can have: unspecified, loopback, multicast and reserved ones.
    #[error("{first} to {last} holds addresses that no Gateway can have, for example {bad}")]
    Reserved {
        /// First of the range.
        first: IpAddr,
        /// Last of the range.
        last: IpAddr,
        /// One of them.
        bad: IpAddr,
    },
    /// `stop` lies before `start` or is of the other family.
    #[error("stop {stop} does not follow start {start}")]
    Order {
        /// `start`
        start: IpAddr,
        /// `stop`
        stop: IpAddr,
    },
}

impl AddressRange {
    /// First and last address, of one family, in order.
    ///
    /// # Errors
    /// When the range has none.
    pub fn bounds(&self) -> Result<(IpAddr, IpAddr), RangeError> {
        let (first, last) = self.stated_bounds()?;
        match RESERVED.into_iter().find(|(lowest, highest)| first <= *highest && last >= *lowest) {
            Some((bad, _)) => Err(RangeError::Reserved { first, last, bad: bad.max(first) }),
            None => Ok((first, last)),
        }
    }

    fn stated_bounds(&self) -> Result<(IpAddr, IpAddr), RangeError> {
        match (&self.cidr, &self.start, &self.stop) {
            (Some(cidr), None, None) => block(cidr),
            (None, Some(start), stop) => {
                let start = address(start)?;
                let stop = stop.as_deref().map_or(Ok(start), address)?;
                if stop < start || stop.is_ipv4() != start.is_ipv4() {
                    return Err(RangeError::Order { start, stop });
                }
                Ok((start, stop))
            }
            _ => Err(RangeError::Form),
        }
    }
}

fn address(text: &str) -> Result<IpAddr, RangeError> {
    text.parse().map_err(|_| RangeError::Address(text.to_owned()))
}

fn block(text: &str) -> Result<(IpAddr, IpAddr), RangeError> {
    let wrong = || RangeError::Address(text.to_owned());
    let (base, length) = text.split_once('/').ok_or_else(wrong)?;
    let length: u32 = length.parse().map_err(|_| wrong())?;
    match address(base)? {
        IpAddr::V4(base) => {
            let hosts = u32::MAX.checked_shr(length).unwrap_or(0);
            let first = u32::from(base) & !hosts;
            let bounds = (IpAddr::V4(first.into()), IpAddr::V4((first | hosts).into()));
            (length <= 32).then_some(bounds).ok_or_else(wrong)
        }
        IpAddr::V6(base) => {
            let hosts = u128::MAX.checked_shr(length).unwrap_or(0);
            let first = u128::from(base) & !hosts;
            let bounds = (IpAddr::V6(first.into()), IpAddr::V6((first | hosts).into()));
            (length <= 128).then_some(bounds).ok_or_else(wrong)
        }
    }
}

/// The schema of a selector as the API server knows it, without its long descriptions.
fn label_selector(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "nullable": true,
        "properties": {
            "matchLabels": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "Labels that must be there with these values.",
            },
            "matchExpressions": {
                "type": "array",
                "maxItems": 32,
                "description": "Expressions that must all be true.",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {"type": "string", "description": "Name of a label."},
                        "operator": {
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                            "description": "How the label is compared with `values`.",
                        },
                        "values": {
                            "type": "array",
                            "maxItems": 32,
                            "items": {"type": "string"},
                            "description": "Values, with In and NotIn.",
                        },
                    },
                    "x-kubernetes-validations": rules(&[(
                        "self.operator in ['In', 'NotIn'] == (has(self.values) && size(self.values) > 0)",
                        "In and NotIn take values, Exists and DoesNotExist take none",
                    )]),
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(cidr: &str, start: &str, stop: &str) -> Result<String, String> {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let range = AddressRange { cidr: text(cidr), start: text(start), stop: text(stop) };
        let bounds = range.bounds().map(|(first, last)| format!("{first} {last}"));
        bounds.map_err(|error| error.to_string())
    }

    #[test]
    fn a_range_is_a_block_or_from_start_to_stop() {
        for (cidr, start, stop, wanted) in [
            ("192.0.2.0/29", "", "", "192.0.2.0 192.0.2.7"),
            ("192.0.2.77/24", "", "", "192.0.2.0 192.0.2.255"),
            ("192.0.2.1/32", "", "", "192.0.2.1 192.0.2.1"),
            ("2001:db8::/126", "", "", "2001:db8:: 2001:db8::3"),
            ("2001:db8::1/128", "", "", "2001:db8::1 2001:db8::1"),
            ("", "192.0.2.9", "192.0.3.1", "192.0.2.9 192.0.3.1"),
            ("", "2001:db8::1", "", "2001:db8::1 2001:db8::1"),
        ] {
            assert_eq!(bounds(cidr, start, stop).as_deref(), Ok(wanted));
        }
    }

    #[test]
    fn a_range_without_addresses_says_why() {
        for (cidr, start, stop, wanted) in [
            ("", "", "", "a range has either cidr or start"),
            ("192.0.2.0/24", "192.0.2.1", "", "a range has either cidr or start"),
            ("192.0.2.0/33", "", "", "`192.0.2.0/33` is no IP address or block of addresses"),
            ("2001:db8::/129", "", "", "`2001:db8::/129` is no IP address or block of addresses"),
            ("192.0.2.0", "", "", "`192.0.2.0` is no IP address or block of addresses"),
            ("", "x", "", "`x` is no IP address or block of addresses"),
            ("", "192.0.2.2", "192.0.2.1", "stop 192.0.2.1 does not follow start 192.0.2.2"),
            (
                "0.0.0.0/0",
                "",
                "",
                "0.0.0.0 to 255.255.255.255 holds addresses that no Gateway can have, for example \
                 0.0.0.0",
            ),
            (
                "",
                "126.255.255.255",
                "127.0.0.0",
                "126.255.255.255 to 127.0.0.0 holds addresses that no Gateway can have, for \
                 example 127.0.0.0",
            ),
            (
                "::ffff:192.0.2.1/128",
                "",
                "",
                "::ffff:192.0.2.1 to ::ffff:192.0.2.1 holds addresses that no Gateway can have, \
                 for example ::ffff:192.0.2.1",
            ),
            (
                "ff02::/16",
                "",
                "",
                "ff02:: to ff02:ffff:ffff:ffff:ffff:ffff:ffff:ffff holds addresses that no Gateway \
                 can have, for example ff02::",
            ),
            ("", "192.0.2.2", "2001:db8::", "stop 2001:db8:: does not follow start 192.0.2.2"),
        ] {
            assert_eq!(bounds(cidr, start, stop).unwrap_err(), wanted);
        }
    }
}
