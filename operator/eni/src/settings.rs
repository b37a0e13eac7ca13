//! What a platform engineer asks of a node's addresses (`eni.nodeSpec`, `ipam.nodeSpec` of the values).

use crate::watermark::Watermarks;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Values of a tag that a message lists.
const SHOWN: usize = 4;

/// How a node gets its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many addresses there shall be.
    pub watermarks: Watermarks,
    /// The first interface whose addresses pods get, by device index. Those before it are left alone.
    pub first_interface_index: u8,
    /// Prefixes of sixteen addresses instead of single ones, where subnet and instance have them.
    pub prefixes: bool,
    /// Subnets of new interfaces, by id. With some, no others are used.
    pub subnet_ids: BTreeSet<String>,
    /// Tags that subnets of new interfaces have, all of them. Of no account with `subnet_ids`.
    pub subnet_tags: BTreeMap<String, String>,
    /// Security groups of new interfaces, by id.
    pub security_groups: BTreeSet<String>,
    /// Tags that the security groups of new interfaces have, all of them. Of no account with
    /// `security_groups`. With neither, new interfaces have the groups of the first one.
    pub security_group_tags: BTreeMap<String, String>,
    /// An interface that has these tags, all of them, is left alone. Empty: none is.
    pub exclude_interface_tags: BTreeMap<String, String>,
    /// Whether pods get primary addresses too, apart from that of the first interface.
    pub use_primary_address: bool,
    /// Whether interfaces end with the instance.
    pub delete_on_termination: bool,
    /// Whether what is more than needed is given back.
    pub release: bool,
    /// How long it has to be idle before.
    pub release_delay: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            watermarks: Watermarks::default(),
            first_interface_index: 0,
            prefixes: false,
            subnet_ids: BTreeSet::new(),
            subnet_tags: BTreeMap::new(),
            security_groups: BTreeSet::new(),
            security_group_tags: BTreeMap::new(),
            exclude_interface_tags: BTreeMap::new(),
            use_primary_address: false,
            delete_on_termination: true,
            release: false,
            release_delay: Duration::from_secs(180),
        }
    }
}

/// Settings that cannot be met. Who wrote them is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct SettingsError {
    /// Path of the field among the values.
    pub field: &'static str,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Settings {
    /// Whether they can be met on any node.
    ///
    /// # Errors
    /// What contradicts itself, with the path of the field.
    pub fn check(&self) -> Result<(), SettingsError> {
        let marks = &self.watermarks;
        if let Some(max) = marks.max_allocate
            && max < marks.min_allocate
        {
            return Err(SettingsError {
                field: "ipam.nodeSpec.ipamMaxAllocate",
                message: format!(
                    "{max} is less than ipamMinAllocate, {}: raise it, or leave it out for no limit",
                    marks.min_allocate
                ),
            });
        }
        for (field, ids, prefix) in [
            ("eni.nodeSpec.subnetIDs", &self.subnet_ids, "subnet-"),
            ("eni.nodeSpec.securityGroups", &self.security_groups, "sg-"),
        ] {
            if let Some(id) = ids.iter().find(|id| !id.starts_with(prefix)) {
                return Err(SettingsError {
                    field,
                    message: format!("{id:?} is no id: they begin with {prefix:?}"),
                });
            }
        }
        Ok(())
    }
}

/// Whether something has all tags of a selection.
pub(crate) fn has_tags(tags: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| tags.get(key) == Some(value))
}

/// Why nothing has all tags of a selection, in words: which of them nothing has, and what is there.
pub(crate) fn lacking<'a>(
    all: impl Iterator<Item = &'a BTreeMap<String, String>>,
    wanted: &BTreeMap<String, String>,
) -> String {
    let all: Vec<_> = all.collect();
    let alone = wanted.iter().filter_map(|(key, value)| {
        let values: BTreeSet<&str> =
            all.iter().filter_map(|tags| tags.get(key)).map(String::as_str).collect();
        if values.contains(value.as_str()) {
            return None;
        }
        let shown: Vec<_> = values.iter().take(SHOWN).copied().collect();
        let there = match shown.as_slice() {
            [] => format!("nothing has the tag {key}"),
            shown => format!("{key} is {} there", shown.join(", ")),
        };
        Some(format!("{key}={value} selects nothing ({there})"))
    });
    match alone.collect::<Vec<_>>().as_slice() {
        [] => "each of them is there, but never all together".to_owned(),
        alone => alone.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_contradicts_itself_is_refused_with_the_path_of_the_field() {
        let path = |settings: Settings| settings.check().unwrap_err().field;
        let watermarks =
            Watermarks { min_allocate: 10, max_allocate: Some(5), ..Watermarks::default() };
        assert_eq!(
            path(Settings { watermarks, ..Settings::default() }),
            "ipam.nodeSpec.ipamMaxAllocate"
        );
        let settings = Settings { subnet_ids: ["sg-1".into()].into(), ..Settings::default() };
        assert_eq!(path(settings), "eni.nodeSpec.subnetIDs");
        let settings = Settings { security_groups: ["a".into()].into(), ..Settings::default() };
        assert_eq!(path(settings), "eni.nodeSpec.securityGroups");
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn the_tag_that_selects_nothing_is_told_from_those_that_do() {
        let map = |tags: &[(&str, &str)]| -> BTreeMap<String, String> {
            tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let all = [map(&[("role", "node"), ("team", "a")]), map(&[("role", "edge")])];
        let lacking = |wanted: &[(&str, &str)]| lacking(all.iter(), &map(wanted));
        let role = "role=pod selects nothing (role is edge, node there)";
        assert_eq!(lacking(&[("role", "pod"), ("team", "a")]), role);
        assert_eq!(lacking(&[("zone", "x")]), "zone=x selects nothing (nothing has the tag zone)");
        let both = lacking(&[("role", "edge"), ("team", "a")]);
        assert_eq!(both, "each of them is there, but never all together");
    }
}
