//! A cluster in which everything is well, and parts of it.

use crate::{
    cluster::Problem,
    status::{judge::judge, report::Report, seen::Seen},
};
use k8s_openapi::{
    api::core::v1::{Event, Pod},
    jiff::Timestamp,
};
use penstock_resources::gateway_api::{Gateway, HttpRoute};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(super) const NOW: &str = "2026-05-01T12:00:00Z";
const IMAGE: &str = "docker.io/penstock/";

/// An object from JSON.
pub(super) fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

/// Everything is well: two replicas, two nodes, a Gateway with a route, a filter and a pool.
pub(super) fn well() -> Seen {
    let node = |name: &str| {
        object(json!({
            "metadata": {"name": name},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "nodeInfo": {
                    "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "",
                    "kernelVersion": "6.12.0", "kubeProxyVersion": "", "kubeletVersion": "",
                    "machineID": "", "operatingSystem": "linux", "osImage": "", "systemUUID": "",
                },
            },
        }))
    };
    let set = |name: &str| {
        Some(object(json!({
            "metadata": {"name": name, "namespace": "system", "generation": 1},
            "spec": {"selector": {}, "template": template(name)},
            "status": {
                "observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
                "numberReady": 2, "updatedNumberScheduled": 2, "numberMisscheduled": 0,
            },
        })))
    };
    Seen {
        now: NOW.parse::<Timestamp>().expect("a time"),
        server: "https://api".into(),
        kubernetes: "v1.36.0".into(),
        namespaces: ["system".to_owned()].into(),
        namespace: Some("system".into()),
        operator: Some(object(json!({
            "metadata": {
                "name": "penstock-operator", "namespace": "system", "generation": 1,
                "annotations": {
                    "penstock.dev/gateway-class": "penstock",
                    "penstock.dev/not-in-this-version": "",
                },
            },
            "spec": {"replicas": 2, "selector": {}, "template": template("penstock-operator")},
            "status": {
                "observedGeneration": 1, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 2,
            },
        }))),
        agent: set("penstock-agent"),
        proxy: set("penstock-proxy"),
        lease: Some(object(json!({
            "metadata": {"name": "penstock-operator", "namespace": "system"},
            "spec": {
                "holderIdentity": "penstock-operator-a", "leaseDurationSeconds": 15,
                "renewTime": "2026-05-01T11:59:58.000000Z",
            },
        }))),
        pods: vec![
            pod("penstock-operator", "a", "node-1"),
            pod("penstock-operator", "b", "node-2"),
            pod("penstock-agent", "a", "node-1"),
            pod("penstock-agent", "b", "node-2"),
            pod("penstock-proxy", "a", "node-1"),
            pod("penstock-proxy", "b", "node-2"),
        ],
        events: Vec::new(),
        nodes: vec![node("node-1"), node("node-2")],
        classes: vec![object(json!({
            "metadata": {"name": "penstock", "generation": 1},
            "spec": {"controllerName": "penstock.dev/gateway-controller"},
            "status": {"conditions": conditions(&[("Accepted", "True", "Accepted")])},
        }))],
        gateways: vec![gateway()],
        routes: vec![route("app")],
        filters: vec![object(json!({
            "metadata": {"name": "f", "namespace": "shop", "generation": 1},
            "spec": {"module": {"configMap": {"name": "m", "key": "m.wasm"}}},
            // Nobody uses it.
            "status": {"conditions": conditions(&[
                ("Accepted", "True", "Accepted"), ("ResolvedRefs", "True", "ResolvedRefs"),
                ("Programmed", "False", "Pending"),
            ])},
        }))],
        pools: vec![object(json!({
            "metadata": {"name": "edge", "generation": 1},
            "spec": {"ranges": [{"cidr": "192.0.2.0/29"}]},
            "status": {
                "conditions": conditions(&[("Accepted", "True", "Accepted")]),
                "used": 1, "free": "7",
            },
        }))],
        ..Seen::default()
    }
}

fn template(name: &str) -> Value {
    json!({
        "metadata": {},
        "spec": {"containers": [{"name": "main", "image": format!("{IMAGE}{name}:0.1.0")}]},
    })
}

