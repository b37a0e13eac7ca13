//! The calls that change something.

use crate::{
    Ec2,
    convert::{blocks, eni, failure, tags},
};
use aws_sdk_ec2::types::NetworkInterfaceAttachmentChanges;
use futures_util::future::BoxFuture;
use penstock_config::address::{InterfaceId, Unit};
use penstock_eni::{Action, Failure, Fill, Outcome, Reason};
use std::collections::BTreeSet;

impl Ec2 {
    /// Makes the call of an action for an instance. `token` makes a repetition of one that makes an
    /// interface have no second effect; it is unique among all calls, and up to 64 characters.
    ///
    /// # Errors
    /// EC2's, and [`Reason::NoAnswer`] where there was none in ten seconds.
    pub fn call<'a>(
        &'a self,
        instance: &'a str,
        token: &'a str,
        action: &'a Action,
    ) -> BoxFuture<'a, Result<Outcome, Failure>> {
        Box::pin(async move { self.make(instance, token, action, None).await })
    }

    /// Makes it, or asks with `DryRun` whether it would be permitted: then the answer is a failure in any
    /// case.
    pub(crate) async fn make(
        &self,
        instance: &str,
        token: &str,
        action: &Action,
        dry: Option<bool>,
    ) -> Result<Outcome, Failure> {
        match action {
            Action::Propose(_) | Action::Withdraw(_) => Err(Failure {
                reason: Reason::Invalid,
                message: format!("{} is no call of EC2", action.name()),
            }),
            Action::Assign { .. } | Action::Unassign { .. } if dry.is_some() => Err(Failure {
                reason: Reason::Invalid,
                message: format!("{} has no DryRun", action.name()),
            }),
            Action::Create { subnet, groups, fill, .. } => {
                self.create((instance, token), subnet, groups, *fill, dry).await
            }
            Action::Attach { interface, place } => {
                self.attach(instance, interface, *place, dry).await
            }
            Action::DeleteOnTermination { interface, attachment, delete } => {
                self.delete_on_termination(interface, attachment, *delete, dry).await
            }
            Action::Assign { interface, fill } => self.assign(interface, *fill).await,
            Action::Unassign { interface, units } => self.unassign(interface, units).await,
            Action::Detach { attachment, .. } => {
                let call = self.client.detach_network_interface().attachment_id(attachment);
                let call = call.set_dry_run(dry);
                call.send().await.map_err(|e| failure(&e)).map(|_| Outcome::Done)
            }
            Action::Delete { interface } => {
                let call = self.client.delete_network_interface();
                let call = call.network_interface_id(&interface.0).set_dry_run(dry);
                call.send().await.map_err(|e| failure(&e)).map(|_| Outcome::Done)
            }
        }
    }

    async fn create(
        &self,
        (instance, token): (&str, &str),
        subnet: &str,
        groups: &BTreeSet<String>,
        fill: Fill,
        dry: Option<bool>,
    ) -> Result<Outcome, Failure> {
        let call = self
            .client
            .create_network_interface()
            .client_token(token)
            .description(format!("penstock: pods of {instance}"))
            .subnet_id(subnet)
            .set_groups(Some(groups.iter().cloned().collect()))
            .tag_specifications(tags(&self.cluster, instance))
            .set_dry_run(dry);
        let call = match fill {
            Fill::Addresses(count) => call.secondary_private_ip_address_count(signed(count)),
            Fill::Prefixes(count) => call.ipv4_prefix_count(signed(count)),
        };
        let answer = call.send().await.map_err(|e| failure(&e))?;
        let made = answer.network_interface().and_then(|seen| eni(seen, &self.cluster));
        // It was made with the tags, whatever of them the answer shows.
        let made = made.map(|made| penstock_eni::Eni { owned: true, ..made });
        made.map(Outcome::Created).ok_or_else(|| odd("CreateNetworkInterface"))
    }

    async fn attach(
        &self,
        instance: &str,
        interface: &InterfaceId,
        (card, index): (u8, u8),
        dry: Option<bool>,
    ) -> Result<Outcome, Failure> {
        let mut call = self
            .client
            .attach_network_interface()
            .instance_id(instance)
            .network_interface_id(&interface.0)
            .device_index(i32::from(index))
            .set_dry_run(dry);
        // Types with one card refuse the parameter in some regions; none means the first.
        if card > 0 {
            call = call.network_card_index(i32::from(card));
        }
        let answer = call.send().await.map_err(|e| failure(&e))?;
        let id = answer.attachment_id().map(str::to_owned);
        id.map(Outcome::Attached).ok_or_else(|| odd("AttachNetworkInterface"))
    }

    async fn delete_on_termination(
        &self,
        interface: &InterfaceId,
        attachment: &str,
        delete: bool,
        dry: Option<bool>,
    ) -> Result<Outcome, Failure> {
        let change = NetworkInterfaceAttachmentChanges::builder()
            .attachment_id(attachment)
            .delete_on_termination(delete)
            .build();
        let call = self.client.modify_network_interface_attribute();
        let call = call.network_interface_id(&interface.0).attachment(change).set_dry_run(dry);
        call.send().await.map_err(|e| failure(&e)).map(|_| Outcome::Done)
    }

    async fn assign(&self, interface: &InterfaceId, fill: Fill) -> Result<Outcome, Failure> {
        let call = self.client.assign_private_ip_addresses().network_interface_id(&interface.0);
        let call = match fill {
            Fill::Addresses(count) => call.secondary_private_ip_address_count(signed(count)),
            Fill::Prefixes(count) => call.ipv4_prefix_count(signed(count)),
        };
        let answer = call.send().await.map_err(|e| failure(&e))?;
        let singles = answer.assigned_private_ip_addresses().iter();
        let singles = singles.filter_map(|a| a.private_ip_address()?.parse().ok());
        let mut units: BTreeSet<Unit> = singles.map(Unit::Address).collect();
        units.extend(blocks(answer.assigned_ipv4_prefixes().iter().map(|p| p.ipv4_prefix())));
        Ok(Outcome::Assigned(units))
    }

    async fn unassign(
        &self,
        interface: &InterfaceId,
        units: &BTreeSet<Unit>,
    ) -> Result<Outcome, Failure> {
        let mut call =
            self.client.unassign_private_ip_addresses().network_interface_id(&interface.0);
        for unit in units {
            call = match unit {
                Unit::Address(address) => call.private_ip_addresses(address.to_string()),
                Unit::Block(block) => call.ipv4_prefixes(block.to_string()),
            };
        }
        call.send().await.map_err(|e| failure(&e)).map(|_| Outcome::Done)
    }
}

fn signed(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// EC2 said that it did it, and not what: the node is looked at.
fn odd(call: &str) -> Failure {
    Failure { message: format!("{call} answered without what it made"), ..Failure::no_answer() }
}
