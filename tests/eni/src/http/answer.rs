//! What is answered.

use super::{
    ask::{Ask, Filter},
    xml::Xml,
};
use crate::model::{Ec2Error, Model, ModelInterface, NewInterface};
use penstock_config::address::{Block, InterfaceId, Unit};
use penstock_eni::{Fill, Limits};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// The calls of which EC2 has no dry run.
const WITHOUT_DRY_RUN: [&str; 2] = ["AssignPrivateIpAddresses", "UnassignPrivateIpAddresses"];

/// Carries a call out; the inner part of its answer.
pub(super) fn answer(model: &mut Model, ask: &Ask) -> Result<String, Ec2Error> {
    let mut xml = Xml::default();
    if ask.is_dry_run() && WITHOUT_DRY_RUN.contains(&ask.action()) {
        let message = "The parameter DryRun is not recognized".into();
        return Err(Ec2Error { code: "UnknownParameter", message });
    }
    match ask.action() {
        "CreateNetworkInterface" => create(model, ask, &mut xml)?,
        "AttachNetworkInterface" => {
            let id = InterfaceId::from(ask.needs("NetworkInterfaceId")?);
            let (card, index) = (ask.value("NetworkCardIndex")?, ask.value("DeviceIndex")?);
            let to = ask.needs("InstanceId")?;
            xml.text("attachmentId", model.attach_network_interface(&id, to, card, index)?);
            xml.text("networkCardIndex", card);
        }
        "ModifyNetworkInterfaceAttribute" => {
            let id = InterfaceId::from(ask.needs("NetworkInterfaceId")?);
            let delete = ask.value("Attachment.DeleteOnTermination")?;
            model.delete_on_termination(&id, ask.needs("Attachment.AttachmentId")?, delete)?;
            xml.text("return", true);
        }
        "AssignPrivateIpAddresses" => assign(model, ask, &mut xml)?,
        "UnassignPrivateIpAddresses" => {
            let id = InterfaceId::from(ask.needs("NetworkInterfaceId")?);
            let singles =
                ask.values::<Ipv4Addr>("PrivateIpAddress")?.into_iter().map(Unit::Address);
            let blocks = ask.values::<Block>("Ipv4Prefix")?.into_iter().map(Unit::Block);
            model.unassign_private_ip_addresses(&id, &singles.chain(blocks).collect())?;
            xml.text("return", true);
        }
        "DetachNetworkInterface" => {
            model.detach_network_interface(ask.needs("AttachmentId")?)?;
            xml.text("return", true);
        }
        "DeleteNetworkInterface" => {
            model.delete_network_interface(&ask.needs("NetworkInterfaceId")?.into())?;
            xml.text("return", true);
        }
        "DescribeNetworkInterfaces" => {
            let filters = ask.filters();
            let seen: Vec<_> =
                model.interfaces.values().filter(|eni| fits(model, eni, &filters)).collect();
            xml.list("networkInterfaceSet", seen, |xml, eni| interface(model, eni, xml));
        }
        "DescribeSubnets" => subnets(model, &ask.filters(), &mut xml),
        "DescribeSecurityGroups" => groups(model, &ask.filters(), &mut xml),
        "DescribeInstanceTypes" => {
            let filters = ask.filters();
            let seen =
                model.types.iter().filter(|(kind, _)| wanted(&filters, "instance-type", kind));
            xml.list("instanceTypeSet", seen, |xml, (kind, limits)| {
                instance_type(kind, limits, xml)
            });
        }
        "DescribeRouteTables" => {
            xml.list("routeTableSet", std::iter::empty::<()>(), |_, ()| {});
        }
        other => {
            let message = format!("The action {other} is not valid for this web service.");
            return Err(Ec2Error { code: "InvalidAction", message });
        }
    }
    Ok(xml.into_text())
}

fn create(model: &mut Model, ask: &Ask, xml: &mut Xml) -> Result<(), Ec2Error> {
    let new = NewInterface {
        subnet: ask.needs("SubnetId")?.to_owned(),
        groups: ask.list("SecurityGroupId").into_iter().map(str::to_owned).collect(),
        addresses: ask.value("SecondaryPrivateIpAddressCount")?,
        prefixes: ask.value("Ipv4PrefixCount")?,
        tags: ask.tags(),
    };
    let created = model.create_network_interface(&new, ask.text("ClientToken"))?;
    xml.with("networkInterface", |xml| interface(model, &created.interface, xml));
    Ok(())
}

