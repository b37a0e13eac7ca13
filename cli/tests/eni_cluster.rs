//! `penstock eni status` and `penstock eni preflight` against a real API server with the chart's own
//! objects. What the operator and controllers would write is written by the test.

mod support;

use kube::Client;
use penstock_test_api_server::{
    objects::{self, apply, apply_status, delete},
    server::{self, ADMINISTRATOR, STRANGER, Server, unique},
};
use serde_json::{Value, json};
use std::process::Output;
use support::cluster::{ask, block_on, chart, err, kubeconfig, out};

const DELETE: &str = "kubectl -n kube-system delete daemonset aws-node";

fn eni(command: &str, config: &str, arguments: &[&str]) -> Output {
    let arguments: Vec<&str> = ["--kubeconfig", config].iter().chain(arguments).copied().collect();
    ask(&["eni", command], &arguments)
}

/// Expects an exit code and words in what is printed.
#[track_caller]
fn expect(output: &Output, code: i32, words: &[&str]) {
    let text = out(output);
    assert_eq!(output.status.code(), Some(code), "{text}{}", err(output));
    for word in words {
        assert!(text.contains(word), "no {word:?} in\n{text}");
    }
}

fn node(name: &str, kind: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {
            "node.kubernetes.io/instance-type": kind,
            "topology.kubernetes.io/zone": "eu-central-1a",
        }},
        "spec": {"providerID": format!("aws:///eu-central-1a/i-{name}")},
    })
}

async fn join(client: &Client, name: &str, kind: &str) {
    let mut node = node(name, kind);
    apply(client, node.clone()).await;
    node["status"] = json!({"allocatable": {"pods": "29"}});
    apply_status(client, node).await;
}

/// As the operator publishes it.
async fn publish(client: &Client, name: &str, problem: Option<Value>) {
    let mut object = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "PenstockNode",
        "metadata": {"name": name}, "spec": {},
    });
    apply(client, object.clone()).await;
    object["status"] = json!({
        "instanceId": format!("i-{name}"), "instanceType": "m5.large", "zone": "eu-central-1a",
        "vpc": "vpc-1",
        "addresses": {
            "interfaces": 2, "prefixes": 0, "used": 5, "free": 8, "pending": 0, "releasing": 0,
            "capacity": 27,
        },
    });
    if let Some(problem) = problem {
        object["status"]["problem"] = problem;
    }
    apply_status(client, object).await;
}

async fn daemon_set(client: &Client, name: &str, selector: Value) {
    let set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {
            "selector": {"matchLabels": {"k8s-app": name}},
            "template": {
                "metadata": {"labels": {"k8s-app": name}},
                "spec": {
                    "nodeSelector": selector,
                    "containers": [{"name": "main", "image": "none"}],
                },
            },
        },
    });
    apply(client, set).await;
}

/// One test for all that needs the API server: what it shows is a story of one cluster.
#[test]
fn from_a_fresh_cluster_to_one_whose_pods_have_addresses_of_the_vpc() {
    let server = server::shared();
    let folder = tempfile::tempdir().expect("a folder");
    let config = kubeconfig(&folder, &server.url(), ADMINISTRATOR);
    let config = config.to_str().expect("UTF-8");
    let client = block_on(async { server.client() });

    before(&client, config);
    let namespace = installed(&client, config);
    published(&client, config, &namespace);
    strangers(server, &folder);
    misspelt(config);
}

/// Before the chart: everything that stands in the way, and then nothing.
fn before(client: &Client, config: &str) {
    block_on(async {
        apply(client, objects::namespace("kube-system")).await;
        join(client, "node-1", "m5.large").await;
        join(client, "node-2", "m5.large").await;
        let mut stranger = node("node-3", "m5.large");
        stranger["spec"] = json!({});
        apply(client, stranger).await;
        daemon_set(client, "aws-node", json!({})).await;
    });
    expect(
        &eni("preflight", config, &["--first-interface-index", "1"]),
        1,
        &[
            ": 3 nodes, with single addresses from interface 1 on",
            "DaemonSet kube-system/aws-node: EKS's own CNI plugin runs on 3 of 3 nodes",
            DELETE,
            "DaemonSet kube-system/kube-proxy: it runs on no node: Services",
            "Node node-3: it has no spec.providerID",
            "Instance type m5.large: kubelet takes 29 pods, and there are 18 addresses at most: node-1, \
             node-2; give kubelet --max-pods=20",
        ],
    );
    let output = eni("preflight", config, &["-o", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let reasons = report["problems"].as_array().expect("problems").iter();
    let reasons: Vec<_> =
        reasons.map(|problem| problem["reason"].as_str().expect("a word")).collect();
    assert_eq!(reasons, ["AwsNodeRuns", "NoKubeProxy", "NoInstance"]);
    expect(
        &eni("status", config, &[]),
        1,
        &["Cluster: Penstock is not installed in this cluster", "penstock eni preflight", "node-1"],
    );
    block_on(async {
        daemon_set(client, "aws-node", json!({"no": "such"})).await;
        daemon_set(client, "kube-proxy", json!({})).await;
        delete(client, &node("node-3", "m5.large")).await;
    });
    expect(&eni("preflight", config, &[]), 0, &[": 2 nodes", "\n\nnothing stands in the way\n"]);
    eni_configs(client, config);
}

/// What aws-node's custom networking left.
fn eni_configs(client: &Client, config: &str) {
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "eniconfigs.crd.k8s.amazonaws.com"},
        "spec": {
            "group": "crd.k8s.amazonaws.com", "scope": "Cluster",
            "names": {"plural": "eniconfigs", "singular": "eniconfig", "kind": "ENIConfig"},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    });
    let left = json!({
        "apiVersion": "crd.k8s.amazonaws.com/v1alpha1", "kind": "ENIConfig",
        "metadata": {"name": "eu-central-1a"}, "spec": {"subnet": "subnet-1"},
    });
    block_on(async {
        let definition = serde_json::from_value(definition).expect("a definition");
        objects::install(client, vec![definition]).await;
        apply(client, left.clone()).await;
    });
    let words = "ENIConfig eu-central-1a: aws-node's custom networking is not read by Penstock: \
                 eu-central-1a (subnet-1); take their subnets";
    expect(&eni("preflight", config, &[]), 1, &[words]);
    block_on(delete(client, &left));
    expect(&eni("preflight", config, &[]), 0, &[]);
}

