//! The taint of nodes whose agent is not ready: whoever starts nodes may give it to them, it goes when the
//! agent is ready, and it comes back where the agent stays away.

use super::pace::Pace;
use k8s_openapi::api::core::v1::{Node, Taint};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What is known of nodes and their taint.
#[derive(Debug)]
pub struct TaintBook {
    key: String,
    /// After which time without its agent a node gets the taint back; `None`: never.
    absence: Option<Duration>,
    nodes: BTreeMap<String, Seen>,
    ready: BTreeSet<String>,
    /// Nodes whose agent was ready and is not, and since when.
    lost: BTreeMap<String, Duration>,
    pace: Pace<String>,
}

/// A node, as the API server had it.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    resource_version: Option<String>,
    tainted: bool,
    others: Vec<Taint>,
}

/// A change of a node's taints: a merge patch that a changed node refuses (409).
#[derive(Clone, Debug, PartialEq)]
pub struct Retaint {
    /// The node.
    pub node: String,
    /// Whether it has the taint afterwards.
    pub tainted: bool,
    /// The patch.
    pub patch: Value,
}

impl TaintBook {
    /// For the taint of this key, whatever its value and effect. Where `absence` is given, a node whose
    /// agent was ready, and then is not for so long, gets it with the effect `NoSchedule`: the pods that run
    /// there stay.
    pub fn new(key: String, absence: Option<Duration>) -> Self {
        Self {
            key,
            absence,
            nodes: BTreeMap::new(),
            ready: BTreeSet::new(),
            lost: BTreeMap::new(),
            pace: Pace::default(),
        }
    }

    /// Notes a node that the API server has.
    pub fn observe(&mut self, node: &Node) {
        let Some(name) = &node.metadata.name else { return };
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
        let others: Vec<_> = taints.iter().filter(|t| t.key != self.key).cloned().collect();
        let tainted = others.len() < taints.len();
        let resource_version = node.metadata.resource_version.clone();
        let before = self.nodes.insert(name.clone(), Seen { resource_version, tainted, others });
        if before.is_none_or(|before| before.tainted != tainted) {
            self.pace.forget(name);
        }
    }

    /// Notes that a node is gone.
    pub fn forget(&mut self, node: &str) {
        self.nodes.remove(node);
        self.lost.remove(node);
        self.pace.forget(&node.to_owned());
    }

    /// Notes that what is observed from now on is all that there is.
    pub fn begin(&mut self) {
        self.nodes.clear();
    }

    /// The nodes whose agent has acknowledged the configuration, and was heard of just now.
    pub fn ready(&mut self, nodes: BTreeSet<String>, now: Duration) {
        self.lost.retain(|node, _| !nodes.contains(node));
        for node in self.ready.difference(&nodes) {
            self.lost.entry(node.clone()).or_insert(now);
        }
        self.ready = nodes;
    }

    /// Notes that this replica hears of no agent: another one leads.
    pub fn rest(&mut self) {
        self.ready.clear();
        self.lost.clear();
    }

    /// The changes that are to be made now. A node appears again, later and later, until it is observed as
    /// it shall be.
    pub fn due(&mut self, now: Duration) -> Vec<Retaint> {
        let mut wanted: Vec<(String, bool)> = Vec::new();
        for (name, seen) in &self.nodes {
            match seen.tainted {
                true if self.ready.contains(name) => wanted.push((name.clone(), false)),
                false if self.stays_away(name, now) => wanted.push((name.clone(), true)),
                _ => {}
            }
        }
        wanted.retain(|(name, _)| self.pace.write(name, now).is_ok());
        let change = |(node, tainted): (String, bool)| {
            let patch = self.nodes.get(&node)?.patch(tainted.then(|| self.taint()));
            Some(Retaint { node, tainted, patch })
        };
        wanted.into_iter().filter_map(change).collect()
    }

    /// Where no agent at all is heard of, it is rather the operator that is cut off: nodes give addresses
    /// from what they have, and nobody keeps pods from them.
    fn stays_away(&self, node: &str, now: Duration) -> bool {
        let (Some(absence), Some(since)) = (self.absence, self.lost.get(node)) else {
            return false;
        };
        !self.ready.is_empty() && *since + absence <= now
    }

