//! TLS policies of listeners, by `targetRefs`.

use crate::condition::Problem;
use crate::name::created;
use crate::wasm_filter::{Filters, is_tls};
use crate::{Index, Name};
use penstock_config as config;
use penstock_resources::conditions::reasons;
use penstock_resources::gateway_api::{GROUP, Gateway};
use penstock_resources::wasm_filter::{TargetRef, WasmFilter};
use std::collections::BTreeMap;

/// Which policies are attached to listeners.
#[derive(Default)]
pub(crate) struct ListenerPolicies {
    attached: BTreeMap<Name, Vec<Attached>>,
    refused: BTreeMap<Name, Vec<Problem>>,
}

struct Attached {
    filter: Name,
    section: Option<String>,
    usable: Result<(), Problem>,
}

impl ListenerPolicies {
    /// What the `targetRefs` of all filters say. Of several policies on one listener the oldest
    /// runs first.
    pub(crate) fn new(index: &Index, filters: &Filters) -> Self {
        let mut by_age: Vec<(&Name, &WasmFilter)> =
            index.filters.iter().map(|(name, filter)| (name, filter.as_ref())).collect();
        by_age.sort_by_key(|(name, filter)| (created(&filter.metadata), *name));
        let mut policies = ListenerPolicies::default();
        for (name, filter) in by_age {
            let Some(outcome) = filters.get(name) else { continue };
            for target in &filter.spec.target_refs {
                match check_target(index, &name.namespace, target, outcome) {
                    Ok(()) => policies.attach(name, target, outcome),
                    Err(p) => policies.refused.entry(name.clone()).or_default().push(p),
                }
            }
        }
        policies
    }

    /// The policies on a listener, in order, each once, with what keeps one from being used.
    pub(crate) fn of<'a>(
        &'a self,
        gateway: &Name,
        section: &'a str,
    ) -> impl Iterator<Item = (&'a Name, &'a Result<(), Problem>)> {
        let mut last = None;
        let attached = self.attached.get(gateway).into_iter().flatten();
        attached
            .filter(move |a| a.section.as_deref().is_none_or(|name| name == section))
            // Targets of one filter stand together.
            .filter(move |a| last.replace(&a.filter) != Some(&a.filter))
            .map(|a| (&a.filter, &a.usable))
    }

    /// What is wrong with the targets of a filter.
    pub(crate) fn refused(&self, filter: &Name) -> &[Problem] {
        self.refused.get(filter).map_or(&[], Vec::as_slice)
    }

    fn attach(
        &mut self,
        filter: &Name,
        target: &TargetRef,
        outcome: &Result<config::Filter, Problem>,
    ) {
        let gateway = Name::new(&filter.namespace, &target.name);
        self.attached.entry(gateway).or_default().push(Attached {
            filter: filter.clone(),
            section: target.section_name.clone(),
            usable: outcome.as_ref().map(|_| ()).map_err(Clone::clone),
        });
    }
}

fn check_target(
    index: &Index,
    namespace: &str,
    target: &TargetRef,
    outcome: &Result<config::Filter, Problem>,
) -> Result<(), Problem> {
    if target.group != GROUP || target.kind != "Gateway" {
        return Err(Problem::new(
            reasons::INVALID_KIND,
            format!("targetRefs names {} of group `{}`, not a Gateway", target.kind, target.group),
        ));
    }
    if let Some(filter) = outcome.as_ref().ok().filter(|filter| !is_tls(filter)) {
        return Err(Problem::new(
            reasons::INVALID_KIND,
            format!(
                "the module is a policy on {}: targetRefs is for TLS policies, name this one in an \
                 ExtensionRef of an HTTPRoute",
                filter.kind().name()
            ),
        ));
    }
    let gateway = Name::new(namespace, &target.name);
    let missing = |what: String| Problem::new(reasons::TARGET_NOT_FOUND, what);
    let Some(found) = index.gateways.get(&gateway) else {
        return Err(missing(format!("Gateway {gateway} does not exist")));
    };
    let section = target.section_name.as_deref();
    let mut listeners = listeners(found, section).peekable();
    if let (Some(section), None) = (section, listeners.peek()) {
        return Err(missing(format!("Gateway {gateway} has no listener {section}")));
    }
    if !listeners.any(|protocol| protocol == "HTTPS") {
        return Err(Problem::new(
            reasons::UNSUPPORTED_VALUE,
            format!(
                "Gateway {gateway} does not terminate TLS there: target a listener of protocol HTTPS"
            ),
        ));
    }
    Ok(())
}

fn listeners<'a>(gateway: &'a Gateway, section: Option<&str>) -> impl Iterator<Item = &'a str> {
    let listeners = gateway.spec.listeners.iter();
    let listeners = listeners.filter(move |l| section.is_none_or(|name| name == l.name));
    listeners.map(|l| l.protocol.as_str())
}
