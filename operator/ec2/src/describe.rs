//! The calls that only look.

use crate::{
    Ec2,
    convert::{self, CLUSTER, INSTANCE, failure, filter},
};
use aws_sdk_ec2::types::{Filter, InstanceType, NetworkInterface};
use futures_util::future::BoxFuture;
use penstock_eni::{Eni, Failure, Limits, Loose, SecurityGroup, Subnets};
use std::collections::{BTreeMap, BTreeSet};

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

/// The least that EC2 takes.
const FEW: i32 = 5;

impl Ec2 {
    /// The interfaces that are attached to an instance, and those that were made for it and are
    /// attached to nothing.
    ///
    /// # Errors
    /// EC2's.
    pub fn interfaces<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, Result<Vec<Eni>, Failure>> {
        Box::pin(async move {
            let attached = [filter("attachment.instance-id", [instance])];
            let mut seen = self.network_interfaces(attached.into()).await?;
            let loose = [
                filter(&format!("tag:{INSTANCE}"), [instance]),
                filter(&format!("tag:{CLUSTER}"), [self.cluster.name.as_str()]),
                filter("status", ["available"]),
            ];
            seen.extend(self.network_interfaces(loose.into()).await?);
            Ok(seen.iter().filter_map(|seen| convert::eni(seen, &self.cluster)).collect())
        })
    }

    /// The interfaces of this cluster in a VPC that are attached to nothing.
    ///
    /// # Errors
    /// EC2's.
    pub fn loose<'a>(&'a self, vpc: &'a str) -> BoxFuture<'a, Result<Vec<Loose>, Failure>> {
        Box::pin(async move {
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
        })
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

    /// One interface of this cluster that is attached to an instance, if there is one.
    ///
    /// # Errors
    /// EC2's.
    pub fn owned(&self) -> BoxFuture<'_, Result<Option<Eni>, Failure>> {
        Box::pin(async move {
            let of_cluster = [
                filter(&format!("tag:{CLUSTER}"), [self.cluster.name.as_str()]),
                filter("status", ["in-use"]),
            ];
            let call =
                self.client.describe_network_interfaces().set_filters(Some(of_cluster.into()));
            let page = call.max_results(FEW).send().await.map_err(|e| failure(&e))?;
            let enis = page.network_interfaces().iter();
            let mut enis = enis.filter_map(|seen| convert::eni(seen, &self.cluster));
            Ok(enis.find(|eni| eni.owned && eni.attachment.is_some()))
        })
    }

    /// What a VPC has.
    ///
    /// # Errors
    /// EC2's.
    pub fn vpc<'a>(&'a self, vpc: &'a str) -> BoxFuture<'a, Result<Described, Failure>> {
        Box::pin(async move {
            let of_vpc = || filter("vpc-id", [vpc]);
            let mut described = Described {
                subnets: self.subnets(Some(of_vpc())).await?,
                groups: self.groups(Some(of_vpc())).await?,
            };
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
        })
    }

    /// Subnets of the region, without their route tables: those with ids, or all where no id is given.
    /// Those that do not exist are left out.
    ///
    /// # Errors
    /// EC2's.
    pub fn subnets_by_id<'a>(
        &'a self,
        ids: &'a BTreeSet<String>,
    ) -> BoxFuture<'a, Result<Subnets, Failure>> {
        Box::pin(
            async move { self.subnets((!ids.is_empty()).then(|| filter("subnet-id", ids))).await },
        )
    }

    /// The same of security groups.
    ///
    /// # Errors
    /// EC2's.
    pub fn groups_by_id<'a>(
        &'a self,
        ids: &'a BTreeSet<String>,
    ) -> BoxFuture<'a, Result<BTreeMap<String, SecurityGroup>, Failure>> {
        Box::pin(
            async move { self.groups((!ids.is_empty()).then(|| filter("group-id", ids))).await },
        )
    }

    async fn subnets(&self, which: Option<Filter>) -> Result<Subnets, Failure> {
        let mut subnets = Subnets::new();
        let call = self.client.describe_subnets().set_filters(which.map(|which| vec![which]));
        let mut pages = call.into_paginator().items().send();
        while let Some(next) = pages.next().await {
            if let Some(subnet) = convert::subnet(&next.map_err(|e| failure(&e))?) {
                subnets.insert(subnet.id.clone(), subnet);
            }
        }
        Ok(subnets)
    }

    async fn groups(
        &self,
        which: Option<Filter>,
    ) -> Result<BTreeMap<String, SecurityGroup>, Failure> {
        let mut groups = BTreeMap::new();
        let call = self.client.describe_security_groups();
        let call = call.set_filters(which.map(|which| vec![which]));
        let mut pages = call.into_paginator().items().send();
        while let Some(next) = pages.next().await {
            if let Some(group) = convert::group(&next.map_err(|e| failure(&e))?) {
                groups.insert(group.id.clone(), group);
            }
        }
        Ok(groups)
    }

    /// The limits of instance types; those that EC2 does not know in this region are left out.
    ///
    /// # Errors
    /// EC2's.
    pub fn limits<'a>(
        &'a self,
        kinds: &'a [&'a str],
    ) -> BoxFuture<'a, Result<BTreeMap<String, Limits>, Failure>> {
        Box::pin(async move {
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
        })
    }
}
