//! Pods get addresses, and reach each other and the world.

use anyhow::{Context as _, Result, ensure};
use penstock_e2e::{VpcSite, edge, get};
use penstock_test_cluster::{AGENT_TAINT, Node, Suite, install::NAMESPACE};
use serde_json::{Value, json};
use std::net::IpAddr;

pub(crate) const ALL: &[super::Scenario] = &[
    ("nodes are ready and without taint, and DNS runs on them", ready),
    ("the commands say that all is well", commands),
    ("a pod reaches pods, Services, nodes and the outside, with its own address", reach),
    ("a Gateway leads to pods with addresses of the VPC", gateway),
    ("conformance in a VPC", conformance),
    ("a node whose agent stays away gets its taint back, and loses it with the agent", away),
];

fn ready(site: &VpcSite) -> Result<()> {
    site.cluster().wait_for_nodes(std::time::Duration::from_secs(30))?;
    let nodes: Value = serde_json::from_str(&site.kubectl(&["get", "nodes", "-o", "json"])?)?;
    for node in nodes["items"].as_array().context("no list")? {
        let taints = node["spec"]["taints"].to_string();
        ensure!(!taints.contains("node.penstock.dev"), "{taints}");
    }
    site.kubectl(&[
        "-n",
        "kube-system",
        "rollout",
        "status",
        "deployment/coredns",
        "--timeout=60s",
    ])?;
    let shown = site.kubectl(&["get", "penstocknodes", "-o", "wide"])?;
    println!("{shown}");
    ensure!(shown.lines().count() == 3 && shown.contains("m5.large"), "{shown}");
    Ok(())
}

fn commands(site: &VpcSite) -> Result<()> {
    let (well, said) = site.penstock(&["status", "--wait"])?;
    println!("{said}");
    ensure!(well, "{said}");
    let (well, said) = site.penstock(&["eni", "status", "-o", "json"])?;
    let report: Value = serde_json::from_str(&said)?;
    ensure!(well && report["totals"]["nodes"] == 2, "{report:#}");
    let (_, said) = site.penstock(&["eni", "preflight", "-o", "json"])?;
    let report: Value = serde_json::from_str(&said)?;
    let problems = report["problems"].as_array().context("no list")?;
    // On these nodes it is a process, and no DaemonSet's.
    ensure!(problems.iter().all(|problem| problem["reason"] == "NoKubeProxy"), "{report:#}");
    Ok(())
}

/// A pod that runs: its node and its address.
pub(crate) fn pods(site: &VpcSite, namespace: &str) -> Result<Vec<(Node, IpAddr)>> {
    let list = site.kubectl(&["-n", namespace, "get", "pods", "-o", "json"])?;
    let list: Value = serde_json::from_str(&list)?;
    let items = list["items"].as_array().context("no list")?.iter();
    let of = |pod: &Value| {
        let address = pod["status"]["podIP"].as_str().context("no address")?.parse()?;
        Ok((site.node(pod["spec"]["nodeName"].as_str().context("no node")?)?, address))
    };
    items.map(of).collect()
}

fn reach(site: &VpcSite) -> Result<()> {
    let namespace = "e2e-vpc-reach";
    site.namespace(namespace, &["echo"])?;
    site.kubectl(&["-n", namespace, "scale", "deployment/echo", "--replicas=6"])?;
    site.kubectl(&["-n", namespace, "rollout", "status", "deployment/echo", "--timeout=60s"])?;
    let pods = pods(site, namespace)?;
    let service = site.object(namespace, "service", "echo")?;
    let service = service["spec"]["clusterIP"].as_str().context("no address")?.to_owned();
    let asked = |from: &(Node, IpAddr), to: &str| {
        let url = format!("curl --silent --show-error --fail --max-time 5 http://{to}/");
        site.in_pod(&from.0, from.1, &url)
    };
    for pair in pods.windows(2) {
        ensure!(pair[0].1.to_string().starts_with("10.89."), "{}", pair[0].1);
        let said = asked(&pair[0], &format!("{}:3000", pair[1].1))?;
        ensure!(said.contains("\"host\""), "{said}");
    }
    let same = pods.iter().filter(|pod| pod.0.name() == pods[0].0.name()).count();
    ensure!((1..pods.len()).contains(&same), "all pods are on one node");
    asked(&pods[0], &format!("{service}:80"))?;
    // Its own node, where kubelet says that it wants TLS.
    let (node, address) = &pods[0];
    let kubelet = site.in_pod(
        node,
        *address,
        &format!("curl --silent --show-error --max-time 5 http://{}:10250", node.address.0),
    )?;
    ensure!(kubelet.contains("HTTPS"), "{kubelet}");
    // From outside.
    let answer = get((*address, 3000).into(), "pod", "/")?;
    ensure!(answer.status == 200, "{answer:?}");
    metadata(site, node, *address)?;
    site.kubectl(&["delete", "namespace", namespace, "--wait=false"]).map(drop)
}

