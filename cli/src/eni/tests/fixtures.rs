//! A cluster in ENI mode in which everything is well, and parts of it.

use crate::{cluster::Problem, eni::seen::Seen};
use k8s_openapi::{
    api::{
        apps::v1::DaemonSet,
        core::v1::{Node, Pod},
    },
    jiff::Timestamp,
};
use penstock_resources::PenstockNode;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(super) const NOW: &str = "2026-05-01T12:00:00Z";

/// An object from JSON.
pub(super) fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

/// Two nodes, the operator in ENI mode, kube-proxy and the agent on both.
pub(super) fn well() -> Seen {
    Seen {
        now: NOW.parse::<Timestamp>().expect("a time"),
        server: "https://api".into(),
        kubernetes: "v1.36.0".into(),
        operator: Some(object(json!({
            "metadata": {"name": "penstock-operator", "namespace": "system"},
            "spec": {"selector": {}, "template": {"metadata": {}, "spec": {"containers": [{
                "name": "operator",
                "args": ["run", "--node-taint=node.penstock.dev/agent-not-ready"],
                "env": [{"name": "PENSTOCK_ADDRESSES", "value": ADDRESSES}],
            }]}}},
        }))),
        nodes: vec![node("node-1", "m5.large"), node("node-2", "c5.4xlarge")],
        published: Some(vec![published("node-1", 27), published("node-2", 232)]),
        sets: vec![set("kube-system", "kube-proxy", 2), set("system", "penstock-agent", 2)],
        ..Seen::default()
    }
}

const ADDRESSES: &str = r#"{"eni": {"nodeSpec": {"firstInterfaceIndex": 0}}, "ipam": {}}"#;

/// An instance of a type in a zone.
pub(super) fn node(name: &str, kind: &str) -> Node {
    object(json!({
        "metadata": {
            "name": name, "creationTimestamp": "2026-05-01T08:00:00Z",
            "labels": {
                "node.kubernetes.io/instance-type": kind,
                "topology.kubernetes.io/zone": "eu-central-1a",
            },
        },
        "spec": {"providerID": format!("aws:///eu-central-1a/i-{name}")},
        "status": {"allocatable": {"pods": "29"}},
    }))
}

/// What the operator publishes of it.
pub(super) fn published(name: &str, capacity: u32) -> PenstockNode {
    object(json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "PenstockNode",
        "metadata": {"name": name}, "spec": {},
        "status": {
            "instanceId": format!("i-{name}"), "instanceType": "m5.large", "zone": "eu-central-1a",
            "vpc": "vpc-1",
            "addresses": {
                "interfaces": 2, "prefixes": 0, "used": 10, "free": 8, "pending": 0,
                "releasing": 0, "capacity": capacity,
            },
        },
    }))
}

/// A DaemonSet that its controller has seen, on so many nodes.
pub(super) fn set(namespace: &str, name: &str, nodes: i32) -> DaemonSet {
    object(json!({
        "metadata": {"name": name, "namespace": namespace, "generation": 1},
        "spec": {"selector": {}, "template": {"metadata": {}, "spec": {"containers": []}}},
        "status": {
            "observedGeneration": 1, "desiredNumberScheduled": nodes,
            "currentNumberScheduled": nodes, "numberReady": nodes, "numberMisscheduled": 0,
        },
    }))
}

/// A pod that was put on a node at a time and has no network.
pub(super) fn waits(name: &str, node: &str, since: &str) -> Pod {
    object(json!({
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"nodeName": node, "containers": []},
        "status": {"phase": "Pending", "conditions": [
            {"type": "PodReadyToStartContainers", "status": "False", "lastTransitionTime": since},
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": since},
        ]},
    }))
}

/// Expects one problem: about an object, with a reason, and with words in its sentence.
#[track_caller]
pub(super) fn expect(problems: &[Problem], about: &str, reason: &str, words: &[&str]) {
    let [problem] = problems else { panic!("{problems:#?}") };
    assert_eq!((problem.object.as_str(), problem.reason.as_str()), (about, reason), "{problem}");
    assert!(!reason.contains(' ') && !problem.cause.is_empty() && !problem.remedy.is_empty());
    let sentence = problem.to_string();
    assert!(!sentence.contains('\n'), "{sentence}");
    for word in words {
        assert!(sentence.contains(word), "no {word:?} in {sentence}");
    }
}
