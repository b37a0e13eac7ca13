//! `penstock status` against a real API server with the chart's own objects. What controllers and
//! kubelets would write is written by the test.

mod support;

use kube::Client;
use penstock_test_api_server::{
    objects::{self, apply, apply_status},
    server::{self, ADMINISTRATOR, STRANGER, Server, unique},
};
use serde_json::{Value, json};
use std::{process::Output, time::Duration};
use support::{
    Process,
    cluster::{ask, block_on, chart, err, is_namespaced, kubeconfig, out},
};

/// Runs `penstock status`.
fn status(arguments: &[&str]) -> Output {
    ask(&["status"], arguments)
}

/// A cluster with the chart installed.
struct Installed {
    client: Client,
    namespace: String,
    objects: Vec<Value>,
}

impl Installed {
    async fn new(client: Client, namespace: String) -> Self {
        apply(&client, objects::namespace(&namespace)).await;
        let mut objects = chart(&namespace);
        for object in &mut objects {
            if is_namespaced(object["kind"].as_str().expect("a kind")) {
                object["metadata"]["namespace"] = json!(namespace);
            }
            apply(&client, object.clone()).await;
        }
        Self { client, namespace, objects }
    }

    fn template(&self, name: &str) -> &Value {
        let workload = self.objects.iter().find(|object| {
            object["metadata"]["name"] == name && !object["spec"]["template"].is_null()
        });
        &workload.expect("a workload")["spec"]["template"]
    }

    /// Writes a status of an object of the namespace.
    async fn status(&self, api_version: &str, kind: &str, name: &str, status: Value) {
        let object = json!({
            "apiVersion": api_version, "kind": kind, "status": status,
            "metadata": {"name": name, "namespace": self.namespace},
        });
        apply_status(&self.client, object).await;
    }

    /// Plays a kubelet: a pod of a component on the node, ready or as said.
    async fn pod(&self, component: &str, status: Value) {
        let name = format!("{component}-1");
        let template = self.template(component);
        let mut spec = template["spec"].clone();
        spec["nodeName"] = json!("node-1");
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {
                "name": name, "namespace": self.namespace,
                "labels": template["metadata"]["labels"],
            },
        });
        apply(&self.client, pod).await;
        self.status("v1", "Pod", &name, status).await;
    }

    /// Plays everything that makes a cluster well, but for the proxy's pod.
    async fn all_but_proxy(&self) {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}});
        apply(&self.client, node.clone()).await;
        let mut status = node;
        status["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        apply_status(&self.client, status).await;
        self.status(
            "apps/v1",
            "Deployment",
            "penstock-operator",
            json!({"observedGeneration": 1, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 2}),
        )
        .await;
        self.set("penstock-agent", 1).await;
        self.set("penstock-proxy", 0).await;
        for component in ["penstock-operator", "penstock-agent"] {
            self.pod(component, ready()).await;
        }
        self.status_of_class("True").await;
    }

    async fn set(&self, name: &str, ready: i32) {
        let status = json!({
            "observedGeneration": 1, "desiredNumberScheduled": 1, "currentNumberScheduled": 1,
            "numberMisscheduled": 0, "numberReady": ready, "updatedNumberScheduled": 1,
        });
        self.status("apps/v1", "DaemonSet", name, status).await;
    }

    async fn status_of_class(&self, accepted: &str) {
        let object = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": "penstock"},
            "status": {"conditions": conditions(&[("Accepted", accepted, "Accepted")])},
        });
        apply_status(&self.client, object).await;
    }

    /// A replica that has just renewed the lease.
    async fn lead(&self) {
        let now = k8s_openapi::jiff::Timestamp::now();
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "penstock-operator", "namespace": self.namespace},
            "spec": {
                "holderIdentity": "penstock-operator-1", "leaseDurationSeconds": 3600,
                "renewTime": format!("{now:.6}"),
            },
        });
        apply(&self.client, lease).await;
    }
}

fn ready() -> Value {
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
}

/// Conditions of generation 1.
fn conditions(list: &[(&str, &str, &str)]) -> Value {
    let one = |(type_, status, reason): &(&str, &str, &str)| {
        json!({
            "type": type_, "status": status, "reason": reason, "message": format!("about {reason}"),
            "observedGeneration": 1, "lastTransitionTime": "2026-05-01T12:00:00Z",
        })
    };
    list.iter().map(one).collect()
}

