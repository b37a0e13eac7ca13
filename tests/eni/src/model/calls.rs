//! The calls that change something, named as EC2 names them.

use super::{Ec2Error, Model, ModelInstance, ModelInterface};
use penstock_config::address::{BLOCK_SIZE, InterfaceId, Unit};
use penstock_eni::{Attachment, Fill};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// What `CreateNetworkInterface` is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewInterface {
    /// `SubnetId`.
    pub subnet: String,
    /// `Groups`.
    pub groups: BTreeSet<String>,
    /// `SecondaryPrivateIpAddressCount`.
    pub addresses: u32,
    /// `Ipv4PrefixCount`.
    pub prefixes: u32,
    /// `TagSpecifications`.
    pub tags: BTreeMap<String, String>,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The interface, as it is now.
    pub interface: ModelInterface,
}

impl Model {
    /// `CreateNetworkInterface`. With the client token of an earlier call, that call's interface.
    ///
    /// # Errors
    /// `InvalidSubnetID.NotFound`, `InvalidGroup.NotFound`, `NetworkInterfaceLimitExceeded`,
    /// `InsufficientFreeAddressesInSubnet`, `InsufficientCidrBlocks`, `IdempotentParameterMismatch`.
    pub fn create_network_interface(
        &mut self,
        new: &NewInterface,
        token: &str,
    ) -> Result<Created, Ec2Error> {
        if let Some((before, id)) = self.tokens.get(token) {
            if before != new {
                let message = "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).";
                return Err(Ec2Error::new("IdempotentParameterMismatch", message));
            }
            if let Some(interface) = self.interfaces.get(id).cloned() {
                return Ok(Created { interface });
            }
        }
        if let Some(group) = new.groups.iter().find(|group| !self.groups.contains_key(*group)) {
            let message = format!("The security group '{group}' does not exist");
            return Err(Ec2Error::new("InvalidGroup.NotFound", message));
        }
        if self.interfaces.len() >= self.quota {
            let message = format!("Interface limit exceeded. Maximum is {}", self.quota);
            return Err(Ec2Error::new("NetworkInterfaceLimitExceeded", message));
        }
        let number = self.next();
        let subnet = self.subnet(&new.subnet)?;
        // On a copy: what fails takes nothing.
        let mut space = subnet.space.clone();
        let primary = space.take().ok_or_else(|| full(&new.subnet))?;
        let singles = (0..new.addresses).map(|_| space.take().ok_or_else(|| full(&new.subnet)));
        let addresses = singles.collect::<Result<BTreeSet<_>, _>>()?;
        let blocks =
            (0..new.prefixes).map(|_| space.take_block().ok_or_else(|| fragmented(&new.subnet)));
        let prefixes = blocks.collect::<Result<BTreeSet<_>, _>>()?;
        subnet.space = space;
        let interface = ModelInterface {
            id: InterfaceId(format!("eni-{number:017x}")),
            mac: format!(
                "02:00:{:02x}:{:02x}:{:02x}:{:02x}",
                number >> 24 & 255,
                number >> 16 & 255,
                number >> 8 & 255,
                number & 255
            ),
            subnet: new.subnet.clone(),
            primary,
            addresses,
            prefixes,
            groups: new.groups.clone(),
            tags: new.tags.clone(),
            attached: None,
        };
        self.interfaces.insert(interface.id.clone(), interface.clone());
        if !token.is_empty() {
            self.tokens.insert(token.to_owned(), (new.clone(), interface.id.clone()));
        }
        Ok(Created { interface })
    }

    /// `AttachNetworkInterface`; answers the attachment's id.
    ///
    /// # Errors
    /// `InvalidNetworkInterfaceID.NotFound`, `InvalidInstanceID.NotFound`, `IncorrectState`,
    /// `InvalidNetworkInterface.InUse`, `InvalidParameterValue`, `AttachmentLimitExceeded`,
    /// `PrivateIpAddressLimitExceeded`.
    pub fn attach_network_interface(
        &mut self,
        id: &InterfaceId,
        instance: &str,
        card: u8,
        index: u8,
    ) -> Result<String, Ec2Error> {
        let eni = self.interface(id)?.clone();
        let on = self.instance(instance)?.clone();
        if !on.running {
            let message = format!("Instance '{instance}' is not 'running'.");
            return Err(Ec2Error::new("IncorrectState", message));
        }
        if let Some((other, _)) = &eni.attached {
            let message = format!("Network interface '{id}' is currently in use by {other}.");
            return Err(Ec2Error::new("InvalidNetworkInterface.InUse", message));
        }
        self.has_place(instance, &on, card, index)?;
        if eni.units().len() >= usize::from(on.limits.addresses) {
            return Err(too_many_addresses(id, on.limits.addresses));
        }
        let attachment = format!("eni-attach-{:017x}", self.next());
        let at = Attachment { id: attachment.clone(), card, index, delete_on_termination: false };
        self.interface(id)?.attached = Some((instance.to_owned(), at));
        Ok(attachment)
    }