/// The chart is installed, and nobody runs it.
fn installed(client: &Client, config: &str) -> String {
    let namespace = unique("system");
    block_on(async {
        objects::install(client, penstock_resources::definitions().into()).await;
        apply(client, objects::namespace(&namespace)).await;
        let mut all = chart(&namespace).into_iter();
        let mut operator = all
            .find(|o| o["kind"] == "Deployment" && o["metadata"]["name"] == "penstock-operator")
            .expect("the chart has an operator");
        operator["metadata"]["namespace"] = json!(namespace);
        apply(client, operator).await;
    });
    let operator =
        format!("Deployment {namespace}/penstock-operator: the operator has published nothing");
    expect(&eni("status", config, &[]), 1, &[&operator, "1 problem:", "penstock status says"]);
    namespace
}

/// The operator publishes what nodes have.
fn published(client: &Client, config: &str, namespace: &str) {
    let refused = json!({
        "reason": "Refused", "missing": 8,
        "message": "CreateNetworkInterface failed: Unauthorized: the operator's IAM role may not \
                    ec2:CreateTags on network-interface/*",
    });
    block_on(async {
        publish(client, "node-1", None).await;
        publish(client, "node-2", Some(refused)).await;
        publish(client, "node-9", None).await;
        join(client, "node-4", "m5.large").await;
    });
    let ask = format!(
        "kubectl -n {namespace} exec deploy/penstock-operator -- /penstock-operator preflight"
    );
    expect(
        &eni("status", config, &[]),
        1,
        &[
            "\nNODE            TYPE      ZONE           ENIS  PREFIXES  USED  FREE  CAPACITY  PENDING  PROBLEM\n",
            "\nnode-1          m5.large  eu-central-1a  2     0         5     8     27        0\n",
            "\nnode-2          m5.large  eu-central-1a  2     0         5     8     27        0        Refused\n",
            "\nnode-4          m5.large  eu-central-1a  -     -         -     -     -         -\n",
            "\ntotal: 3 nodes",
            "3 problems:\n",
            "PenstockNode node-2: 8 addresses are missing: CreateNetworkInterface failed: Unauthorized: the \
             operator's IAM role may not ec2:CreateTags on network-interface/*; ",
            &ask,
            "Node node-4: it has no PenstockNode: the operator does not look after it",
            "PenstockNode node-9: there is no Node of that name any more",
        ],
    );
    expect(&eni("status", config, &["--node", "node-1"]), 0, &["node-1", "everything is well"]);
    let output = eni("status", config, &["--node", "node-2", "--node", "node-1", "-o", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["totals"]["used"], 10, "{report:#}");
    assert_eq!(report["problems"][0]["reason"], "Refused", "{report:#}");
    let output = eni("status", config, &["--node", "node-1", "-o", "yaml"]);
    expect(&output, 0, &["capacity: 27", "problems: []"]);

    block_on(async {
        publish(client, "node-2", None).await;
        publish(client, "node-4", None).await;
        join(client, "node-9", "m5.large").await;
    });
    expect(&eni("status", config, &[]), 0, &["total: 4 nodes", "everything is well"]);
    block_on(daemon_set(client, "aws-node", json!({})));
    expect(&eni("status", config, &[]), 1, &["runs on 4 of 4 nodes", DELETE]);
}

/// Somebody who may read nothing is told so, verb by verb.
fn strangers(server: &Server, folder: &tempfile::TempDir) {
    let config = kubeconfig(folder, &server.url(), STRANGER);
    let config = config.to_str().expect("UTF-8");
    for (command, resource) in
        [("status", "pods"), ("preflight", "eniconfigs.crd.k8s.amazonaws.com")]
    {
        let output = eni(command, config, &[]);
        let denied = format!("you may not list {resource} in the whole cluster");
        let nodes = "have a role with verb list on penstocknodes.penstock.dev bound to you";
        expect(&output, 1, &[&denied, nodes]);
        let text = out(&output);
        assert!(!text.contains("not installed") && !text.contains("kube-proxy"), "{text}");
    }
}

fn misspelt(config: &str) {
    let output = eni("status", config, &["--node", "node-7"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("--node node-7: the cluster has no node"), "{}", err(&output));
    let output = eni("preflight", config, &["--first-interface-indx", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("--first-interface-index"), "{}", err(&output));
    let output = ask(&["eni", "status"], &["--kubeconfig", "/no/such"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("cannot read the kubeconfig /no/such"), "{}", err(&output));
}
