//! Many pods come and go, while what gives them addresses ends and begins again; and EC2 has its moods.

use crate::pods::pods;
use anyhow::{Context as _, Result, bail, ensure};
use penstock_config::address::InterfaceId;
use penstock_e2e::{VpcSite, eventually};
use penstock_test_cluster::{Signal, install::NAMESPACE};
use penstock_test_eni::model::ModelInterface;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

pub(crate) const ALL: &[super::Scenario] = &[
    ("many pods at once, again and again, while agents and the operator restart", churn),
    ("a full subnet is told, and pods start when it is full no more", full),
    ("an interface that somebody takes away is made up for", taken),
];

/// Pods at once. kubelet takes 110 on a node.
const PODS: usize = 200;
/// For all of them to run: two processors start two or three containers a second.
const PATIENCE: Duration = Duration::from_secs(300);

/// A Deployment of pods that do nothing.
fn idle(site: &VpcSite, namespace: &str, replicas: usize) -> Result<()> {
    site.apply(&format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: idle, namespace: {namespace} }}
spec:
  replicas: {replicas}
  selector: {{ matchLabels: {{ app: idle }} }}
  template:
    metadata: {{ labels: {{ app: idle }} }}
    spec:
      terminationGracePeriodSeconds: 0
      automountServiceAccountToken: false
      enableServiceLinks: false
      containers: [{{ name: idle, image: 'docker.io/penstock/test-pod:dev', imagePullPolicy: Never, args: [pause] }}]
"
    ))
}

/// Addresses of the pods of a namespace that run.
fn running(site: &VpcSite, namespace: &str) -> Result<Vec<Ipv4Addr>> {
    let form = "jsonpath={range .items[?(@.status.phase==\"Running\")]}{.status.podIP} {end}";
    let text = site.kubectl(&["-n", namespace, "get", "pods", "-o", form])?;
    text.split_whitespace().map(|address| Ok(address.parse()?)).collect()
}

fn all_run(site: &VpcSite, namespace: &str, count: usize) -> Result<Vec<Ipv4Addr>> {
    let begin = Instant::now();
    let addresses = eventually("all pods run", PATIENCE, || {
        let addresses = running(site, namespace)?;
        ensure!(addresses.len() == count, "{} of {count} run", addresses.len());
        Ok(addresses)
    })?;
    println!("  {count} pods run after {:.1?}", begin.elapsed());
    let distinct: BTreeSet<_> = addresses.iter().collect();
    ensure!(distinct.len() == count, "two pods have one address: {addresses:?}");
    owned(site, &addresses)?;
    Ok(addresses)
}

/// Every address belongs to an interface that is attached, of the node that its pod is on.
fn owned(site: &VpcSite, addresses: &[Ipv4Addr]) -> Result<()> {
    let units: Vec<_> = site.ec2().model(|model| {
        let attached = model.interfaces.values().filter(|eni| eni.attached.is_some());
        attached.flat_map(|eni| eni.units()).collect()
    });
    for address in addresses {
        let has = units.iter().any(|unit| unit.contains(*address));
        ensure!(has, "{address} is of no interface");
    }
    Ok(())
}

/// What PenstockNodes say, summed over the nodes.
fn counts(site: &VpcSite) -> Result<BTreeMap<&'static str, u64>> {
    let text = site.kubectl(&["get", "penstocknodes", "-o", "json"])?;
    let list: Value = serde_json::from_str(&text)?;
    let items = list["items"].as_array().context("no list")?;
    let fields = ["used", "free", "pending", "prefixes", "releasing"];
    let sum = |field: &str| {
        items.iter().filter_map(|node| node["status"]["addresses"][field].as_u64()).sum()
    };
    Ok(fields.map(|field| (field, sum(field))).into())
}

/// The interface that has a pod's address.
fn interface(site: &VpcSite, address: IpAddr) -> Result<InterfaceId> {
    let IpAddr::V4(address) = address else { bail!("{address}") };
    let found = site.ec2().model(|model| {
        let has = |eni: &&ModelInterface| eni.units().iter().any(|unit| unit.contains(address));
        model.interfaces.values().find(has).map(|eni| eni.id.clone())
    });
    found.with_context(|| format!("{address} is of no interface"))
}

/// Pods of all interfaces of a node meet each other, and those of another node: nobody listens, and says so.
fn across(site: &VpcSite, namespace: &str) -> Result<()> {
    let mut one_of_each = BTreeMap::new();
    for (node, address) in pods(site, namespace)? {
        let key = (node.name().to_owned(), interface(site, address)?);
        one_of_each.entry(key).or_insert((node, address));
    }
    println!("  pods are on {} interfaces", one_of_each.len());
    ensure!(one_of_each.len() >= 4, "on fewer interfaces than that many pods need");
    for (node, from) in one_of_each.values() {
        for (_, to) in one_of_each.values().filter(|(_, to)| to != from) {
            let connect = format!("timeout 5 bash -c \"</dev/tcp/{to}/9\"");
            let said = site.in_pod(node, *from, &connect).unwrap_or_else(|e| e.to_string());
            ensure!(said.contains("refused"), "{from} to {to}: {said}");
        }
    }
    Ok(())
}

