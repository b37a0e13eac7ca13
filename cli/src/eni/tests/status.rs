//! What nodes have, and what is wrong.

use super::fixtures::{NOW, expect, node, object, published, set, waits, well};
use crate::{
    cluster::{Denied, Problem},
    eni::{
        judge::{NO_ADDRESS, judge},
        report::Report,
        seen::Seen,
        show,
    },
};
use penstock_resources::penstock_node::{AddressProblem, PenstockNodeStatus};
use serde_json::json;

fn report(seen: &Seen) -> Report {
    let report = judge(seen).only(&[]).expect("all nodes");
    assert_eq!(report.well, report.problems.is_empty());
    report
}

fn problems(seen: &Seen) -> Vec<Problem> {
    report(seen).problems
}

/// What is published of a node.
fn status(seen: &mut Seen, at: usize) -> &mut PenstockNodeStatus {
    let object = &mut seen.published.as_mut().expect("the kind is defined")[at];
    object.status.as_mut().expect("a status")
}

#[test]
fn a_cluster_in_which_everything_is_well_is_a_table_with_totals() {
    let report = report(&well());
    assert_eq!(
        show::status(&report),
        "\
Addresses of nodes at https://api, Kubernetes v1.36.0

NODE            TYPE      ZONE           ENIS  PREFIXES  USED  FREE  CAPACITY  PENDING  PROBLEM
node-1          m5.large  eu-central-1a  2     0         10    8     27        0
node-2          m5.large  eu-central-1a  2     0         10    8     232       0
total: 2 nodes                           4     0         20    16    259       0

everything is well
"
    );
    let value = serde_json::to_value(&report).expect("JSON");
    for (pointer, wanted) in [
        ("/well", json!(true)),
        ("/nodes/0/instanceType", json!("m5.large")),
        ("/nodes/1/addresses/capacity", json!(232)),
        ("/nodes/1/problem", json!(null)),
        ("/totals/nodes", json!(2)),
        ("/totals/used", json!(20)),
        ("/problems", json!([])),
    ] {
        assert_eq!(value.pointer(pointer), Some(&wanted), "{pointer}");
    }
    assert_eq!(value.get("ofNodes"), None);
}

#[test]
fn a_node_that_nothing_is_published_of_is_named_with_why() {
    let mut seen = well();
    seen.published.as_mut().expect("the kind is defined").remove(1);
    let words = ["has no PenstockNode", "kubectl -n system logs deploy/penstock-operator"];
    expect(&problems(&seen), "Node node-2", "NotPublished", &words);
    let text = show::status(&report(&seen));
    assert!(text.contains("node-2         c5.4xlarge  eu-central-1a  -  "), "{text}");
    seen.nodes[1].spec.as_mut().expect("a spec").provider_id = None;
    expect(&problems(&seen), "Node node-2", "NoInstance", &["no spec.providerID"]);
}

#[test]
fn an_object_whose_node_is_gone_is_named() {
    let mut seen = well();
    seen.nodes.remove(1);
    let words = ["no Node of that name", "kubectl delete penstocknode node-2"];
    expect(&problems(&seen), "PenstockNode node-2", "NodeGone", &words);
}

#[test]
fn the_problem_of_a_node_is_said_with_what_is_missing_and_what_to_do() {
    for (reason, missing, words) in [
        ("InstanceFull", 3, ["3 addresses are missing: it is so", "larger type"]),
        ("NoSubnet", 1, ["1 address is missing", "correct eni.nodeSpec"]),
        (
            "Refused",
            0,
            [
                "PenstockNode node-1: it is so",
                "kubectl -n system exec deploy/penstock-operator -- /penstock-operator preflight",
            ],
        ),
    ] {
        let mut seen = well();
        let problem =
            AddressProblem { reason: reason.into(), missing, message: "it is\n so".into() };
        status(&mut seen, 0).problem = Some(problem);
        expect(&problems(&seen), "PenstockNode node-1", reason, &words);
        assert!(show::status(&report(&seen)).contains(&format!("27        0        {reason}\n")));
    }
}

#[test]
fn a_taint_that_stays_longer_than_a_minute_is_a_problem() {
    let mut seen = well();
    let taint = json!({"key": "node.penstock.dev/agent-not-ready", "effect": "NoExecute"});
    let spec = seen.nodes[0].spec.as_mut().expect("a spec");
    spec.taints = Some(vec![object(taint)]);
    let words =
        ["has had the taint node.penstock.dev/agent-not-ready for 14400 s", "penstock status"];
    expect(&problems(&seen), "Node node-1", "AgentNotReady", &words);
    // Longer than a minute ago, and not.
    for (added, is_well) in [("2026-05-01T11:59:00Z", true), ("2026-05-01T11:58:59Z", false)] {
        let spec = seen.nodes[0].spec.as_mut().expect("a spec");
        spec.taints.as_mut().expect("a taint")[0].time_added = Some(object(json!(added)));
        assert_eq!(report(&seen).well, is_well, "{added}");
    }
    // Another taint is somebody else's.
    let spec = seen.nodes[0].spec.as_mut().expect("a spec");
    spec.taints.as_mut().expect("a taint")[0].key = "node.kubernetes.io/unschedulable".into();
    assert_eq!(problems(&seen), []);
}