/// A node is told what it is, and the keys of its role; a pod is not.
fn metadata(site: &VpcSite, node: &Node, pod: IpAddr) -> Result<()> {
    let session = "curl --silent --show-error --max-time 2 --request PUT \
         --header X-aws-ec2-metadata-token-ttl-seconds:60 http://169.254.169.254/latest/api/token";
    let token = penstock_e2e::node::run(node, session)?;
    let instance = format!(
        "curl --silent --show-error --fail --max-time 2 --header X-aws-ec2-metadata-token:{token} \
         http://169.254.169.254/latest/meta-data/instance-id"
    );
    let instance = penstock_e2e::node::run(node, &instance)?;
    ensure!(instance == node.instance, "{instance}");
    let told = site.in_pod(node, pod, session);
    ensure!(told.is_err(), "a pod got a session of its node: {told:?}");
    Ok(())
}

fn gateway(site: &VpcSite) -> Result<()> {
    let namespace = "e2e-vpc-gateway";
    site.namespace(namespace, &["echo"])?;
    site.apply(&format!(
        "{}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: echo, namespace: {namespace} }}
spec:
  parentRefs: [{{ name: edge }}]
  rules: [{{ backendRefs: [{{ name: echo, port: 80 }}] }}]
",
        edge(namespace)
    ))?;
    let address = site.gateway(namespace, "edge", 80)?;
    site.route(namespace, "echo")?;
    site.eventually("it is served", || {
        let answer = get(address, "echo.example", "/")?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    })?;
    site.kubectl(&["delete", "namespace", namespace, "--wait=false"]).map(drop)
}

fn conformance(site: &VpcSite) -> Result<()> {
    let run = Suite::default().prepare(site.cluster())?.output().context("cannot run it")?;
    let said = String::from_utf8_lossy(&run.stdout);
    let core = said.lines().find(|line| line.starts_with("GATEWAY-HTTP core: "));
    println!("{}", core.unwrap_or_default());
    ensure!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    ensure!(core == Some("GATEWAY-HTTP core: 37 run, 37 passed"), "{core:?}");
    Ok(())
}

fn away(site: &VpcSite) -> Result<()> {
    let node = site.cluster().nodes().remove(0);
    let taints = || -> Result<String> {
        Ok(site.object("", "node", node.name())?["spec"]["taints"].to_string())
    };
    let affinity =
        |term: Value| json!({"spec": {"template": {"spec": {"affinity": term}}}}).to_string();
    let elsewhere = json!({"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{
            "matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [node.name()]},
            ],
        }]},
    }});
    let patch = |term: Value| {
        let patch = affinity(term);
        let patch = ["patch", "daemonset/penstock-agent", "--type=merge", "-p", &patch];
        site.kubectl(&[&["-n", NAMESPACE], &patch[..]].concat())
    };
    patch(elsewhere)?;
    site.eventually("the taint is back", || {
        let taints = taints()?;
        ensure!(taints.contains(AGENT_TAINT) && taints.contains("NoSchedule"), "{taints}");
        Ok(())
    })?;
    patch(Value::Null)?;
    site.eventually("the taint is gone", || {
        let taints = taints()?;
        ensure!(!taints.contains(AGENT_TAINT), "{taints}");
        Ok(())
    })
}
