//! The calls that only look.

use crate::{
    Ec2,
    convert::{self, CLUSTER, INSTANCE, failure, filter},
};
use aws_sdk_ec2::types::{Filter, InstanceType, NetworkInterface};
use penstock_eni::{Eni, Failure, Limits, Loose, SecurityGroup, Subnets};
use std::collections::BTreeMap;

/// What a VPC has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// Its subnets, with their route tables.
    pub subnets: Subnets,
    /// Its security groups.
    pub groups: BTreeMap<String, SecurityGroup>,
}

/// Interfaces of a page: EC2 takes up to 1,000.
const PAGE: i32 = 1000;

impl Ec2 {
    /// The interfaces that are attached to an instance, and those that were made for it and are
    /// attached to nothing.
    ///
    /// # Errors
    /// EC2's.
    pub async fn interfaces(&self, instance: &str) -> Result<Vec<Eni>, Failure> {
        let attached = [filter("attachment.instance-id", [instance])];
        let mut seen = self.network_interfaces(attached.into()).await?;
        let loose = [
            filter(&format!("tag:{INSTANCE}"), [instance]),
            filter(&format!("tag:{CLUSTER}"), [self.cluster.name.as_str()]),
            filter("status", ["available"]),
        ];
        seen.extend(self.network_interfaces(loose.into()).await?);
        Ok(seen.iter().filter_map(|seen| convert::eni(seen, &self.cluster)).collect())
    }

    /// The interfaces of this cluster in a VPC that are attached to nothing.
    ///
    /// # Errors
    /// EC2's.
    pub async fn loose(&self, vpc: &str) -> Result<Vec<Loose>, Failure> {
        let filters = [
            filter("vpc-id", [vpc]),
            filter(&format!("tag:{CLUSTER}"), [self.cluster.name.as_str()]),
            filter("status", ["available"]),
        ];
        let seen = self.network_interfaces(filters.into()).await?;
        let enis = seen.iter().filter_map(|seen| convert::eni(seen, &self.cluster));
        let loose = enis.filter(|eni| eni.owned && eni.attachment.is_none());
        Ok(loose
            .map(|eni| Loose {
                id: eni.id,
                instance: eni.tags.get(INSTANCE).cloned().unwrap_or_default(),
            })
            .collect())
    }

    async fn network_interfaces(
        &self,
        filters: Vec<Filter>,
    ) -> Result<Vec<NetworkInterface>, Failure> {
        let call = self.client.describe_network_interfaces().set_filters(Some(filters));
        let mut pages = call.max_results(PAGE).into_paginator().items().send();
        let mut seen = Vec::new();
        while let Some(next) = pages.next().await {
            seen.push(next.map_err(|e| failure(&e))?);
        }
        Ok(seen)
    }

    /// What a VPC has.
    ///
    /// # Errors
    /// EC2's.
    pub async fn vpc(&self, vpc: &str) -> Result<Described, Failure> {
        let of_vpc = || filter("vpc-id", [vpc]);
        let mut described = Described::default();
        let call = self.client.describe_subnets().filters(of_vpc());
        let mut pages = call.into_paginator().items().send();
        while let Some(next) = pages.next().await {
            if let Some(subnet) = convert::subnet(&next.map_err(|e| failure(&e))?) {
                described.subnets.insert(subnet.id.clone(), subnet);
            }
        }
        let call = self.client.describe_security_groups().filters(of_vpc());
        let mut pages = call.into_paginator().items().send();
        while let Some(next) = pages.next().await {
            if let Some(group) = convert::group(&next.map_err(|e| failure(&e))?) {
                described.groups.insert(group.id.clone(), group);
            }
        }
        let call = self.client.describe_route_tables().filters(of_vpc());
        let mut pages = call.into_paginator().items().send();
        while let Some(next) = pages.next().await {
            let table = next.map_err(|e| failure(&e))?;
            for subnet in table.associations().iter().filter_map(|to| to.subnet_id()) {
                if let Some(subnet) = described.subnets.get_mut(subnet) {
                    subnet.route_table = table.route_table_id().unwrap_or_default().to_owned();
                }
            }
        }
        Ok(described)
    }

    /// The limits of instance types; those that EC2 does not know in this region are left out.
    ///
    /// # Errors
    /// EC2's.
    pub async fn limits(&self, kinds: &[&str]) -> Result<BTreeMap<String, Limits>, Failure> {
        let mut all = BTreeMap::new();
        // As a filter, a type that does not exist is no error.
        for kinds in kinds.chunks(100) {
            let call = self.client.describe_instance_types();
            let call = call.filters(filter("instance-type", kinds.iter().copied()));
            let mut pages = call.into_paginator().items().send();
            while let Some(next) = pages.next().await {
                let info = next.map_err(|e| failure(&e))?;
                let kind = info.instance_type().map(InstanceType::as_str);
                if let (Some(kind), Some(limits)) = (kind, convert::limits(&info)) {
                    all.insert(kind.to_owned(), limits);
                }
            }
        }
        Ok(all)
    }
}
