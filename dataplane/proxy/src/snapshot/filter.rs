//! Filters of a snapshot: each as the configuration has it, else in its last good generation.

use crate::{
    telemetry::{FilterCells, Metrics, Series},
    tls::Refusal,
};
use penstock_config::{Filter, Key, Kind, ResourceKind, State, Version, Versioned};
use penstock_filter_host::{Host, Plan, PrepareError};
use std::sync::Arc;

/// A filter of a snapshot.
#[derive(Clone, Debug)]
pub struct FilterSlot {
    /// `namespace/name`.
    pub name: Arc<str>,
    /// Hash of its configuration.
    pub version: Version,
    /// Its configuration.
    pub config: Arc<Filter>,
    /// What it declared; absent where it cannot be prepared: its steps then answer 500.
    pub plan: Option<Arc<Plan>>,
    /// Whether this is the last good generation, because the one that the configuration has is
    /// refused.
    pub stands_in: bool,
    /// Its metrics.
    pub cells: Arc<Series<FilterCells>>,
}

impl FilterSlot {
    /// Its resource.
    pub fn resource(&self) -> ResourceKind {
        ResourceKind::Filter(Filter::clone(&self.config))
    }
}

/// What filters are compiled with.
#[derive(Clone, Copy)]
pub(super) struct Filters<'a> {
    /// Where they are tried.
    pub(super) host: &'a Host,
    /// Where their metrics come from.
    pub(super) metrics: &'a Metrics,
    /// Those that serve now, sorted by name.
    pub(super) previous: &'a [FilterSlot],
    /// What workers could not prepare.
    pub(super) unprepared: &'a [Unprepared],
}

/// A version of a filter that a worker could not prepare.
#[derive(Clone, Debug)]
pub struct Unprepared {
    /// The version.
    pub version: Version,
    /// Why.
    pub refusal: Refusal,
}

impl Filters<'_> {
    /// Every filter with its plan, sorted by name. A filter that did not change is not tried again.
    pub(super) fn compile(self, state: &State, refused: &mut Vec<Refusal>) -> Vec<FilterSlot> {
        let mut slots: Vec<FilterSlot> = state
            .of_kind(Kind::Filter)
            .filter_map(|resource| match &*resource.content {
                ResourceKind::Filter(filter) => Some(self.slot(resource, filter, refused)),
                _ => None,
            })
            .collect();
        slots.sort_by(|left, right| left.name.cmp(&right.name));
        slots
    }

    fn slot(self, resource: &Versioned, filter: &Filter, refused: &mut Vec<Refusal>) -> FilterSlot {
        let version = resource.version;
        let mut refusal = match self.usable(&resource.key, version, filter) {
            Ok(slot) => return slot,
            Err(refusal) => refusal,
        };
        let last_good = self.last_good(&resource.key, filter, &mut refusal.message);
        refused.push(refusal);
        last_good.unwrap_or_else(|| self.new_slot(version, filter, None))
    }

    /// The filter, where it can be served.
    fn usable(&self, key: &Key, version: Version, filter: &Filter) -> Result<FilterSlot, Refusal> {
        let tried = |tried: &&Unprepared| tried.version == version && tried.refusal.key == *key;
        if let Some(tried) = self.unprepared.iter().find(tried) {
            return Err(tried.refusal.clone());
        }
        if let Some(slot) = find(self.previous, &filter.name)
            && slot.version == version
            && slot.plan.is_some()
        {
            return Ok(FilterSlot { stands_in: false, ..slot.clone() });
        }
        match self.host.check(filter) {
            Ok(plan) => Ok(self.new_slot(version, filter, Some(plan))),
            Err(error) => Err(refusal(key, &error)),
        }
    }

    /// What serves on while `filter` is refused. Adds to `message` what becomes of it.
    fn last_good(&self, key: &Key, filter: &Filter, message: &mut String) -> Option<FilterSlot> {
        let before = find(self.previous, &filter.name).filter(|slot| slot.plan.is_some())?;
        let on =
            before.config.serving_on(&filter.grants, filter.on_failure(), filter.opaque_values());
        let on = match on {
            Ok(on) => on,
            Err(withdrawn) => {
                *message = format!("{message}; {withdrawn}");
                return None;
            }
        };
        let version = Version::of(&ResourceKind::Filter(on.clone()));
        let slot = self.usable(key, version, &on).ok()?;
        *message = format!("{message}; {} serves on", on.generation_label());
        Some(FilterSlot { stands_in: true, ..slot })
    }

    fn new_slot(&self, version: Version, filter: &Filter, plan: Option<Arc<Plan>>) -> FilterSlot {
        FilterSlot {
            name: filter.name.as_str().into(),
            version,
            config: Arc::new(filter.clone()),
            plan,
            stands_in: false,
            cells: self.metrics.filters.get(&filter.name),
        }
    }
}

/// The filter of that name.
pub(super) fn find<'a>(slots: &'a [FilterSlot], name: &str) -> Option<&'a FilterSlot> {
    let index = slots.binary_search_by(|slot| (*slot.name).cmp(name)).ok()?;
    slots.get(index)
}

/// That a filter cannot be prepared.
pub(crate) fn refusal(key: &Key, error: &PrepareError) -> Refusal {
    Refusal { key: key.clone(), reason: prepare_reason(error), message: error.to_string() }
}

/// The reason that a WasmFilter's status gives for an error.
fn prepare_reason(error: &PrepareError) -> &'static str {
    match error {
        PrepareError::ModuleNotFound(_) => "ModuleNotFound",
        PrepareError::WrongWorld { .. } => "WrongWorld",
        PrepareError::CapabilityDenied(_) => "CapabilityDenied",
        PrepareError::InvalidConfig { .. } => "InvalidConfig",
        PrepareError::Limits(_) | PrepareError::InvalidPlan(_) | PrepareError::Failed { .. } => {
            "ModuleInvalid"
        }
    }
}
