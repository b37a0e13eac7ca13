//! Why a pod is not ready.

use super::fixtures::{NOW, container, expect, report, unready, warning, well};
use crate::status::report::Presence;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

const POD: &str = "Pod system/penstock-proxy-b";
const NONE: Value = Value::Null;

#[test]
fn the_reason_of_a_pod_is_the_one_of_the_kubelet_or_the_scheduler() {
    let waiting = |reason: &str, message: &str| {
        container(json!({"waiting": {"reason": reason, "message": message}}), NONE)
    };
    let crash = |last: Value| {
        let state = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}});
        container(state, json!({"terminated": last}))
    };
    let old = json!({"running": {"startedAt": "2026-05-01T11:50:00Z"}});
    let new = json!({"running": {"startedAt": "2026-05-01T11:59:55Z"}});
    let unscheduled = json!({"phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/2 nodes are available:\n 2 Insufficient cpu.",
    }]});
    let cases: Vec<(Value, &str, Vec<&str>)> = vec![
        (
            waiting("ErrImagePull", "manifest unknown"),
            "ErrImagePull",
            vec!["penstock-proxy:0.1.0 cannot be pulled: manifest unknown", "image.pullSecrets"],
        ),
        (waiting("InvalidImageName", "no"), "InvalidImageName", vec!["image.repository"]),
        (
            crash(json!({"exitCode": 2, "message": "error: cannot bind\nport 80"})),
            "CrashLoopBackOff",
            vec![
                "exit code 2 (restarted 4 times): error: cannot bind port 80;",
                "kubectl -n system logs penstock-proxy-b -c main --previous",
            ],
        ),
        (
            crash(json!({"exitCode": 0, "signal": 11})),
            "CrashLoopBackOff",
            vec!["by signal 11 (restarted"],
        ),
        (
            crash(json!({"exitCode": 137, "reason": "OOMKilled"})),
            "OOMKilled",
            vec!["raise proxy.resources.limits.memory"],
        ),
        (
            container(json!({"terminated": {"exitCode": 1, "message": "first"}}), NONE),
            "CrashLoopBackOff",
            vec!["exit code 1", "first"],
        ),
        (
            waiting("CreateContainerConfigError", "secret \"x\" not found"),
            "CreateContainerConfigError",
            vec!["cannot be started: secret \"x\" not found", "describe pod penstock-proxy-b"],
        ),
        (waiting("ContainerCreating", ""), "Starting", vec!["is being made", "--wait"]),
        (
            unscheduled,
            "Unschedulable",
            vec!["0/2 nodes are available: 2 Insufficient cpu.", "proxy.nodeSelector"],
        ),
        (container(old, NONE), "ContainersNotReady", vec!["runs and is not ready", "logs"]),
        (container(new, NONE), "Starting", vec!["has just started", "--wait"]),
        (
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}),
            "Starting",
            vec!["has not started its containers"],
        ),
        (
            json!({"phase": "Running", "conditions": [
                {"type": "Ready", "status": "False", "message": "gate a/b is not true"},
            ]}),
            "NotReady",
            vec!["gate a/b is not true"],
        ),
        (
            json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}),
            "Evicted",
            vec!["low on memory"],
        ),
    ];
    for (status, reason, words) in cases {
        expect(&unready(status), POD, reason, &words);
    }
}

#[test]
fn warnings_say_more_and_the_last_one_counts() {
    let running = json!({"running": {"startedAt": "2026-05-01T11:50:00Z"}});
    let mut seen = unready(container(running, NONE));
    seen.events = vec![
        warning("Unhealthy", "Readiness probe failed: 503", "2026-05-01T11:59:00Z"),
        warning("Unhealthy", "Readiness probe failed: refused", "2026-05-01T11:51:00Z"),
        warning("BackOff", "something else", NOW),
    ];
    expect(&seen, POD, "Unhealthy", &["not ready: Readiness probe failed: 503;"]);

    let creating = json!({"waiting": {"reason": "ContainerCreating"}});
    let mut seen = unready(container(creating, NONE));
    seen.events = vec![warning("FailedMount", "hostPath type check failed", NOW)];
    expect(&seen, POD, "FailedMount", &["hostPath type check failed", "describe pod"]);
    // One of a former pod of this name says nothing.
    seen.events[0].involved_object.uid = Some("other".into());
    expect(&seen, POD, "Starting", &[]);

    let back_off = json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}});
    let mut seen = unready(container(back_off, NONE));
    seen.events = vec![warning("Failed", "manifest unknown", NOW)];
    expect(&seen, POD, "ImagePullBackOff", &["cannot be pulled: manifest unknown"]);
}

#[test]
fn a_long_last_message_keeps_its_end() {
    let message = format!("ü{}the end", "ü".repeat(900));
    let state = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let seen =
        unready(container(state, json!({"terminated": {"exitCode": 1, "message": message}})));
    let report = report(&seen);
    let cause = &report.problems[0].cause;
    assert!(cause.len() < 500 && cause.ends_with("üthe end"), "{cause}");
}

#[test]
fn an_init_container_counts_until_it_has_succeeded() {
    let mut status = container(json!({"waiting": {"reason": "PodInitializing"}}), NONE);
    let init = |state: Value| {
        json!([{
            "name": "init", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": state,
        }])
    };
    status["initContainerStatuses"] = init(json!({"terminated": {"exitCode": 3}}));
    expect(&unready(status.clone()), POD, "CrashLoopBackOff", &["container init ends", "code 3"]);
    status["initContainerStatuses"] = init(json!({"terminated": {"exitCode": 0}}));
    expect(&unready(status), POD, "Starting", &["container main"]);
}

#[test]
fn a_pod_that_ends_is_a_problem_when_it_does_not() {
    let mut seen = well();
    let mut old = super::fixtures::pod("penstock-proxy", "old", "node-1");
    let ending = |at: &str| Some(Time(at.parse().expect("a time")));
    old.metadata.deletion_timestamp = ending("2026-05-01T11:59:30Z");
    seen.pods.push(old);
    assert!(report(&seen).well);
    seen.pods[6].metadata.deletion_timestamp = ending("2026-05-01T11:50:00Z");
    let name = "Pod system/penstock-proxy-old";
    expect(&seen, name, "Terminating", &["still there on node node-1", "kubelet"]);
}

#[test]
fn what_is_left_of_an_evicted_pod_is_no_problem_when_another_took_its_place() {
    let mut seen = well();
    let mut old = super::fixtures::pod("penstock-operator", "old", "node-1");
    old.status = Some(super::fixtures::object(json!({"phase": "Failed", "reason": "Evicted"})));
    seen.pods.push(old);
    assert!(report(&seen).well);
}

#[test]
fn pods_on_a_node_that_is_down_are_explained_by_the_node() {
    let mut seen = unready(json!({
        "phase": "Running", "conditions": [{"type": "Ready", "status": "False"}],
    }));
    let status = seen.nodes[1].status.as_mut().expect("a status");
    status.conditions = Some(super::fixtures::object(json!([{
        "type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
    }])));
    let words = ["Kubelet stopped posting node status.", "delete the node object"];
    expect(&seen, "Node node-2", "NodeStatusUnknown", &words);
    let report = report(&seen);
    assert_eq!(report.components[2].unready[0].reason, "NodeNotReady");
    assert_eq!(report.nodes[1].agent, Presence::NotReady);
    assert_eq!(report.nodes[0].agent, Presence::Ready);
}
