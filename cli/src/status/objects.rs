//! GatewayClasses, Gateways, routes, filters and pools: what the operator wrote about them.

use super::{
    remedies::remedy,
    report::{ClassLine, GatewayLine, ListenerLine, PoolLine, Tally},
    seen::Seen,
};
use crate::cluster::{Problem, one_line};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, ResourceExt as _};
use penstock_resources::{
    Kind,
    conditions::{CONTROLLER_NAME, reasons, types},
    gateway_api::{
        self, Gateway, HttpRoute,
        httproutes::{HttpRouteParentRefs, HttpRouteStatusParents},
    },
};
use std::collections::BTreeSet;

/// Namespace and name.
type Name = (String, String);

/// An object whose conditions are judged.
struct Judged<'a> {
    kind: Kind,
    object: String,
    generation: Option<i64>,
    /// Part of the object, with a colon and a blank.
    part: String,
    /// `Programmed` that is pending is a problem too.
    waits: bool,
    problems: &'a mut Vec<Problem>,
}

impl Judged<'_> {
    /// Says what is wrong; whether nothing is.
    fn look(&mut self, conditions: &[Condition]) -> bool {
        let before = self.problems.len();
        let stale = conditions.iter().all(|c| c.observed_generation < self.generation);
        if conditions.is_empty() || stale {
            let cause = if conditions.is_empty() {
                "the operator has not judged it yet".to_owned()
            } else {
                "it was changed, and the operator has not judged the change yet".to_owned()
            };
            self.say("NotJudged", cause, "wait (penstock status --wait); when it stays, look at the operator's pods and logs");
            return false;
        }
        let faults: Vec<&Condition> = penstock_gateway::problems(conditions).collect();
        for fault in &faults {
            self.fault(fault);
        }
        if faults.is_empty()
            && let Some(pending) = conditions.iter().find(|c| self.is_pending(c))
        {
            self.fault(pending);
        }
        self.problems.len() == before
    }

    fn is_pending(&self, condition: &Condition) -> bool {
        let type_ = condition.type_.as_str();
        let counts = [types::ACCEPTED, types::RESOLVED_REFS].contains(&type_)
            || (self.waits && type_ == types::PROGRAMMED);
        counts && condition.status != "True"
    }

    fn fault(&mut self, condition: &Condition) {
        let Condition { type_, status, reason, message, .. } = condition;
        let cause = format!("{type_} is {status} ({reason}): {}", one_line(message));
        let remedy = remedy(reason, self.kind);
        self.say(reason, cause, remedy);
    }

    fn say(&mut self, reason: &str, cause: String, remedy: &str) {
        let cause = format!("{}{cause}", self.part);
        self.problems.push(Problem::new(self.object.clone(), reason, cause, remedy));
    }
}

fn judged<'a, K>(kind: Kind, object: &K, problems: &'a mut Vec<Problem>) -> Judged<'a>
where
    K: Resource,
{
    Judged {
        kind,
        object: format!("{kind} {}", full_name(object)),
        generation: object.meta().generation,
        part: String::new(),
        waits: false,
        problems,
    }
}

fn full_name(object: &impl Resource) -> String {
    match object.meta().namespace.as_deref() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    }
}

fn is_true(conditions: Option<&[Condition]>, type_: &str) -> bool {
    conditions.into_iter().flatten().any(|c| c.type_ == type_ && c.status == "True")
}

/// The GatewayClasses that are ours.
pub(crate) fn classes(seen: &Seen, problems: &mut Vec<Problem>) -> Vec<ClassLine> {
    let ours = seen.classes.iter().filter(|class| class.spec.controller_name == CONTROLLER_NAME);
    ours.map(|class| {
        let status = class.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        judged(Kind::GatewayClass, class, problems).look(&conditions);
        ClassLine { name: class.name_any(), accepted: is_true(Some(&conditions), types::ACCEPTED) }
    })
    .collect()
}

/// The Gateways of these classes.
pub(crate) fn gateways(
    seen: &Seen,
    classes: &[ClassLine],
    problems: &mut Vec<Problem>,
) -> Vec<GatewayLine> {
    let ours = seen.gateways.iter().filter(|gateway| {
        classes.iter().any(|class| class.name == gateway.spec.gateway_class_name)
    });
    ours.map(|gateway| gateway_line(gateway, problems)).collect()
}