    fn taint(&self) -> Taint {
        Taint {
            key: self.key.clone(),
            effect: "NoSchedule".into(),
            value: Some("true".into()),
            ..Taint::default()
        }
    }
}

impl Seen {
    fn patch(&self, taint: Option<Taint>) -> Value {
        let taints: Vec<_> = self.others.iter().cloned().chain(taint).collect();
        let taints = (!taints.is_empty()).then_some(taints);
        json!({
            "metadata": {"resourceVersion": self.resource_version},
            "spec": {"taints": taints},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "node.penstock.dev/agent-not-ready";
    const ABSENCE: Duration = Duration::from_secs(60);

    fn node(name: &str, taints: &[&str]) -> Node {
        let taints: Vec<_> =
            taints.iter().map(|key| json!({"key": key, "effect": "NoSchedule"})).collect();
        serde_json::from_value(json!({
            "metadata": {"name": name, "resourceVersion": "7"}, "spec": {"taints": taints},
        }))
        .expect("a node")
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn book(nodes: &[Node], ready: &[&str]) -> TaintBook {
        let mut book = TaintBook::new(KEY.into(), Some(ABSENCE));
        nodes.iter().for_each(|node| book.observe(node));
        book.ready(names(ready), Duration::ZERO);
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
        assert_eq!(due, [Retaint { node: "a".into(), tainted: false, patch }]);
        book.ready(names(&["b"]), Duration::ZERO);
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

    #[test]
    fn a_node_whose_agent_stays_away_gets_the_taint_back_beside_those_of_others() {
        let mut book = book(&[node("a", &["other"]), node("b", &[])], &["a", "b"]);
        let since = Duration::from_secs(100);
        book.ready(names(&["b"]), since);
        assert_eq!(book.due(since + ABSENCE - Duration::from_millis(1)), []);
        let due = book.due(since + ABSENCE);
        let patch = json!({
            "metadata": {"resourceVersion": "7"},
            "spec": {"taints": [
                {"key": "other", "effect": "NoSchedule"},
                {"key": KEY, "effect": "NoSchedule", "value": "true"},
            ]},
        });
        assert_eq!(due, [Retaint { node: "a".into(), tainted: true, patch }]);
        // It is back: the taint goes at once.
        book.observe(&node("a", &["other", KEY]));
        book.ready(names(&["a", "b"]), since + ABSENCE);
        let due = book.due(since + ABSENCE);
        assert_eq!(due.len(), 1);
        assert!(!due[0].tainted);
    }

    #[test]
    fn an_agent_that_is_away_for_a_moment_changes_nothing() {
        let mut book = book(&[node("a", &[]), node("b", &[])], &["a", "b"]);
        book.ready(names(&["b"]), Duration::from_secs(100));
        book.ready(names(&["a", "b"]), Duration::from_secs(130));
        book.ready(names(&["b"]), Duration::from_secs(140));
        assert_eq!(book.due(Duration::from_secs(170)), []);
    }

    #[test]
    fn where_no_agent_is_heard_of_no_node_gets_the_taint() {
        let mut book = book(&[node("a", &[]), node("b", &[])], &["a", "b"]);
        book.ready(names(&[]), Duration::from_secs(100));
        assert_eq!(book.due(Duration::from_secs(900)), []);
    }

    #[test]
    fn a_node_that_never_had_an_agent_gets_no_taint_nor_does_any_where_the_taint_only_goes() {
        let mut book = book(&[node("a", &[]), node("b", &[])], &["b"]);
        assert_eq!(book.due(Duration::from_secs(900)), []);
        let mut book = TaintBook::new(KEY.into(), None);
        book.observe(&node("a", &[]));
        book.ready(names(&["a", "b"]), Duration::ZERO);
        book.ready(names(&["b"]), Duration::from_secs(1));
        assert_eq!(book.due(Duration::from_secs(900)), []);
    }
}