/// Conditions of generation 1.
pub(super) fn conditions(list: &[(&str, &str, &str)]) -> Value {
    let one = |(type_, status, reason): &(&str, &str, &str)| {
        json!({
            "type": type_, "status": status, "reason": reason, "message": format!("about {reason}"),
            "observedGeneration": 1, "lastTransitionTime": NOW,
        })
    };
    list.iter().map(one).collect()
}

/// A pod that is ready.
pub(super) fn pod(component: &str, end: &str, node: &str) -> Pod {
    let name = format!("{component}-{end}");
    object(json!({
        "metadata": {
            "name": name, "namespace": "system",
            "labels": {"app.kubernetes.io/name": component},
        },
        "spec": {
            "nodeName": node,
            "containers": [{"name": "main", "image": format!("{IMAGE}{component}:0.1.0")}],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }))
}

/// The proxy on node-2 with another status, and the DaemonSet that knows of it.
pub(super) fn unready(status: Value) -> Seen {
    let mut seen = well();
    let pod = &mut seen.pods[5];
    pod.status = Some(object(status));
    let set = seen.proxy.as_mut().expect("a set").status.as_mut().expect("a status");
    set.number_ready = 1;
    seen
}

/// A status of a pod whose one container is in a state.
pub(super) fn container(state: Value, last: Value) -> Value {
    json!({
        "phase": "Running",
        "conditions": [
            {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"},
        ],
        "containerStatuses": [{
            "name": "main", "image": "docker.io/penstock/penstock-proxy:0.1.0", "imageID": "",
            "ready": false, "restartCount": 4, "state": state, "lastState": last,
        }],
    })
}

/// A warning about the proxy on node-2.
pub(super) fn warning(reason: &str, message: &str, at: &str) -> Event {
    object(json!({
        "metadata": {"name": "e", "namespace": "system"}, "type": "Warning",
        "involvedObject": {"kind": "Pod", "name": "penstock-proxy-b"},
        "reason": reason, "message": message, "lastTimestamp": at,
    }))
}

/// A Gateway with one listener, in service.
pub(super) fn gateway() -> Gateway {
    let good =
        conditions(&[("Accepted", "True", "Accepted"), ("Programmed", "True", "Programmed")]);
    object(json!({
        "metadata": {"name": "web", "namespace": "shop", "generation": 1},
        "spec": {
            "gatewayClassName": "penstock",
            "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}],
        },
        "status": {
            "addresses": [{"type": "IPAddress", "value": "192.0.2.1"}],
            "conditions": good,
            "listeners": [{
                "name": "http", "attachedRoutes": 1, "supportedKinds": [],
                "conditions": conditions(&[
                    ("Accepted", "True", "Accepted"), ("ResolvedRefs", "True", "ResolvedRefs"),
                    ("Programmed", "True", "Programmed"),
                ]),
            }],
        },
    }))
}

/// A route to that Gateway that is accepted.
pub(super) fn route(name: &str) -> HttpRoute {
    object(json!({
        "metadata": {"name": name, "namespace": "shop", "generation": 1},
        "spec": {"parentRefs": [{"name": "web"}]},
        "status": {"parents": [{
            "controllerName": "penstock.dev/gateway-controller",
            "parentRef": {"name": "web"},
            "conditions": conditions(&[
                ("Accepted", "True", "Accepted"), ("ResolvedRefs", "True", "ResolvedRefs"),
            ]),
        }]},
    }))
}

/// Judges and checks what holds of every report.
pub(super) fn report(seen: &Seen) -> Report {
    let report = judge(seen);
    assert_eq!(report.well, report.problems.is_empty());
    for problem in &report.problems {
        let Problem { object, reason, cause, remedy } = problem;
        for text in [object, reason, cause, remedy] {
            assert!(!text.is_empty() && !text.contains('\n'), "{problem:?}");
        }
        assert!(!reason.contains(' '), "{problem:?}");
    }
    report
}

/// Expects one problem: about an object, with a reason, and with words in its sentence.
#[track_caller]
pub(super) fn expect(seen: &Seen, object: &str, reason: &str, words: &[&str]) {
    let report = report(seen);
    let [problem] = report.problems.as_slice() else { panic!("{:#?}", report.problems) };
    assert_eq!((problem.object.as_str(), problem.reason.as_str()), (object, reason), "{problem}");
    let sentence = problem.to_string();
    for word in words {
        assert!(sentence.contains(word), "no {word:?} in {sentence}");
    }
}
