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
    #[error("{0}")]
    Form(String),
    /// A file that cannot be read.
    #[error("{path}: {error}: name a file, or give the JSON itself, which begins with a brace")]
    File {
        /// Its path.
        path: String,
        /// Why.
        error: std::io::Error,
    },
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

/// What is wrong is named with the path of the field.
fn values(json: &str) -> Result<Values, OptionsError> {
    let mut json = serde_json::Deserializer::from_str(json);
    let values = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = match error.path().to_string() {
            root if root == "." || root == "?" => "eni and ipam of the values".to_owned(),
            path => path,
        };
        OptionsError::Form(format!("{path}: {}", error.into_inner()))
    })?;
    json.end()
        .map_err(|error| OptionsError::Form(format!("eni and ipam of the values: {error}")))?;
    Ok(values)
}

impl AddressOptions {
    /// From an argument: JSON, or the path of a file with it.
    ///
    /// # Errors
    /// Where it cannot be read, or says what cannot be met: with the path of the field.
    pub fn of_argument(text: &str) -> Result<Self, OptionsError> {
        if text.trim_start().starts_with('{') {
            return text.parse();
        }
        let file = std::fs::read_to_string(text);
        file.map_err(|error| OptionsError::File { path: text.to_owned(), error })?.parse()
    }
}

impl FromStr for AddressOptions {
    type Err = OptionsError;

    fn from_str(json: &str) -> Result<Self, OptionsError> {
        let Values { eni, ipam } = values(json)?;
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
        assert!(misspelt.starts_with("eni.nodeSpec.subnetIds: unknown field"), "{misspelt}");
        assert!(misspelt.contains("`subnetIDs`"), "{misspelt}");
        let type_of = error(r#"{"eni": {"nodeSpec": {"subnetTags": {"role": 5}}}}"#);
        assert!(type_of.starts_with("eni.nodeSpec.subnetTags.role: invalid type"), "{type_of}");
        assert!(error("{}").contains("missing field `eni`"));
        assert!(error("{").starts_with("eni and ipam of the values: EOF"), "{}", error("{"));
        assert!(error(r#"{"eni": {}} x"#).contains("trailing"));
        let max = r#"{"eni": {"clusterName": "a"},
            "ipam": {"nodeSpec": {"ipamMinAllocate": 9, "ipamMaxAllocate": 3}}}"#;
        assert!(error(max).starts_with("ipam.nodeSpec.ipamMaxAllocate: "));
    }

    #[test]
    fn an_argument_is_json_or_a_file_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("addresses.json");
        let json = r#"{"eni": {"clusterName": "prod"}}"#;
        std::fs::write(&path, json).unwrap();
        for argument in [json, path.to_str().unwrap()] {
            assert_eq!(AddressOptions::of_argument(argument).unwrap().cluster.name, "prod");
        }
        let error = AddressOptions::of_argument("/no/such.json").unwrap_err().to_string();
        assert!(error.starts_with("/no/such.json: ") && error.contains("a brace"), "{error}");
    }
}