/// One test for all that needs the API server: what it shows is a story of one cluster.
#[test]
fn from_an_empty_cluster_to_one_in_which_everything_is_well() {
    let server = server::shared();
    let folder = tempfile::tempdir().expect("a folder");
    let config = kubeconfig(&folder, &server.url(), ADMINISTRATOR);
    let config = config.to_str().expect("UTF-8");

    let output = status(&["--kubeconfig", config]);
    assert_eq!(output.status.code(), Some(1), "{}{}", out(&output), err(&output));
    let text = out(&output);
    for words in [
        "Cluster: Penstock is not installed in this cluster; install it with helm install",
        "CustomResourceDefinition HTTPRoute (gateway.networking.k8s.io): it is not installed",
        "CustomResourceDefinition WasmFilter (penstock.dev): it is not installed",
    ] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }

    let installed = block_on(async {
        let client = server.client();
        objects::install(&client, objects::definitions()).await;
        Installed::new(client, unique("system")).await
    });
    freshly_installed(&installed, config);
    broken(&installed, config);
    strangers(server, &installed, &folder);
    waited_for(&installed, config);
    routed(&installed, config);
}

/// Nobody has looked at anything yet.
fn freshly_installed(installed: &Installed, config: &str) {
    let output = status(&["--kubeconfig", config, "-o", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["namespace"], json!(installed.namespace), "it is found");
    let reasons: Vec<String> = report["problems"]
        .as_array()
        .expect("problems")
        .iter()
        .map(|p| format!("{} {}", p["object"].as_str().unwrap_or_default(), p["reason"]))
        .collect();
    let system = &installed.namespace;
    for wanted in [
        format!("Deployment {system}/penstock-operator \"NotObserved\""),
        format!("DaemonSet {system}/penstock-agent \"NotObserved\""),
        format!("Lease {system}/penstock-operator \"NoLeader\""),
        "GatewayClass penstock \"NotJudged\"".to_owned(),
    ] {
        assert!(reasons.contains(&wanted), "no {wanted} in {reasons:#?}");
    }
}

/// Everything runs but the proxy, whose image is not there.
fn broken(installed: &Installed, config: &str) {
    let pulls = json!({
        "phase": "Pending",
        "conditions": [
            {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"},
        ],
        "containerStatuses": [{
            "name": "proxy", "image": "docker.io/penstock/penstock-proxy:0.1.0", "imageID": "",
            "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}},
        }],
    });
    block_on(async {
        installed.all_but_proxy().await;
        installed.lead().await;
        installed.pod("penstock-proxy", pulls).await;
    });
    let output = status(&["--kubeconfig", config, "-n", &installed.namespace]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let text = out(&output);
    let sentence = format!(
        "1 problem:\n  Pod {}/penstock-proxy-1: image docker.io/penstock/penstock-proxy:0.1.0 cannot \
         be pulled: manifest unknown; correct image.repository",
        installed.namespace
    );
    for words in [
        sentence.as_str(),
        "leader penstock-operator-1",
        "node-1  yes    ready  not ready",
        "note: not in this version: hubble.enabled: flows are not recorded",
    ] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
}

/// Somebody who may read nothing is told so, verb by verb.
fn strangers(server: &Server, installed: &Installed, folder: &tempfile::TempDir) {
    let config = kubeconfig(folder, &server.url(), STRANGER);
    let config = config.to_str().expect("UTF-8");
    let output = status(&["--kubeconfig", config, "-n", &installed.namespace]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let text = out(&output);
    let place = format!("in namespace {}", installed.namespace);
    for words in [
        format!("you may not list deployments.apps {place}"),
        format!("you may not get leases.coordination.k8s.io {place}"),
        "you may not list gateways.gateway.networking.k8s.io in the whole cluster".to_owned(),
        "have a role with verb list on nodes bound to you".to_owned(),
    ] {
        assert!(text.contains(&words), "no {words:?} in\n{text}");
    }
    assert!(!text.contains("not installed") && !text.contains("it is not there"), "{text}");

    let config = kubeconfig(folder, &server.url(), "unknown");
    let output = status(&["--kubeconfig", config.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(2));
    let text = err(&output);
    assert!(text.contains("does not know who asks") && text.contains("renew"), "{text}");
}

/// `--wait` ends when the proxy comes up, and gives up when it does not.
fn waited_for(installed: &Installed, config: &str) {
    let arguments = ["--kubeconfig", config, "--wait", "--timeout", "3s"];
    let output = status(&arguments);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    assert!(out(&output).contains("cannot be pulled: manifest unknown"), "{}", out(&output));
    let told = err(&output);
    assert!(told.contains("gave up: not everything is well"), "{told}");
    let times = told.lines().filter(|line| line.contains("waiting: Pod ")).count();
    assert_eq!(times, 1, "a problem is told once:\n{told}");

    let mut waiting = Process::start(&["status", "--kubeconfig", config, "--wait"]);
    waiting.expect("waiting: Pod ");
    block_on(async {
        installed.pod("penstock-proxy", ready()).await;
        installed.set("penstock-proxy", 1).await;
    });
    waiting.expect_all(&["solved: Pod ", "everything is well"]);
    assert_eq!(waiting.wait().code(), Some(0));
}

/// A Gateway and a route that is not accepted.
fn routed(installed: &Installed, config: &str) {
    let client = &installed.client;
    let user = unique("user");
    block_on(async {
        apply(client, objects::namespace(&user)).await;
        apply(client, objects::gateway(&user, 80)).await;
        apply(client, objects::route(&user, "app", "/")).await;
        let mut gateway = objects::gateway(&user, 80);
        gateway["status"] = json!({
            "addresses": [{"type": "IPAddress", "value": "192.0.2.1"}],
            "conditions": conditions(&[
                ("Accepted", "True", "Accepted"), ("Programmed", "True", "Programmed"),
            ]),
            "listeners": [{
                "name": "http", "attachedRoutes": 1,
                "supportedKinds": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}],
                "conditions": conditions(&[
                    ("Accepted", "True", "Accepted"), ("ResolvedRefs", "True", "ResolvedRefs"),
                    ("Programmed", "True", "Programmed"),
                ]),
            }],
        });
        apply_status(client, gateway).await;
        let mut route = objects::route(&user, "app", "/");
        route["status"] = json!({"parents": [{
            "controllerName": "penstock.dev/gateway-controller",
            "parentRef": {"name": "web"},
            "conditions": conditions(&[
                ("Accepted", "True", "Accepted"), ("ResolvedRefs", "False", "BackendNotFound"),
            ]),
        }]});
        apply_status(client, route).await;
    });
    let output = status(&["--kubeconfig", config]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let text = out(&output);
    for words in [
        format!("{user}/web  penstock  192.0.2.1  yes       yes         http HTTP:80 (1 route)"),
        "HTTPRoutes: 0 of 1 well".to_owned(),
        format!(
            "HTTPRoute {user}/app: parent {user}/web: ResolvedRefs is False (BackendNotFound): about \
             BackendNotFound; create the Service"
        ),
    ] {
        assert!(text.contains(&words), "no {words:?} in\n{text}");
    }
}

#[test]
fn outside_of_a_cluster_the_error_says_what_is_missing() {
    let output = status(&[]);
    assert_eq!(output.status.code(), Some(2), "{}", out(&output));
    let text = err(&output);
    assert!(text.contains("kubeconfig") && text.contains("--kubeconfig"), "{text}");

    let output = status(&["--kubeconfig", "/nowhere/config"]);
    assert_eq!(output.status.code(), Some(2));
    let text = err(&output);
    assert!(text.contains("cannot read the kubeconfig /nowhere/config"), "{text}");

    let folder = tempfile::tempdir().expect("a folder");
    let config = kubeconfig(&folder, "https://127.0.0.1:1", "a");
    let config = config.to_str().expect("UTF-8");
    let output = status(&["--kubeconfig", config, "--context", "prod"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("has no context `prod`"), "{}", err(&output));

    let output = status(&["--kubeconfig", config]);
    assert_eq!(output.status.code(), Some(2));
    let text = err(&output);
    let words = "the API server https://127.0.0.1:1 cannot be reached: ";
    assert!(text.contains(words) && text.contains("refused") && text.contains("VPN"), "{text}");
}

#[test]
fn an_api_server_that_does_not_come_back_is_waited_for_until_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = kubeconfig(&folder, "https://127.0.0.1:1", "a");
    let start = std::time::Instant::now();
    let arguments = ["--kubeconfig", config.to_str().expect("UTF-8"), "--wait", "--timeout", "3s"];
    let output = status(&arguments);
    assert_eq!(output.status.code(), Some(2), "{}", out(&output));
    assert!(start.elapsed() >= Duration::from_secs(1), "it tries again");
    assert!(err(&output).contains("this is tried again"), "{}", err(&output));
}
