//! Whether calls would be permitted, without making them.

use crate::{Ec2, convert::failure};
use futures_util::future::BoxFuture;
use penstock_eni::{Action, Failure, Reason};
use std::net::Ipv4Addr;

/// EC2's answer where a call would be permitted
/// (Amazon EC2 API Reference, "Common query parameters", `DryRun`).
const PERMITTED: &str = "DryRunOperation";

/// The calls that only look: their IAM actions without `ec2:`.
pub const LOOKS: [&str; 5] = [
    "DescribeInstanceTypes",
    "DescribeNetworkInterfaces",
    "DescribeRouteTables",
    "DescribeSecurityGroups",
    "DescribeSubnets",
];

impl Ec2 {
    /// Whether the call of an action would be permitted for an instance.
    ///
    /// EC2 has no `DryRun` for addresses: it is asked to assign, or to unassign, `nobodys` instead, an
    /// address that is in no subnet, which it refuses after it has looked at permissions.
    ///
    /// # Errors
    /// EC2's: [`Reason::Unauthorized`] where it is not permitted; others where the answer is not known.
    pub fn may<'a>(
        &'a self,
        instance: &'a str,
        action: &'a Action,
        nobodys: Ipv4Addr,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let refused = match action {
                Action::Assign { interface, .. } => {
                    let call = self.client.assign_private_ip_addresses();
                    let call = call.network_interface_id(&interface.0);
                    let call = call.private_ip_addresses(nobodys.to_string());
                    call.send().await.map(drop).map_err(|error| failure(&error))
                }
                Action::Unassign { interface, .. } => {
                    let call = self.client.unassign_private_ip_addresses();
                    let call = call.network_interface_id(&interface.0);
                    let call = call.private_ip_addresses(nobodys.to_string());
                    call.send().await.map(drop).map_err(|error| failure(&error))
                }
                action => return permitted(self.make(instance, "", action, Some(true)).await),
            };
            match refused {
                Err(Failure {
                    reason:
                        Reason::Invalid | Reason::NotFound | Reason::AddressLimit | Reason::InUse,
                    ..
                }) => Ok(()),
                other => other,
            }
        })
    }

    /// Whether a call that only looks would be permitted: one of [`LOOKS`].
    ///
    /// # Errors
    /// As [`Ec2::may`].
    pub fn may_look<'a>(&'a self, call: &'a str) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let client = &self.client;
            permitted(match call {
                "DescribeInstanceTypes" => {
                    let call = client.describe_instance_types().dry_run(true);
                    call.send().await.map(drop).map_err(|error| failure(&error))
                }
                "DescribeNetworkInterfaces" => {
                    let call = client.describe_network_interfaces().dry_run(true);
                    call.send().await.map(drop).map_err(|error| failure(&error))
                }
                "DescribeRouteTables" => {
                    let call = client.describe_route_tables().dry_run(true);
                    call.send().await.map(drop).map_err(|error| failure(&error))
                }
                "DescribeSecurityGroups" => {
                    let call = client.describe_security_groups().dry_run(true);
                    call.send().await.map(drop).map_err(|error| failure(&error))
                }
                "DescribeSubnets" => {
                    let call = client.describe_subnets().dry_run(true);
                    call.send().await.map(drop).map_err(|error| failure(&error))
                }
                other => Err(Failure {
                    reason: Reason::Invalid,
                    message: format!("{other} is none of the calls that look"),
                }),
            })
        })
    }
}

/// A dry run is refused in any case: so it says that it was none of substance.
fn permitted<T>(answer: Result<T, Failure>) -> Result<(), Failure> {
    match answer {
        Err(failure) if failure.code() == PERMITTED => Ok(()),
        answer => answer.map(drop),
    }
}