    fn has_place(
        &self,
        id: &str,
        instance: &ModelInstance,
        card: u8,
        index: u8,
    ) -> Result<(), Ec2Error> {
        let here = self.interfaces.values().filter_map(|eni| eni.attached.as_ref());
        let here: Vec<_> = here.filter(|(on, _)| on == id).map(|(_, at)| at).collect();
        if here.iter().any(|at| (at.card, at.index) == (card, index)) {
            let message = format!(
                "Instance '{id}' already has an interface attached at device index '{index}'."
            );
            return Err(Ec2Error::new("InvalidParameterValue", message));
        }
        let Some(has) = instance.limits.cards.get(&card) else {
            let message = format!("Network card index {card} is not valid for this instance type.");
            return Err(Ec2Error::new("InvalidParameterValue", message));
        };
        let on_card = here.iter().filter(|at| at.card == card).count();
        let most = usize::from(instance.limits.interfaces);
        if here.len() >= most || on_card >= usize::from(has.interfaces) {
            let message = format!(
                "Interface count {} exceeds the limit for the instance type",
                here.len() + 1
            );
            return Err(Ec2Error::new("AttachmentLimitExceeded", message));
        }
        Ok(())
    }

    /// `ModifyNetworkInterfaceAttribute`, `Attachment.DeleteOnTermination`.
    ///
    /// # Errors
    /// `InvalidNetworkInterfaceID.NotFound`, `InvalidAttachmentID.NotFound`.
    pub fn delete_on_termination(
        &mut self,
        id: &InterfaceId,
        attachment: &str,
        delete: bool,
    ) -> Result<(), Ec2Error> {
        match &mut self.interface(id)?.attached {
            Some((_, at)) if at.id == attachment => at.delete_on_termination = delete,
            _ => return Err(no_attachment(attachment)),
        }
        Ok(())
    }

    /// `AssignPrivateIpAddresses`; answers what is new.
    ///
    /// # Errors
    /// `InvalidNetworkInterfaceID.NotFound`, `PrivateIpAddressLimitExceeded`,
    /// `InsufficientFreeAddressesInSubnet`, `InsufficientCidrBlocks`.
    pub fn assign_private_ip_addresses(
        &mut self,
        id: &InterfaceId,
        fill: Fill,
    ) -> Result<BTreeSet<Unit>, Ec2Error> {
        let eni = self.interface(id)?.clone();
        let on = eni.attached.as_ref().and_then(|(instance, _)| self.instances.get(instance));
        let most = on.map_or(u16::MAX, |on| on.limits.addresses);
        if eni.units().len() + fill.slots() as usize >= usize::from(most) {
            return Err(too_many_addresses(id, most));
        }
        let subnet = self.subnet(&eni.subnet)?;
        let mut space = subnet.space.clone();
        let units = match fill {
            Fill::Addresses(count) => (0..count)
                .map(|_| space.take().map(Unit::Address).ok_or_else(|| full(&eni.subnet)))
                .collect::<Result<BTreeSet<_>, _>>()?,
            Fill::Prefixes(count) => (0..count)
                .map(|_| space.take_block().map(Unit::Block).ok_or_else(|| fragmented(&eni.subnet)))
                .collect::<Result<BTreeSet<_>, _>>()?,
        };
        subnet.space = space;
        let eni = self.interface(id)?;
        for unit in &units {
            match unit {
                Unit::Address(address) => eni.addresses.insert(*address),
                Unit::Block(block) => eni.prefixes.insert(*block),
            };
        }
        Ok(units)
    }

    /// `AssignPrivateIpAddresses` with addresses that are named.
    ///
    /// # Errors
    /// `InvalidNetworkInterfaceID.NotFound`; `InvalidParameterValue` where one is not of the subnet or
    /// somebody has it, and then none is assigned; `PrivateIpAddressLimitExceeded`.
    pub fn assign_these(&mut self, id: &InterfaceId, these: &[Ipv4Addr]) -> Result<(), Ec2Error> {
        let eni = self.interface(id)?.clone();
        let on = eni.attached.as_ref().and_then(|(instance, _)| self.instances.get(instance));
        let most = on.map_or(u16::MAX, |on| on.limits.addresses);
        if eni.units().len() + these.len() >= usize::from(most) {
            return Err(too_many_addresses(id, most));
        }
        let subnet = self.subnet(&eni.subnet)?;
        let mut space = subnet.space.clone();
        if let Some(wrong) = these.iter().find(|address| !space.claim(**address)) {
            let message = format!(
                "Invalid value for PrivateIpAddress: {wrong} is in use, or does not fall within the subnet's address range"
            );
            return Err(Ec2Error::new("InvalidParameterValue", message));
        }
        subnet.space = space;
        self.interface(id)?.addresses.extend(these);
        Ok(())
    }

