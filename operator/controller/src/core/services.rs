//! Which Services have to be made, changed or deleted.

use super::{
    event::{Action, ByName, WriteError},
    pace::Pace,
};
use k8s_openapi::api::core::v1::Service;
use penstock_gateway::{Name, service_is_in_place};
use std::{collections::BTreeSet, time::Duration};

/// Label of a Service of ours: the Gateway that it is for (GEP-1762).
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// What is wanted, what is there, and what is on its way.
#[derive(Debug)]
pub(crate) struct ServiceBook {
    namespace: String,
    wanted: ByName<Service>,
    /// Ours alone.
    observed: ByName<Service>,
    pending: BTreeSet<Name>,
    in_flight: BTreeSet<Name>,
    pace: Pace<Name>,
}

impl ServiceBook {
    /// Services of a namespace.
    pub(crate) fn new(namespace: String) -> Self {
        Self {
            namespace,
            wanted: ByName::new(),
            observed: ByName::new(),
            pending: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            pace: Pace::default(),
        }
    }

    /// Notes a Service that the API server has.
    pub(crate) fn observe(&mut self, service: &Service) {
        let metadata = &service.metadata;
        let ours = metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(GATEWAY_NAME));
        let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) else { return };
        if *namespace != self.namespace {
            return;
        }
        let name = Name::new(namespace, name);
        if ours || self.wanted.contains_key(&name) {
            self.observed.insert(name.clone(), service.clone());
            self.pending.insert(name);
        }
    }

    /// Notes that a Service is gone.
    pub(crate) fn forget(&mut self, name: &Name) {
        if self.observed.remove(name).is_some() {
            self.pending.insert(name.clone());
        }
    }

    /// Notes all Services that there should be.
    pub(crate) fn want(&mut self, wanted: ByName<Service>) {
        let changed = wanted.iter().filter(|(name, new)| self.wanted.get(*name) != Some(*new));
        let gone = self.wanted.keys().filter(|name| !wanted.contains_key(*name));
        let names: Vec<Name> = changed.map(|(name, _)| name).chain(gone).cloned().collect();
        self.pending.extend(names);
        self.wanted = wanted;
    }

    /// Looks at every Service again.
    pub(crate) fn look_at_all(&mut self) {
        self.pending.extend(self.observed.keys().chain(self.wanted.keys()).cloned());
    }

    /// Notes how a change went.
    pub(crate) fn wrote(&mut self, name: &Name, result: Result<Option<Box<Service>>, WriteError>) {
        self.in_flight.remove(name);
        self.pending.insert(name.clone());
        match result {
            Ok(Some(service)) => self.observe(&service),
            Ok(None) | Err(WriteError::Gone) => {
                self.observed.remove(name);
            }
            Err(WriteError::Refused) => self.pace.failed(name),
        }
    }

    /// The changes that are due. The second value: when the next one is.
    pub(crate) fn due(&mut self, now: Duration) -> (Vec<Action>, Option<Duration>) {
        let (mut actions, mut wake, mut left) = (Vec::new(), None, BTreeSet::new());
        for name in std::mem::take(&mut self.pending) {
            if self.in_flight.contains(&name) {
                left.insert(name);
                continue;
            }
            let action = match (self.wanted.get(&name), self.observed.get(&name)) {
                (Some(wanted), observed)
                    if !observed.is_some_and(|o| service_is_in_place(o, wanted)) =>
                {
                    Action::ApplyService(Box::new(wanted.clone()))
                }
                (None, Some(observed)) if observed.metadata.deletion_timestamp.is_none() => {
                    Action::DeleteService(name.clone())
                }
                _ => continue,
            };
            match self.pace.write(&name, now) {
                Ok(()) => {
                    self.in_flight.insert(name);
                    actions.push(action);
                }
                Err(due) => {
                    wake = Some(wake.map_or(due, |wake: Duration| wake.min(due)));
                    left.insert(name);
                }
            }
        }
        self.pending = left;
        (actions, wake)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn service(name: &str, port: i32, extra: Value) -> Service {
        let mut value = json!({
            "metadata": {"name": name, "namespace": "s", "labels": {GATEWAY_NAME: "gw"}},
            "spec": {"type": "LoadBalancer", "ports": [{"name": "http", "port": port}]},
        });
        let (Value::Object(spec), Value::Object(extra)) = (&mut value["spec"], extra) else {
            panic!("objects")
        };
        spec.extend(extra);
        serde_json::from_value(value).expect("a Service")
    }

    fn name(name: &str) -> Name {
        Name::new("s", name)
    }

    fn wanted(port: i32) -> ByName<Service> {
        ByName::from([(name("a"), service("a", port, json!({})))])
    }

    fn due(book: &mut ServiceBook) -> Vec<String> {
        let actions = book.due(Duration::ZERO).0;
        let show = |action| match action {
            Action::ApplyService(s) => {
                format!("apply {}", s.metadata.name.as_deref().unwrap_or_default())
            }
            Action::DeleteService(name) => format!("delete {}", name.name),
            other => panic!("{other:?}"),
        };
        actions.into_iter().map(show).collect()
    }

    #[test]
    fn a_service_is_made_once_and_left_alone_while_it_is_as_wanted() {
        let mut book = ServiceBook::new("s".into());
        book.want(wanted(80));
        assert_eq!(due(&mut book), ["apply a"]);
        assert_eq!(due(&mut book), [] as [&str; 0], "on its way");
        let there = service("a", 80, json!({"clusterIP": "10.0.0.1"}));
        book.wrote(&name("a"), Ok(Some(Box::new(there))));
        assert_eq!(due(&mut book), [] as [&str; 0], "defaults of the API server are no difference");
        book.look_at_all();
        assert_eq!(due(&mut book), [] as [&str; 0]);
        book.observe(&service("a", 81, json!({})));
        assert_eq!(due(&mut book), ["apply a"], "somebody changed it");
        book.wrote(&name("a"), Ok(Some(Box::new(service("a", 80, json!({}))))));
        book.forget(&name("a"));
        assert_eq!(due(&mut book), ["apply a"], "somebody deleted it");
    }

    #[test]
    fn only_a_service_of_ours_that_nobody_wants_is_deleted() {
        let mut book = ServiceBook::new("s".into());
        book.observe(&service("old", 80, json!({})));
        let mut foreign = service("foreign", 80, json!({}));
        foreign.metadata.labels = None;
        book.observe(&foreign);
        let mut elsewhere = service("elsewhere", 80, json!({}));
        elsewhere.metadata.namespace = Some("t".into());
        book.observe(&elsewhere);
        assert_eq!(due(&mut book), ["delete old"]);
        book.wrote(&name("old"), Err(WriteError::Gone));
        assert_eq!(due(&mut book), [] as [&str; 0]);
    }

    #[test]
    fn a_failed_change_waits() {
        let mut book = ServiceBook::new("s".into());
        book.want(wanted(80));
        assert_eq!(due(&mut book), ["apply a"]);
        book.wrote(&name("a"), Err(WriteError::Refused));
        let (actions, wake) = book.due(Duration::ZERO);
        assert_eq!(actions, []);
        assert!(wake.is_some_and(|wake| wake > Duration::ZERO));
    }
}
