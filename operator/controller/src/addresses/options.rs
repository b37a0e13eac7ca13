//! What the chart says of addresses.

use penstock_ec2::{Access, Cluster};
use penstock_eni::{Settings, SettingsError, Watermarks};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
    time::Duration,
};

/// What is asked of addresses, and how EC2 is reached.
#[derive(Clone, Debug)]
pub struct AddressOptions {
    /// Of every node.
    pub settings: Settings,
    /// Whose interfaces they are. An empty name: it is the uid of the namespace `kube-system`.
    pub cluster: Cluster,
    /// How EC2 is reached.
    pub access: Access,
}

/// Options that cannot be met. Whoever wrote the values is at fault.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// No JSON, or a field that does not exist or has another type.
    #[error("eni and ipam of the values: {0}")]
    Form(#[from] serde_json::Error),
    /// A contradiction.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// `eni` and `ipam` of the values, those fields that are for the operator.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Values {
    eni: Eni,
    #[serde(default)]
    ipam: Ipam,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Eni {
    cluster_name: String,
    region: Option<String>,
    endpoint: Option<String>,
    tags: BTreeMap<String, String>,
    aws_enable_prefix_delegation: bool,
    #[serde(rename = "awsReleaseExcessIPs")]
    aws_release_excess_ips: bool,
    release_delay: Option<u64>,
    node_spec: EniNode,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct EniNode {
    first_interface_index: u8,
    #[serde(rename = "subnetIDs")]
    subnet_ids: BTreeSet<String>,
    subnet_tags: BTreeMap<String, String>,
    security_groups: BTreeSet<String>,
    security_group_tags: BTreeMap<String, String>,
    exclude_interface_tags: BTreeMap<String, String>,
    use_primary_address: bool,
    delete_on_termination: bool,
}

impl Default for EniNode {
    fn default() -> Self {
        let settings = Settings::default();
        Self {
            first_interface_index: settings.first_interface_index,
            subnet_ids: settings.subnet_ids,
            subnet_tags: settings.subnet_tags,
            security_groups: settings.security_groups,
            security_group_tags: settings.security_group_tags,
            exclude_interface_tags: settings.exclude_interface_tags,
            use_primary_address: settings.use_primary_address,
            delete_on_termination: settings.delete_on_termination,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Ipam {
    node_spec: IpamNode,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct IpamNode {
    #[serde(rename = "ipamMinAllocate")]
    min_allocate: Option<u32>,
    #[serde(rename = "ipamPreAllocate")]
    pre_allocate: Option<u32>,
    #[serde(rename = "ipamMaxAllocate")]
    max_allocate: Option<u32>,
    #[serde(rename = "ipamMaxAboveWatermark")]
    max_above_watermark: Option<u32>,
}

impl IpamNode {
    fn watermarks(&self) -> Watermarks {
        let default = Watermarks::default();
        Watermarks {
            min_allocate: self.min_allocate.unwrap_or(default.min_allocate),
            pre_allocate: self.pre_allocate.unwrap_or(default.pre_allocate),
            max_allocate: self.max_allocate.or(default.max_allocate),
            max_above_watermark: self.max_above_watermark.unwrap_or(default.max_above_watermark),
        }
    }
}

impl FromStr for AddressOptions {
    type Err = OptionsError;

    fn from_str(json: &str) -> Result<Self, OptionsError> {
        let Values { eni, ipam } = serde_json::from_str(json)?;
        let (node, default) = (eni.node_spec, Settings::default());
        let settings = Settings {
            watermarks: ipam.node_spec.watermarks(),
            first_interface_index: node.first_interface_index,
            prefixes: eni.aws_enable_prefix_delegation,
            subnet_ids: node.subnet_ids,
            subnet_tags: node.subnet_tags,
            security_groups: node.security_groups,
            security_group_tags: node.security_group_tags,
            exclude_interface_tags: node.exclude_interface_tags,
            use_primary_address: node.use_primary_address,
            delete_on_termination: node.delete_on_termination,
            release: eni.aws_release_excess_ips,
            release_delay: eni.release_delay.map_or(default.release_delay, Duration::from_secs),
        };
        settings.check()?;
        let given = |value: Option<String>| value.filter(|value| !value.is_empty());
        Ok(Self {
            settings,
            cluster: Cluster { name: eni.cluster_name, tags: eni.tags },
            access: Access {
                region: given(eni.region),
                endpoint: given(eni.endpoint),
                ..Access::default()
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_the_chart_are_read() {
        let options: AddressOptions = r#"{
            "eni": {"clusterName": "prod", "region": "", "endpoint": "", "tags": {"team": "edge"},
                "awsEnablePrefixDelegation": true, "awsReleaseExcessIPs": true, "releaseDelay": 60,
                "nodeSpec": {"firstInterfaceIndex": 1, "subnetIDs": ["subnet-1"], "subnetTags": {},
                    "securityGroups": ["sg-1"], "usePrimaryAddress": true}},
            "ipam": {"nodeSpec": {"ipamMinAllocate": 4, "ipamMaxAllocate": 40}}
        }"#
        .parse()
        .unwrap();
        assert_eq!(options.cluster.name, "prod");
        assert_eq!(options.access.region, None);
        let settings = options.settings;
        assert_eq!(settings.watermarks.min_allocate, 4);
        assert_eq!(settings.watermarks.pre_allocate, Watermarks::default().pre_allocate);
        assert!(settings.prefixes && settings.release && settings.delete_on_termination);
        assert_eq!(settings.release_delay, Duration::from_secs(60));
        assert_eq!(settings.subnet_ids, ["subnet-1".to_owned()].into());
    }

    #[test]
    fn what_is_misspelt_or_contradictory_is_refused_by_name() {
        let error = |json: &str| json.parse::<AddressOptions>().unwrap_err().to_string();
        let misspelt = error(r#"{"eni": {"clusterName": "a", "nodeSpec": {"subnetIds": []}}}"#);
        assert!(misspelt.contains("subnetIds") && misspelt.contains("subnetIDs"), "{misspelt}");
        assert!(error("{}").contains("eni"));
        let max = r#"{"eni": {"clusterName": "a"},
            "ipam": {"nodeSpec": {"ipamMinAllocate": 9, "ipamMaxAllocate": 3}}}"#;
        assert!(error(max).starts_with("ipam.nodeSpec.ipamMaxAllocate: "));
    }
}
