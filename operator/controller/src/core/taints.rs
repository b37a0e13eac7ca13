//! Nodes whose taint has to go: whoever starts them may keep pods away until the agent is ready.

use super::pace::Pace;
use k8s_openapi::api::core::v1::{Node, Taint};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What is known of nodes that carry the taint.
#[derive(Debug)]
pub struct TaintBook {
    key: String,
    tainted: BTreeMap<String, Tainted>,
    ready: BTreeSet<String>,
    pace: Pace<String>,
}

/// A node that carries the taint, as the API server had it.
#[derive(Clone, Debug, PartialEq)]
struct Tainted {
    resource_version: Option<String>,
    others: Vec<Taint>,
}

/// A taint to be removed: a merge patch that a changed node refuses (409).
#[derive(Clone, Debug, PartialEq)]
pub struct Untaint {
    /// The node.
    pub node: String,
    /// The patch.
    pub patch: Value,
}

impl TaintBook {
    /// For the taint of this key, whatever its value and effect.
    pub fn new(key: String) -> Self {
        Self { key, tainted: BTreeMap::new(), ready: BTreeSet::new(), pace: Pace::default() }
    }

    /// Notes a node that the API server has.
    pub fn observe(&mut self, node: &Node) {
        let Some(name) = &node.metadata.name else { return };
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
        let others: Vec<_> = taints.iter().filter(|t| t.key != self.key).cloned().collect();
        if others.len() == taints.len() {
            return self.forget(name);
        }
        let resource_version = node.metadata.resource_version.clone();
        self.tainted.insert(name.clone(), Tainted { resource_version, others });
    }

    /// Notes that a node is gone, or does not carry the taint any more.
    pub fn forget(&mut self, node: &str) {
        self.tainted.remove(node);
        self.pace.forget(&node.to_owned());
    }

    /// Notes that what is observed from now on is all that there is.
    pub fn begin(&mut self) {
        self.tainted.clear();
    }

    /// The nodes whose agent has acknowledged the configuration, and was heard of just now.
    pub fn ready(&mut self, nodes: BTreeSet<String>) {
        self.ready = nodes;
    }

    /// The taints that are to go now. A node appears again, later and later, until it is observed
    /// without its taint.
    pub fn due(&mut self, now: Duration) -> Vec<Untaint> {
        let Self { tainted, ready, pace, .. } = self;
        let due = tainted.iter().filter(|(node, _)| ready.contains(*node));
        let due = due.filter(|(node, _)| pace.write(node, now).is_ok());
        due.map(|(node, tainted)| Untaint { node: node.clone(), patch: tainted.patch() }).collect()
    }
}

impl Tainted {
    fn patch(&self) -> Value {
        let others = (!self.others.is_empty()).then_some(&self.others);
        json!({
            "metadata": {"resourceVersion": self.resource_version},
            "spec": {"taints": others},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "node.penstock.dev/agent-not-ready";

    fn node(name: &str, taints: &[&str]) -> Node {
        let taints: Vec<_> =
            taints.iter().map(|key| json!({"key": key, "effect": "NoSchedule"})).collect();
        serde_json::from_value(json!({
            "metadata": {"name": name, "resourceVersion": "7"}, "spec": {"taints": taints},
        }))
        .expect("a node")
    }

    fn book(nodes: &[Node], ready: &[&str]) -> TaintBook {
        let mut book = TaintBook::new(KEY.into());
        nodes.iter().for_each(|node| book.observe(node));
        book.ready(ready.iter().map(|name| (*name).to_owned()).collect());
        book
    }

    #[test]
    fn a_node_loses_its_taint_once_its_agent_is_ready_and_keeps_those_of_others() {
        let nodes = [node("a", &[KEY, "other"]), node("b", &[KEY]), node("c", &["other"])];
        let mut book = book(&nodes, &["a", "c"]);
        let due = book.due(Duration::ZERO);
        let patch = json!({
            "metadata": {"resourceVersion": "7"},
            "spec": {"taints": [{"key": "other", "effect": "NoSchedule"}]},
        });
        assert_eq!(due, [Untaint { node: "a".into(), patch }]);
        book.ready(["b".to_owned()].into());
        let due = book.due(Duration::ZERO);
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].patch["spec"]["taints"], Value::Null);
    }

    #[test]
    fn a_removal_that_fails_is_repeated_and_one_that_was_seen_is_not() {
        let mut book = book(&[node("a", &[KEY])], &["a"]);
        let attempts = (0..100).filter(|ms| !book.due(Duration::from_millis(*ms)).is_empty());
        assert!((2..20).contains(&attempts.count()), "often, and then more slowly");
        book.observe(&node("a", &[]));
        assert_eq!(book.due(Duration::from_secs(60)), []);
    }

    #[test]
    fn a_node_that_a_new_list_does_not_name_is_gone() {
        let mut book = book(&[node("a", &[KEY])], &["a"]);
        book.begin();
        assert_eq!(book.due(Duration::ZERO), []);
    }
}
