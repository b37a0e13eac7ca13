//! `LoadBalancerPool`: which addresses it holds, for whom, and what its status says.

use crate::condition::{Conditions, Problem, Truth};
use crate::label_selector::{Expression, labels, matches, namespace_labels};
use crate::{Index, Name};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use penstock_resources::conditions::{reasons, types};
use penstock_resources::gateway_api::Gateway;
use penstock_resources::load_balancer_pool::{LoadBalancerPool, LoadBalancerPoolStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A pool, its ranges as numbers.
#[derive(Debug)]
pub(crate) struct Pool<'a> {
    pool: &'a LoadBalancerPool,
    /// Sorted, without overlap.
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
    /// Ranges and selectors that cannot be used.
    problem: Option<Problem>,
    /// Whether the selectors can be evaluated.
    selects: bool,
}

impl<'a> Pool<'a> {
    pub(super) fn new(pool: &'a LoadBalancerPool) -> Self {
        let (mut v4, mut v6, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for (at, range) in pool.spec.ranges.iter().enumerate() {
            match range.bounds() {
                Ok((first, last)) => {
                    let ranges = if first.is_ipv4() { &mut v4 } else { &mut v6 };
                    ranges.push((number(first), number(last)));
                }
                Err(error) => problems.push(Problem::new(
                    reasons::UNSUPPORTED_VALUE,
                    format!("ranges[{at}] has no address: {error}"),
                )),
            }
        }
        let selectors = [&pool.spec.gateway_selector, &pool.spec.namespace_selector];
        let invalid = selectors.into_iter().flatten().flat_map(expressions).find(|e| !e.is_valid());
        problems.extend(invalid.map(|expression| {
            Problem::new(
                reasons::UNSUPPORTED_VALUE,
                format!(
                    "the selector expression on `{}` is invalid, so that the pool selects no \
                     Gateway: In and NotIn take values, Exists and DoesNotExist take none",
                    expression.key
                ),
            )
        }));
        let selects = invalid.is_none();
        let problem = Problem::join(&problems);
        Self { pool, v4: merged(v4), v6: merged(v6), problem, selects }
    }

    /// Whether the pool is for a Gateway.
    pub(super) fn selects(&self, index: &Index, name: &Name, gateway: &Gateway) -> bool {
        let namespace = index.namespace(&name.namespace);
        let namespace = namespace.and_then(|object| object.metadata.labels.as_ref());
        let fits = |selector: &Option<LabelSelector>, labels: &BTreeMap<&str, &str>| {
            selector
                .as_ref()
                .is_none_or(|s| matches(labels, s.match_labels.as_ref(), expressions(s)))
        };
        self.selects
            && fits(&self.pool.spec.gateway_selector, &labels(gateway.metadata.labels.as_ref()))
            && fits(
                &self.pool.spec.namespace_selector,
                &namespace_labels(namespace, &name.namespace),
            )
    }

    /// Whether an address is one of the pool's.
    pub(super) fn holds(&self, ip: IpAddr) -> bool {
        let ranges = if ip.is_ipv4() { &self.v4 } else { &self.v6 };
        ranges.iter().any(|(first, last)| (*first..=*last).contains(&number(ip)))
    }

    /// The lowest address of a family that is not taken.
    pub(super) fn lowest_free(&self, v4: bool, taken: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let ranges = if v4 { &self.v4 } else { &self.v6 };
        let all = ranges.iter().flat_map(|(first, last)| *first..=*last);
        all.map(|number| address(number, v4)).find(|ip| !taken(*ip))
    }

    /// What the pool's writer is told, given the addresses that are taken from any pool.
    pub(super) fn status(&self, taken: &BTreeSet<IpAddr>) -> LoadBalancerPoolStatus {
        let used = taken.iter().filter(|ip| self.holds(**ip)).count();
        let size = |ranges: &[(u128, u128)]| {
            let sizes = ranges.iter().map(|(first, last)| (last - first).saturating_add(1));
            sizes.fold(0, u128::saturating_add)
        };
        let all = size(&self.v4).saturating_add(size(&self.v6));
        let mut conditions = Conditions::new(&self.pool.metadata);
        match &self.problem {
            None => {
                let message = "Gateways get addresses of the pool";
                conditions.add(types::ACCEPTED, Truth::True, reasons::ACCEPTED, message);
            }
            Some(problem) => {
                let message = format!("{}; what is valid is in use", problem.message);
                conditions.add(types::ACCEPTED, Truth::False, problem.reason, message);
            }
        }
        LoadBalancerPoolStatus {
            conditions: conditions.finish(),
            used: u32::try_from(used).unwrap_or(u32::MAX),
            free: all.saturating_sub(used as u128).to_string(),
        }
    }
}

fn expressions(selector: &LabelSelector) -> impl Iterator<Item = Expression<'_>> {
    selector.match_expressions.iter().flatten().map(|expression| Expression {
        key: &expression.key,
        operator: &expression.operator,
        values: expression.values.as_deref().unwrap_or_default(),
    })
}

fn merged(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

fn address(number: u128, v4: bool) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if v4 => Ipv4Addr::from(number).into(),
        _ => Ipv6Addr::from(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_overlap_are_one_and_others_stay_apart() {
        for (ranges, expected) in [
            (vec![(5, 9), (1, 3)], vec![(1, 3), (5, 9)]),
            (vec![(1, 5), (5, 9)], vec![(1, 9)]),
            (vec![(1, 9), (2, 3), (8, 12)], vec![(1, 12)]),
        ] {
            assert_eq!(merged(ranges), expected);
        }
    }

    #[test]
    fn a_number_is_the_address_of_the_family_that_is_asked_for() {
        for ip in ["0.0.0.5", "255.255.255.255", "::5", "::ffff:ffff", "2001:db8::1"] {
            let ip: IpAddr = ip.parse().expect("an address");
            assert_eq!(address(number(ip), ip.is_ipv4()), ip);
        }
    }
}
