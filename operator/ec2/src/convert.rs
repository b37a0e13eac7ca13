//! From EC2's types to ours and back.

use crate::{Cluster, credentials::looked_for};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::{
    error::{ProvideErrorMetadata, SdkError},
    types::{
        Filter, InstanceTypeHypervisor, InstanceTypeInfo, NetworkInterface, ResourceType,
        SecurityGroup as Ec2SecurityGroup, Subnet as Ec2Subnet, Tag, TagSpecification,
    },
};
use penstock_config::address::{Block, InterfaceId, Unit};
use penstock_eni::{Attachment, Card, Eni, Failure, Limits, Reason, SecurityGroup, Subnet};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// The tag that says which cluster made an interface.
pub(crate) const CLUSTER: &str = "penstock.dev/cluster";

/// The tag that says for which instance.
pub(crate) const INSTANCE: &str = "penstock.dev/instance";

/// The tag that says that Penstock manages it.
const MANAGED: &str = "penstock.dev/managed";

/// A filter for one of some values.
pub(crate) fn filter(name: &str, values: impl IntoIterator<Item = impl Into<String>>) -> Filter {
    let values = values.into_iter().map(Into::into).collect();
    Filter::builder().name(name).set_values(Some(values)).build()
}

/// The tags of a new interface.
pub(crate) fn tags(cluster: &Cluster, instance: &str) -> TagSpecification {
    let own = [(CLUSTER, cluster.name.as_str()), (INSTANCE, instance), (MANAGED, "true")];
    let more = cluster.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let tags = own.into_iter().chain(more.filter(|(key, _)| !own.iter().any(|(o, _)| o == key)));
    let tags = tags.map(|(key, value)| Tag::builder().key(key).value(value).build());
    TagSpecification::builder()
        .resource_type(ResourceType::NetworkInterface)
        .set_tags(Some(tags.collect()))
        .build()
}

/// What a failure of the SDK means. One without EC2's answer may have taken effect.
pub(crate) fn failure<E, R>(error: &SdkError<E, R>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    if let Some(code) = error.code() {
        return Failure::of_ec2(code, error.message().unwrap_or_default());
    }
    if let Some(why) = without_credentials(error) {
        let looked = looked_for(|name| std::env::var(name).ok(), |file| Path::new(file).exists());
        let message = format!("there are no credentials for EC2: {why} ({looked})");
        return Failure { reason: Reason::NoCredentials, message };
    }
    let message = chain(error);
    // The SDK's words, of its endpoints and of its signatures: it has no type for them.
    if message.to_lowercase().replace("signing ", "").contains("missing region") {
        return no_region();
    }
    Failure { message, ..Failure::no_answer() }
}

/// Nobody says which region's EC2 to ask.
pub(crate) fn no_region() -> Failure {
    let message = "no region is known: eni.region, AWS_REGION and AWS_DEFAULT_REGION are not set, and the instance's metadata service does not say";
    Failure { reason: Reason::NoRegion, message: message.into() }
}

/// Why the SDK had no credentials, where that is why it sent nothing.
fn without_credentials(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<CredentialsError>() {
            return Some(chain(found));
        }
        next = cause.source();
    }
    None
}

/// An error and what caused it. None of the SDK's repeats its cause.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// An interface; `None` where EC2 leaves out what every one has.
pub(crate) fn eni(seen: &NetworkInterface, cluster: &Cluster) -> Option<Eni> {
    let tags = map(seen.tag_set());
    let secondary = seen.private_ip_addresses().iter().filter(|a| !a.primary().unwrap_or(false));
    let secondary = secondary.filter_map(|a| a.private_ip_address()?.parse().ok());
    let prefixes = seen.ipv4_prefixes().iter().filter_map(|p| p.ipv4_prefix()?.parse().ok());
    Some(Eni {
        id: InterfaceId(seen.network_interface_id()?.to_owned()),
        mac: seen.mac_address()?.to_lowercase(),
        vpc: seen.vpc_id()?.to_owned(),
        subnet: seen.subnet_id()?.to_owned(),
        primary: seen.private_ip_address()?.parse().ok()?,
        units: secondary.map(Unit::Address).chain(prefixes.map(Unit::Block)).collect(),
        groups: seen.groups().iter().filter_map(|g| g.group_id().map(str::to_owned)).collect(),
        owned: tags.get(CLUSTER) == Some(&cluster.name),
        tags,
        attachment: seen.attachment().and_then(|at| {
            Some(Attachment {
                id: at.attachment_id()?.to_owned(),
                card: u8::try_from(at.network_card_index().unwrap_or(0)).ok()?,
                index: u8::try_from(at.device_index()?).ok()?,
                delete_on_termination: at.delete_on_termination().unwrap_or(false),
            })
        }),
    })
}

/// Prefixes that a call brought.
pub(crate) fn blocks<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> BTreeSet<Unit> {
    texts.filter_map(|text| text?.parse::<Block>().ok()).map(Unit::Block).collect()
}

/// A subnet; its route table is not known from it.
pub(crate) fn subnet(seen: &Ec2Subnet) -> Option<Subnet> {
    Some(Subnet {
        id: seen.subnet_id()?.to_owned(),
        vpc: seen.vpc_id()?.to_owned(),
        zone: seen.availability_zone()?.to_owned(),
        cidr: seen.cidr_block()?.to_owned(),
        tags: map(seen.tags()),
        free: u32::try_from(seen.available_ip_address_count()?).ok()?,
        ..Subnet::default()
    })
}

/// A security group.
pub(crate) fn group(seen: &Ec2SecurityGroup) -> Option<SecurityGroup> {
    Some(SecurityGroup {
        id: seen.group_id()?.to_owned(),
        vpc: seen.vpc_id()?.to_owned(),
        tags: map(seen.tags()),
    })
}

/// The limits of an instance type. Prefixes need Nitro or bare metal.
pub(crate) fn limits(seen: &InstanceTypeInfo) -> Option<Limits> {
    let network = seen.network_info()?;
    let cards = network.network_cards().iter().filter_map(|card| {
        let index = u8::try_from(card.network_card_index()?).ok()?;
        let interfaces = u16::try_from(card.maximum_network_interfaces()?).ok()?;
        Some((index, Card { interfaces }))
    });
    let interfaces = u16::try_from(network.maximum_network_interfaces()?).ok()?;
    let mut cards: BTreeMap<u8, Card> = cards.collect();
    if cards.is_empty() {
        cards.insert(0, Card { interfaces });
    }
    let nitro = seen.hypervisor() == Some(&InstanceTypeHypervisor::Nitro);
    Some(Limits {
        addresses: u16::try_from(network.ipv4_addresses_per_interface()?).ok()?,
        interfaces,
        cards,
        prefixes: nitro || seen.bare_metal().unwrap_or(false),
    })
}

/// Tags as a map.
pub(crate) fn map(tags: &[Tag]) -> BTreeMap<String, String> {
    let pairs = tags.iter().filter_map(|tag| Some((tag.key()?, tag.value().unwrap_or_default())));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