fn churn(site: &VpcSite) -> Result<()> {
    let namespace = "e2e-vpc-churn";
    site.namespace(namespace, &[])?;
    let before = counts(site)?;
    idle(site, namespace, PODS)?;
    all_run(site, namespace, PODS)?;
    across(site, namespace)?;

    // Half of them go, others come, and nobody is there who could tell the agent's file from the truth.
    let agents = site.pods("penstock-agent")?;
    let leader = site.leader()?;
    site.kubectl(&["-n", namespace, "scale", "deployment/idle", "--replicas=60"])?;
    for agent in &agents {
        site.signal(agent, Signal::KILL)?;
    }
    site.kubectl(&["-n", namespace, "scale", "deployment/idle", "--replicas=150"])?;
    site.signal(&leader, Signal::KILL)?;
    all_run(site, namespace, 150)?;

    site.kubectl(&["delete", "namespace", namespace, "--wait=true"])?;
    let begin = Instant::now();
    // What is idle goes back, in two steps; what is kept free stays.
    eventually("addresses are given back", Duration::from_secs(120), || {
        let now = counts(site)?;
        let more = |field: &str| now[field] > before[field];
        ensure!(!more("used") && !more("prefixes"), "{now:?}, {before:?} before");
        Ok(())
    })?;
    println!("  what was needed no more was given back after {:.1?}", begin.elapsed());
    Ok(())
}

fn full(site: &VpcSite) -> Result<()> {
    let namespace = "e2e-vpc-full";
    site.namespace(namespace, &[])?;
    let stolen = site.ec2().model(|model| {
        let subnet = model.subnets.get_mut(VpcSite::PODS).expect("a subnet");
        subnet.space.steal(u32::MAX)
    });
    idle(site, namespace, 60)?;
    let told = site.eventually("the nodes say why", || {
        let shown = site.kubectl(&["get", "penstocknodes", "-o", "wide"])?;
        ensure!(shown.contains("NoSubnet") && shown.contains("free addresses"), "{shown}");
        Ok(shown)
    })?;
    println!("{told}");
    site.eventually("an event says it too", || {
        let events = ["get", "events", "-A", "--field-selector", "reason=NoSubnet"];
        let events = site.kubectl(&events)?;
        ensure!(events.contains("addresses are missing"), "{events}");
        Ok(())
    })?;
    site.ec2().model(|model| {
        let subnet = model.subnets.get_mut(VpcSite::PODS).expect("a subnet");
        subnet.space.give(stolen);
    });
    all_run(site, namespace, 60)?;
    site.eventually("nobody has a problem", || {
        let shown = site.kubectl(&["get", "penstocknodes", "-o", "wide"])?;
        ensure!(!shown.contains("NoSubnet"), "{shown}");
        Ok(())
    })?;
    site.kubectl(&["delete", "namespace", namespace, "--wait=true"]).map(drop)
}

fn taken(site: &VpcSite) -> Result<()> {
    let namespace = "e2e-vpc-taken";
    site.namespace(namespace, &[])?;
    idle(site, namespace, 20)?;
    all_run(site, namespace, 20)?;
    // Somebody detaches an interface that pods use, and deletes it.
    let node = site.cluster().nodes().remove(0);
    let gone = site.ec2().model(|model| {
        let mut of_node = model.interfaces.values().filter(|eni| {
            eni.attached.as_ref().is_some_and(|(on, at)| *on == node.instance && at.index > 0)
        });
        let eni = of_node.next_back().expect("an interface for pods").clone();
        let (_, at) = eni.attached.clone().expect("it is attached");
        model.detach_network_interface(&at.id).expect("it is detached");
        model.delete_network_interface(&eni.id).expect("it is deleted");
        eni
    });
    // Nodes are looked at once a minute, and once more where an interface is not shown.
    eventually("the object shows another interface", Duration::from_secs(100), || {
        let object = site.object("", "penstocknode", node.name())?;
        let interfaces = object["status"]["interfaces"].to_string();
        let addresses = &object["status"]["addresses"];
        ensure!(!interfaces.contains(&gone.id.0) && addresses["free"] != 0, "{object:#}");
        Ok(())
    })?;
    // What had its addresses can be reached no more, and is started anew.
    let on_node = format!("--field-selector=spec.nodeName={}", node.name());
    site.kubectl(&["delete", "pods", "--all-namespaces", &on_node, "--wait=false"])?;
    eventually("pods run on other addresses", PATIENCE, || {
        let addresses = running(site, namespace)?;
        ensure!(addresses.len() == 20, "{} of 20 run", addresses.len());
        owned(site, &addresses)
    })?;
    for workload in ["daemonset/penstock-proxy", "deployment/penstock-operator"] {
        let status = ["rollout", "status", workload, "--timeout=60s"];
        site.kubectl(&[&["-n", NAMESPACE], &status[..]].concat())?;
    }
    site.kubectl(&["delete", "namespace", namespace, "--wait=true"]).map(drop)
}
