//! Operator, agents, proxies and nodes.

use super::fixtures::{expect, object, report, well};
use crate::{
    cluster::Denied,
    status::{report::Presence, seen::Seen},
};
use k8s_openapi::api::apps::v1::{DaemonSetStatus, DeploymentStatus};
use serde_json::json;

/// Makes something of a status that is well.
type Change = fn(&mut DaemonSetStatus);

const OPERATOR: &str = "Deployment system/penstock-operator";
const PROXY: &str = "DaemonSet system/penstock-proxy";

#[test]
fn a_workload_says_what_no_pod_says() {
    let cases: [(&str, Change, &str, &[&str]); 5] = [
        (
            "no node",
            |status| {
                status.desired_number_scheduled = 0;
                status.number_ready = 0;
            },
            "NoneWanted",
            &["no node is to have one", "proxy.tolerations"],
        ),
        (
            "not made",
            |status| {
                status.desired_number_scheduled = 3;
            },
            "NotMade",
            &["2 of 3 pods have been made", "--wait"],
        ),
        (
            "not ready, and no pod says why",
            |status| status.number_ready = 1,
            "NotReady",
            &["1 of 2 pods are ready"],
        ),
        (
            "an update",
            |status| status.updated_number_scheduled = Some(1),
            "Updating",
            &["1 of 2 pods are of the current template"],
        ),
        (
            "not seen",
            |status| status.observed_generation = Some(0),
            "NotObserved",
            &["controller manager"],
        ),
    ];
    for (name, change, reason, words) in cases {
        let mut seen = well();
        change(seen.proxy.as_mut().and_then(|set| set.status.as_mut()).expect(name));
        expect(&seen, PROXY, reason, words);
    }
}

#[test]
fn pods_that_are_refused_are_explained_by_who_refuses_them() {
    let mut seen = well();
    let status: DaemonSetStatus = object(json!({
        "observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 0,
        "numberReady": 0, "numberMisscheduled": 0,
    }));
    seen.agent.as_mut().expect("a set").status = Some(status);
    seen.pods.retain(|pod| pod.metadata.name.as_deref().is_some_and(|n| !n.contains("agent")));
    seen.events = vec![object(json!({
        "metadata": {}, "type": "Warning", "reason": "FailedCreate",
        "involvedObject": {"kind": "DaemonSet", "name": "penstock-agent"},
        "message": "pods \"x\" is forbidden: violates PodSecurity \"baseline\": host namespaces",
        "lastTimestamp": "2026-05-01T11:59:00Z",
    }))];
    let words = ["violates PodSecurity", "Pod Security, quotas"];
    expect(&seen, "DaemonSet system/penstock-agent", "FailedCreate", &words);
    assert_eq!(report(&seen).nodes[0].agent, Presence::Absent);

    let mut seen = well();
    let status: DeploymentStatus = object(json!({
        "observedGeneration": 1, "replicas": 0,
        "conditions": [{
            "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
            "message": "exceeded quota",
        }],
    }));
    seen.operator.as_mut().expect("a Deployment").status = Some(status);
    expect(&seen, OPERATOR, "FailedCreate", &["exceeded quota"]);
}

#[test]
fn a_component_that_is_gone_or_not_wanted_is_a_problem() {
    let mut seen = well();
    seen.proxy = None;
    expect(&seen, PROXY, "Missing", &["helm upgrade"]);
    let mut seen = well();
    let operator = seen.operator.as_mut().expect("a Deployment");
    operator.spec.as_mut().expect("a spec").replicas = Some(0);
    operator.status = Some(object(json!({"observedGeneration": 1})));
    expect(&seen, OPERATOR, "NoneWanted", &["operator.replicas"]);
}

#[test]
fn the_leader_is_the_holder_of_a_lease_that_is_renewed() {
    assert_eq!(report(&well()).components[0].leader.as_deref(), Some("penstock-operator-a"));
    let lease = |spec| Some(object(json!({"metadata": {}, "spec": spec})));
    for (lease, words) in [
        (None, "no replica has ever led"),
        (lease(json!({"holderIdentity": ""})), "gave the lease back"),
        (
            lease(json!({
                "holderIdentity": "penstock-operator-a", "leaseDurationSeconds": 15,
                "renewTime": "2026-05-01T11:59:00.000000Z",
            })),
            "penstock-operator-a has not renewed the lease for 60 s",
        ),
        (lease(json!({"holderIdentity": "a"})), "a has not renewed the lease;"),
    ] {
        let mut seen = well();
        seen.lease = lease;
        expect(&seen, "Lease system/penstock-operator", "NoLeader", &[words, "nodes serve what"]);
    }
}

#[test]
fn versions_that_differ_are_named() {
    let mut seen = well();
    let spec = seen.agent.as_mut().expect("a set").spec.as_mut().expect("a spec");
    let image = "docker.io/penstock/penstock-agent:0.2.0";
    spec.template.spec.as_mut().expect("a spec").containers[0].image = Some(image.into());
    for pod in &mut seen.pods[2..4] {
        pod.spec.as_mut().expect("a spec").containers[0].image = Some(image.into());
    }
    let words = ["penstock-agent is 0.2.0", "penstock-proxy is 0.1.0", "helm upgrade"];
    expect(&seen, "Namespace system", "MixedVersions", &words);
}

#[test]
fn during_an_update_both_versions_are_shown_and_the_better_pod_of_a_node_counts() {
    let mut seen = well();
    let mut new = super::fixtures::pod("penstock-proxy", "new", "node-1");
    let spec = new.spec.as_mut().expect("a spec");
    spec.containers[0].image = Some("docker.io/penstock/penstock-proxy:0.2.0".into());
    new.status = Some(object(json!({"phase": "Pending"})));
    seen.pods.push(new);
    let report = report(&seen);
    assert_eq!(report.components[2].versions, ["0.1.0", "0.2.0"]);
    assert_eq!(report.nodes[0].proxy, Presence::Ready);
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
}

#[test]
fn what_may_not_be_read_is_named_with_verb_and_resource_and_nothing_is_said_of_it() {
    let denied = |verb, resource: &str, group: &str, namespace: Option<&str>| Denied {
        verb,
        resource: resource.into(),
        group: group.into(),
        namespace: namespace.map(str::to_owned),
    };
    let mut seen = well();
    seen.lease = None;
    seen.denied = vec![denied("get", "leases", "coordination.k8s.io", Some("system"))];
    let words =
        ["may not get leases.coordination.k8s.io in namespace system", "a role with verb get"];
    expect(&seen, "Rights get leases.coordination.k8s.io", "Forbidden", &words);

    let mut seen = well();
    seen.nodes.clear();
    seen.denied = vec![denied("list", "nodes", "", None)];
    expect(&seen, "Rights list nodes", "Forbidden", &["list nodes in the whole cluster"]);

    let denied = vec![denied("list", "deployments", "apps", None)];
    let seen = Seen { denied, ..Seen::default() };
    expect(&seen, "Rights list deployments.apps", "Forbidden", &["say with -n where"]);
}
