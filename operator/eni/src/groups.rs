//! The security groups of new interfaces.

use crate::settings::{Settings, has_tags, lacking};
use std::collections::{BTreeMap, BTreeSet};

/// A security group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityGroup {
    /// `sg-...`.
    pub id: String,
    /// Its VPC.
    pub vpc: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// Why there are no security groups. Who runs the cluster is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupsError {
    /// A group is missing.
    #[error("eni.nodeSpec.securityGroups: VPC {vpc} has no security group {id}")]
    NoSuchId {
        /// The group.
        id: String,
        /// The VPC of the node.
        vpc: String,
    },
    /// A group is one of another VPC.
    #[error("eni.nodeSpec.securityGroups: {id} is of VPC {other}, the node is in {vpc}")]
    OtherVpc {
        /// The group.
        id: String,
        /// Its VPC.
        other: String,
        /// The VPC of the node.
        vpc: String,
    },
    /// No group has the tags: VPC, and which tags select nothing.
    #[error(
        "eni.nodeSpec.securityGroupTags: no security group of VPC {0} has all of them, since {1}"
    )]
    NoSuchTags(String, String),
    /// Nothing was selected, and the first interface has none.
    #[error("eni.nodeSpec.securityGroups: the first interface has none to take over: name some")]
    None,
}

/// The groups of a new interface: those with the ids, else those with the tags, else those of the
/// first interface. An id that does not exist is an error: an interface with fewer groups than were
/// asked for may let through too much or too little.
///
/// # Errors
/// Where the selection matches nothing, with the path of the field.
pub fn security_groups(
    settings: &Settings,
    vpc: &str,
    first: &BTreeSet<String>,
    known: &BTreeMap<String, SecurityGroup>,
) -> Result<BTreeSet<String>, GroupsError> {
    for id in &settings.security_groups {
        match known.get(id) {
            Some(group) if group.vpc == vpc => {}
            Some(group) => {
                let (id, other, vpc) = (id.clone(), group.vpc.clone(), vpc.to_owned());
                return Err(GroupsError::OtherVpc { id, other, vpc });
            }
            None => return Err(GroupsError::NoSuchId { id: id.clone(), vpc: vpc.to_owned() }),
        }
    }
    if !settings.security_groups.is_empty() {
        return Ok(settings.security_groups.clone());
    }
    if !settings.security_group_tags.is_empty() {
        let tagged =
            |g: &&SecurityGroup| g.vpc == vpc && has_tags(&g.tags, &settings.security_group_tags);
        let found: BTreeSet<_> = known.values().filter(tagged).map(|g| g.id.clone()).collect();
        return if found.is_empty() {
            let here = known.values().filter(|g| g.vpc == vpc).map(|g| &g.tags);
            let lacking = lacking(here, &settings.security_group_tags);
            Err(GroupsError::NoSuchTags(vpc.to_owned(), lacking))
        } else {
            Ok(found)
        };
    }
    if first.is_empty() { Err(GroupsError::None) } else { Ok(first.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> BTreeMap<String, SecurityGroup> {
        [
            ("sg-1", "vpc-1", "pod"),
            ("sg-2", "vpc-1", "pod"),
            ("sg-3", "vpc-2", "pod"),
            ("sg-4", "vpc-1", "node"),
        ]
        .map(|(id, vpc, role)| {
            let tags = [("role".to_owned(), role.to_owned())].into();
            (id.to_owned(), SecurityGroup { id: id.into(), vpc: vpc.into(), tags })
        })
        .into()
    }

    fn ids(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|&id| id.to_owned()).collect()
    }

    #[test]
    fn ids_then_tags_then_the_groups_of_the_first_interface() {
        let first = ids(&["sg-4"]);
        let mut settings = Settings::default();
        let groups = |s: &Settings| security_groups(s, "vpc-1", &first, &known());
        assert_eq!(groups(&settings), Ok(ids(&["sg-4"])));
        settings.security_group_tags = [("role".to_owned(), "pod".to_owned())].into();
        assert_eq!(groups(&settings), Ok(ids(&["sg-1", "sg-2"])));
        settings.security_groups = ids(&["sg-2", "sg-4"]);
        assert_eq!(groups(&settings), Ok(ids(&["sg-2", "sg-4"])));
    }

    #[test]
    fn a_selection_that_matches_nothing_names_the_field() {
        let message = |settings: Settings| {
            security_groups(&settings, "vpc-1", &BTreeSet::new(), &known()).unwrap_err().to_string()
        };
        let by_id = |id| Settings { security_groups: ids(&[id]), ..Settings::default() };
        assert_eq!(
            message(by_id("sg-9")),
            "eni.nodeSpec.securityGroups: VPC vpc-1 has no security group sg-9"
        );
        assert_eq!(
            message(by_id("sg-3")),
            "eni.nodeSpec.securityGroups: sg-3 is of VPC vpc-2, the node is in vpc-1"
        );
        let tags = [("role".to_owned(), "db".to_owned())].into();
        let by_tag = Settings { security_group_tags: tags, ..Settings::default() };
        assert!(message(by_tag).starts_with("eni.nodeSpec.securityGroupTags: "));
        assert!(message(Settings::default()).contains("first interface has none"));
    }
}