fn assign(model: &mut Model, ask: &Ask, xml: &mut Xml) -> Result<(), Ec2Error> {
    let id = InterfaceId::from(ask.needs("NetworkInterfaceId")?);
    let wanted: Vec<Ipv4Addr> = ask.values("PrivateIpAddress")?;
    if !wanted.is_empty() {
        model.assign_these(&id, &wanted)?;
        xml.text("return", true);
        return Ok(());
    }
    let fill = match ask.value("Ipv4PrefixCount")? {
        0 => Fill::Addresses(ask.value("SecondaryPrivateIpAddressCount")?),
        count => Fill::Prefixes(count),
    };
    let units = model.assign_private_ip_addresses(&id, fill)?;
    xml.text("networkInterfaceId", &id);
    let singles = units.iter().filter(|unit| matches!(unit, Unit::Address(_)));
    xml.list("assignedPrivateIpAddressesSet", singles, |xml, unit| {
        xml.text("privateIpAddress", unit);
    });
    let blocks = units.iter().filter(|unit| matches!(unit, Unit::Block(_)));
    xml.list("assignedIpv4PrefixSet", blocks, |xml, unit| {
        xml.text("ipv4Prefix", unit);
    });
    xml.text("return", true);
    Ok(())
}

fn subnets(model: &Model, filters: &[Filter], xml: &mut Xml) {
    let seen = model.subnets.iter().filter(|(id, subnet)| {
        wanted(filters, "vpc-id", &subnet.vpc) && wanted(filters, "subnet-id", id)
    });
    xml.list("subnetSet", seen, |xml, (id, subnet)| {
        xml.text("subnetId", id).text("vpcId", &subnet.vpc);
        xml.text("availabilityZone", &subnet.zone).text("cidrBlock", subnet.space.cidr());
        xml.text("availableIpAddressCount", subnet.space.free());
        tags(&subnet.tags, xml);
    });
}

fn groups(model: &Model, filters: &[Filter], xml: &mut Xml) {
    let seen = model
        .groups
        .iter()
        .filter(|(id, vpc)| wanted(filters, "vpc-id", vpc) && wanted(filters, "group-id", id));
    xml.list("securityGroupInfo", seen, |xml, (id, vpc)| {
        xml.text("groupId", id).text("vpcId", vpc).text("groupName", id);
        tags(model.group_tags.get(id).unwrap_or(&BTreeMap::new()), xml);
    });
}

/// Whether the filters of a name, if there are any, let a value through.
fn wanted(filters: &[Filter], name: &str, value: &str) -> bool {
    let mut all = filters.iter().filter(|(of, _)| of == name);
    all.all(|(_, values)| values.iter().any(|v| v == value))
}

fn fits(model: &Model, eni: &ModelInterface, filters: &[Filter]) -> bool {
    filters.iter().all(|(name, values)| {
        let value = match name.as_str() {
            "attachment.instance-id" => eni.attached.as_ref().map(|(instance, _)| instance.clone()),
            "status" => Some(status(eni).to_owned()),
            "vpc-id" => model.subnets.get(&eni.subnet).map(|subnet| subnet.vpc.clone()),
            name => name.strip_prefix("tag:").and_then(|tag| eni.tags.get(tag).cloned()),
        };
        value.is_some_and(|value| values.contains(&value))
    })
}

fn status(eni: &ModelInterface) -> &'static str {
    if eni.attached.is_some() { "in-use" } else { "available" }
}

fn tags(tags: &BTreeMap<String, String>, xml: &mut Xml) {
    xml.list("tagSet", tags, |xml, (key, value)| {
        xml.text("key", key).text("value", value);
    });
}

fn instance_type(kind: &str, limits: &Limits, xml: &mut Xml) {
    xml.text("instanceType", kind).text("bareMetal", false);
    xml.text("hypervisor", if limits.prefixes { "nitro" } else { "xen" });
    xml.with("networkInfo", |xml| {
        xml.text("maximumNetworkInterfaces", limits.interfaces);
        xml.text("ipv4AddressesPerInterface", limits.addresses);
        xml.list("networkCards", &limits.cards, |xml, (index, card)| {
            xml.text("networkCardIndex", index);
            xml.text("maximumNetworkInterfaces", card.interfaces);
        });
    });
}

fn interface(model: &Model, eni: &ModelInterface, xml: &mut Xml) {
    xml.text("networkInterfaceId", &eni.id).text("subnetId", &eni.subnet);
    if let Some(subnet) = model.subnets.get(&eni.subnet) {
        xml.text("vpcId", &subnet.vpc).text("availabilityZone", &subnet.zone);
    }
    xml.text("macAddress", &eni.mac).text("privateIpAddress", eni.primary);
    xml.text("status", status(eni)).text("interfaceType", "interface");
    xml.list("groupSet", &eni.groups, |xml, group| {
        xml.text("groupId", group);
    });
    if let Some((instance, at)) = &eni.attached {
        xml.with("attachment", |xml| {
            xml.text("attachmentId", &at.id)
                .text("instanceId", instance)
                .text("status", "attached");
            xml.text("deviceIndex", at.index).text("networkCardIndex", at.card);
            xml.text("deleteOnTermination", at.delete_on_termination);
        });
    }
    let primary = std::iter::once((eni.primary, true));
    let all = primary.chain(eni.addresses.iter().map(|address| (*address, false)));
    xml.list("privateIpAddressesSet", all, |xml, (address, primary)| {
        xml.text("privateIpAddress", address).text("primary", primary);
    });
    xml.list("ipv4PrefixSet", &eni.prefixes, |xml, block| {
        xml.text("ipv4Prefix", block);
    });
    tags(&eni.tags, xml);
}