fn gateway_line(gateway: &Gateway, problems: &mut Vec<Problem>) -> GatewayLine {
    let status = gateway.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let of_listeners = status.listeners.unwrap_or_default();
    let mut own = Vec::new();
    let mut judge = judged(Kind::Gateway, gateway, &mut own);
    judge.waits = true;
    judge.look(&conditions);
    let mut of_parts = Vec::new();
    let listeners = gateway.spec.listeners.iter().map(|listener| {
        let status = of_listeners.iter().find(|status| status.name == listener.name);
        if let Some(status) = status {
            let mut judge = judged(Kind::Gateway, gateway, &mut of_parts);
            judge.part = format!("listener {}: ", listener.name);
            // What waits waits for the same as the Gateway.
            judge.waits = own.is_empty();
            judge.look(&status.conditions);
        }
        ListenerLine {
            name: listener.name.clone(),
            protocol: listener.protocol.clone(),
            port: listener.port,
            programmed: is_true(status.map(|s| s.conditions.as_slice()), types::PROGRAMMED),
            attached_routes: status.map_or(0, |status| status.attached_routes),
        }
    });
    let listeners: Vec<ListenerLine> = listeners.collect();
    // The listeners say more than the sentence that they are not valid.
    if !of_parts.is_empty() {
        own.retain(|problem| problem.reason != reasons::LISTENERS_NOT_VALID);
    }
    problems.extend(own.into_iter().chain(of_parts));
    GatewayLine {
        namespace: gateway.namespace().unwrap_or_default(),
        name: gateway.name_any(),
        class: gateway.spec.gateway_class_name.clone(),
        addresses: status.addresses.into_iter().flatten().map(|address| address.value).collect(),
        accepted: is_true(Some(&conditions), types::ACCEPTED),
        programmed: is_true(Some(&conditions), types::PROGRAMMED),
        listeners,
    }
}

/// The HTTPRoutes that name one of these Gateways.
pub(crate) fn routes(seen: &Seen, gateways: &[GatewayLine], problems: &mut Vec<Problem>) -> Tally {
    let ours: BTreeSet<Name> =
        gateways.iter().map(|g| (g.namespace.clone(), g.name.clone())).collect();
    let mut tally = Tally::default();
    for route in &seen.routes {
        let statuses: Vec<&HttpRouteStatusParents> = route
            .status
            .iter()
            .flat_map(|status| &status.parents)
            .filter(|parent| parent.controller_name == CONTROLLER_NAME)
            .collect();
        let named = parents(route).any(|name| ours.contains(&name));
        if !named && statuses.is_empty() {
            continue;
        }
        tally.total += 1;
        let mut judge = judged(Kind::HttpRoute, route, problems);
        let mut well = true;
        if statuses.is_empty() {
            well = judge.look(&[]);
        }
        for status in statuses {
            let parent = &status.parent_ref;
            let namespace = parent.namespace.clone().or(route.namespace()).unwrap_or_default();
            let section = parent.section_name.iter().map(|section| format!("/{section}"));
            judge.part =
                format!("parent {namespace}/{}{}: ", parent.name, section.collect::<String>());
            well &= judge.look(&status.conditions);
        }
        if !well {
            tally.not_well.push(full_name(route));
        }
    }
    tally
}

/// The Gateways that a route names.
pub(crate) fn parents(route: &HttpRoute) -> impl Iterator<Item = Name> + '_ {
    let refs = route.spec.parent_refs.iter().flatten();
    refs.filter(|parent| is_gateway(parent)).map(|parent| {
        let namespace = parent.namespace.clone().or(route.namespace()).unwrap_or_default();
        (namespace, parent.name.clone())
    })
}

fn is_gateway(parent: &HttpRouteParentRefs) -> bool {
    parent.group.as_deref().is_none_or(|group| group == gateway_api::GROUP)
        && parent.kind.as_deref().is_none_or(|kind| kind == "Gateway")
}

/// The WasmFilters.
pub(crate) fn filters(seen: &Seen, problems: &mut Vec<Problem>) -> Tally {
    let mut tally = Tally { total: seen.filters.len(), not_well: Vec::new() };
    for filter in &seen.filters {
        let status = filter.status.clone().unwrap_or_default();
        // One that nobody uses is never programmed.
        if !judged(Kind::WasmFilter, filter, problems).look(&status.conditions) {
            tally.not_well.push(full_name(filter));
        }
    }
    tally
}

/// The LoadBalancerPools.
pub(crate) fn pools(seen: &Seen, problems: &mut Vec<Problem>) -> Vec<PoolLine> {
    let lines = seen.pools.iter().map(|pool| {
        let status = pool.status.clone().unwrap_or_default();
        judged(Kind::LoadBalancerPool, pool, problems).look(&status.conditions);
        PoolLine {
            name: pool.name_any(),
            accepted: is_true(Some(&status.conditions), types::ACCEPTED),
            used: status.used,
            free: status.free,
        }
    });
    lines.collect()
}