    /// `UnassignPrivateIpAddresses`.
    ///
    /// # Errors
    /// `InvalidNetworkInterfaceID.NotFound`; `InvalidParameterValue` where one of them is not
    /// assigned, and then none is unassigned.
    pub fn unassign_private_ip_addresses(
        &mut self,
        id: &InterfaceId,
        units: &BTreeSet<Unit>,
    ) -> Result<(), Ec2Error> {
        let eni = self.interface(id)?;
        if !units.is_subset(&eni.units()) {
            let message =
                format!("Some of the specified addresses are not assigned to interface {id}");
            return Err(Ec2Error::new("InvalidParameterValue", message));
        }
        for unit in units {
            match unit {
                Unit::Address(address) => eni.addresses.remove(address),
                Unit::Block(block) => eni.prefixes.remove(block),
            };
        }
        let subnet = eni.subnet.clone();
        let addresses: Vec<Ipv4Addr> = units.iter().flat_map(|unit| unit.addresses()).collect();
        self.subnet(&subnet)?.space.give(addresses);
        Ok(())
    }

    /// `DetachNetworkInterface`.
    ///
    /// # Errors
    /// `InvalidAttachmentID.NotFound`; `OperationNotPermitted` for the interface that the instance
    /// began with.
    pub fn detach_network_interface(&mut self, attachment: &str) -> Result<(), Ec2Error> {
        let is_it = |eni: &&mut ModelInterface| {
            eni.attached.as_ref().is_some_and(|(_, at)| at.id == attachment)
        };
        let eni = self.interfaces.values_mut().find(is_it);
        let eni = eni.ok_or_else(|| no_attachment(attachment))?;
        if eni.attached.as_ref().is_some_and(|(_, at)| (at.card, at.index) == (0, 0)) {
            let message = "The network interface at device index 0 and networkCard index 0 cannot be detached.";
            return Err(Ec2Error::new("OperationNotPermitted", message));
        }
        eni.attached = None;
        Ok(())
    }

    /// `DeleteNetworkInterface`.
    ///
    /// # Errors
    /// `InvalidNetworkInterfaceID.NotFound`, `InvalidParameterValue` while it is attached.
    pub fn delete_network_interface(&mut self, id: &InterfaceId) -> Result<(), Ec2Error> {
        let eni = self.interface(id)?.clone();
        if eni.attached.is_some() {
            let message = format!("Network interface '{id}' is currently in use.");
            return Err(Ec2Error::new("InvalidParameterValue", message));
        }
        self.interfaces.remove(id);
        let blocks = eni.prefixes.iter().flat_map(|block| block.addresses());
        let addresses: Vec<_> =
            eni.addresses.iter().copied().chain(blocks).chain([eni.primary]).collect();
        self.subnet(&eni.subnet)?.space.give(addresses);
        Ok(())
    }

    fn interface(&mut self, id: &InterfaceId) -> Result<&mut ModelInterface, Ec2Error> {
        self.interfaces.get_mut(id).ok_or_else(|| {
            let message = format!("The networkInterface ID '{id}' does not exist");
            Ec2Error::new("InvalidNetworkInterfaceID.NotFound", message)
        })
    }

    fn instance(&self, id: &str) -> Result<&ModelInstance, Ec2Error> {
        self.instances.get(id).ok_or_else(|| {
            Ec2Error::new(
                "InvalidInstanceID.NotFound",
                format!("The instance ID '{id}' does not exist"),
            )
        })
    }

    fn subnet(&mut self, id: &str) -> Result<&mut super::ModelSubnet, Ec2Error> {
        self.subnets.get_mut(id).ok_or_else(|| {
            Ec2Error::new(
                "InvalidSubnetID.NotFound",
                format!("The subnet ID '{id}' does not exist"),
            )
        })
    }
}

fn full(subnet: &str) -> Ec2Error {
    let message = format!("{subnet} does not have enough free addresses to satisfy the request.");
    Ec2Error::new("InsufficientFreeAddressesInSubnet", message)
}

fn fragmented(subnet: &str) -> Ec2Error {
    let message = format!(
        "The specified subnet {subnet} does not have enough free cidr blocks of size {BLOCK_SIZE} to satisfy the request."
    );
    Ec2Error::new("InsufficientCidrBlocks", message)
}

fn too_many_addresses(id: &InterfaceId, most: u16) -> Ec2Error {
    let message = format!("Number of private addresses will exceed limit of {most} for {id}.");
    Ec2Error::new("PrivateIpAddressLimitExceeded", message)
}

fn no_attachment(id: &str) -> Ec2Error {
    let message = format!("The attachment ID '{id}' does not exist");
    Ec2Error::new("InvalidAttachmentID.NotFound", message)
}