#[test]
fn pods_that_wait_for_addresses_are_told_from_pods_that_wait_for_something_else() {
    let mut seen = well();
    seen.pending =
        ["a", "b", "c", "d"].map(|pod| waits(pod, "node-1", "2026-05-01T11:59:00Z")).into();
    // Perhaps an image is being pulled.
    assert_eq!(problems(&seen), []);
    let addresses = &mut status(&mut seen, 0).addresses;
    (addresses.free, addresses.pending) = (0, 4);
    let words = ["pods wait for addresses: shop/a, shop/b, shop/c and 1 more"];
    expect(&problems(&seen), "Node node-1", "PodsWait", &words);
    // Or kubelet was told so.
    let addresses = &mut status(&mut seen, 0).addresses;
    (addresses.free, addresses.pending) = (8, 0);
    seen.events = vec![object(json!({
        "metadata": {"name": "e", "namespace": "shop"}, "reason": "FailedCreatePodSandBox",
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "b"},
        "message": format!("plugin type=\"penstock-cni\" failed (add): {}: 9 of 9", NO_ADDRESS[0]),
    }))];
    expect(&problems(&seen), "Node node-1", "PodsWait", &["shop/b;"]);
    // Not for long, or in the node's own network.
    seen.pending[1] = waits("b", "node-1", NOW);
    assert_eq!(problems(&seen), []);
    seen.pending[1] = waits("b", "node-1", "2026-05-01T11:00:00Z");
    seen.pending[1].spec.as_mut().expect("a spec").host_network = Some(true);
    assert_eq!(problems(&seen), []);
}

#[test]
fn the_words_that_pods_wait_by_are_those_of_the_pool() {
    let none = penstock_pool::NoAddress { all: 1, used: 1, fenced: 0, unready: 0 };
    assert!(none.to_string().starts_with(NO_ADDRESS[0]), "{none}");
}

#[test]
fn a_cluster_that_is_not_in_eni_mode_is_said_not_to_be_and_nothing_else() {
    let mut seen = well();
    seen.published = Some(vec![]);
    seen.sets.push(set("kube-system", "aws-node", 2));
    let operator = seen.operator.as_mut().and_then(|operator| operator.spec.as_mut());
    let pod = operator.and_then(|spec| spec.template.spec.as_mut()).expect("a spec");
    pod.containers[0].env = None;
    let about = "Deployment system/penstock-operator";
    expect(
        &problems(&seen),
        about,
        "NotInEniMode",
        &["eni.enabled=true", "penstock eni preflight"],
    );
    seen.operator = None;
    expect(&problems(&seen), "Cluster", "NotInstalled", &["helm install penstock charts/penstock"]);
}

#[test]
fn an_operator_that_publishes_nothing_is_named_once() {
    let mut seen = well();
    seen.published = None;
    let about = "CustomResourceDefinition PenstockNode (penstock.dev)";
    expect(&problems(&seen), about, "DefinitionMissing", &["crds.install=true"]);
    seen.published = Some(vec![]);
    let about = "Deployment system/penstock-operator";
    expect(&problems(&seen), about, "NothingPublished", &["no replica leads", "logs deploy/"]);
}

#[test]
fn another_cni_plugin_and_too_many_pods_are_problems_of_a_cluster_that_runs() {
    let mut seen = well();
    seen.sets.push(set("kube-system", "aws-node", 2));
    expect(&problems(&seen), "DaemonSet kube-system/aws-node", "AwsNodeRuns", &["runs on 2 of 2"]);
    let mut seen = well();
    // What EC2 says counts, and not what this command knows.
    status(&mut seen, 0).addresses.capacity = 26;
    expect(&problems(&seen), "Instance type m5.large", "TooFewAddresses", &["26 addresses", "=28"]);
    status(&mut seen, 0).addresses.capacity = 0;
    assert_eq!(problems(&seen), [], "it is not known yet");
}

#[test]
fn some_nodes_are_shown_by_name_and_one_that_does_not_exist_is_refused() {
    let mut seen = well();
    seen.nodes.push(node("node-3", "m5.large"));
    seen.published.as_mut().expect("the kind is defined").push(published("node-4", 27));
    let only = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        judge(&seen).only(&names)
    };
    let report = only(&["node-3", "node-1"]).expect("they are there");
    let names: Vec<_> = report.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["node-1", "node-3"]);
    assert_eq!((report.totals.nodes, report.totals.addresses.used), (1, 10));
    expect(&report.problems, "Node node-3", "NotPublished", &[]);
    assert!(only(&["node-1"]).expect("it is there").well);
    let error = only(&["node-9"]).expect_err("there is none").to_string();
    assert!(error.contains("--node node-9") && error.contains("kubectl get nodes"), "{error}");
}

#[test]
fn what_may_not_be_read_is_said_and_nothing_is_made_of_it() {
    let mut seen = well();
    (seen.operator, seen.published) = (None, Some(vec![]));
    let denied = |resource: &str, group: &str| Denied {
        verb: "list",
        resource: resource.into(),
        group: group.into(),
        namespace: None,
    };
    seen.denied = vec![denied("deployments", "apps"), denied("penstocknodes", "penstock.dev")];
    let reasons: Vec<_> = problems(&seen).into_iter().map(|problem| problem.reason).collect();
    assert_eq!(reasons, ["Forbidden", "Forbidden"]);
}
