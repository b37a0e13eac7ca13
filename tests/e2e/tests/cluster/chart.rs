//! The life of a release: upgraded and rolled back under load, uninstalled, installed again. It comes
//! last, and leaves the release installed.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use aya::programs::{SchedClassifier, tc::TcAttachType};
use penstock_e2e::{Load, Shape, Site, get, node};
use penstock_test_cluster::{Node, install};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

pub(crate) const ALL: &[super::Scenario] = &[
    ("a misspelt value is refused by name", misspelt),
    ("a node loses its taint only when its agent is ready, and keeps those of others", taint),
    ("upgrade and rollback with other values lose no request", upgrade),
    ("uninstall leaves nothing on nodes; the guide's values install, on tainted nodes too", again),
];

const NAMESPACE: &str = "e2e-chart";
const TAINT: &str = "node.penstock.dev/agent-not-ready";
/// The values of the design guide but those of addresses: these nodes are in no VPC.
const GUIDE: &str = "
routingMode: native
gatewayAPI: { enabled: true }
hubble: { enabled: true, relay: { enabled: true }, ui: { enabled: true } }
operator: { replicas: 2 }
";

fn chart() -> Result<String> {
    let chart = xtask_images::root().join("charts/penstock");
    chart.to_str().map(str::to_owned).context("no path")
}

fn helm(site: &Site, arguments: &[&str]) -> Result<Output> {
    let namespace = ["--namespace", install::NAMESPACE];
    Ok(site.cluster().client("helm").args(arguments).args(namespace).output()?)
}

/// Runs helm and returns what it prints.
fn helm_does(site: &Site, arguments: &[&str]) -> Result<String> {
    let output = helm(site, arguments)?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "helm {arguments:?}: {error}");
    Ok(String::from_utf8(output.stdout)?)
}

fn misspelt(site: &Site) -> Result<()> {
    let chart = chart()?;
    for (value, named) in [
        ("operator.replica=1", "replica"),
        ("hubbel.enabled=true", "hubbel"),
        ("ipam.mode=enni", "mode"),
        ("operator.replicas=many", "replicas"),
    ] {
        let output = helm(site, &["upgrade", "penstock", &chart, "--set", value])?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && error.contains(named), "{value}: {error}");
    }
    Ok(())
}

fn taint(site: &Site) -> Result<()> {
    let nodes = site.cluster().nodes();
    let node = nodes.first().context("no node")?.name();
    site.kubectl(&["taint", "node", node, "e2e.penstock.dev/other=:PreferNoSchedule"])?;
    site.kubectl(&["taint", "node", node, &format!("{TAINT}=true:NoSchedule")])?;
    let gone = untainted(site, node);
    let others = taints(site, node)?;
    site.kubectl(&["taint", "node", node, "e2e.penstock.dev/other-"])?;
    gone?;
    ensure!(others == ["e2e.penstock.dev/other"], "{others:?}");
    Ok(())
}

fn untainted(site: &Site, node: &str) -> Result<()> {
    site.eventually(&format!("{node} has lost its taint"), || {
        let taints = taints(site, node)?;
        ensure!(!taints.iter().any(|key| key == TAINT), "{taints:?}");
        Ok(())
    })
}

fn taints(site: &Site, node: &str) -> Result<Vec<String>> {
    let keys = site.kubectl(&["get", "node", node, "-o", "jsonpath={.spec.taints[*].key}"])?;
    Ok(keys.split_whitespace().map(str::to_owned).collect())
}

/// A Gateway with a route.
fn edge(site: &Site) -> Result<()> {
    site.namespace(NAMESPACE, &["echo"])?;
    site.apply(&(penstock_e2e::edge(NAMESPACE) + &super::route(NAMESPACE, "edge")))
}

fn upgrade(site: &Site) -> Result<()> {
    edge(site)?;
    let address = site.gateway(NAMESPACE, "edge", 80)?;
    site.route(NAMESPACE, "echo")?;
    let before = revision(site)?;
    // Never idle: an idle connection of HTTP/1.1 may be closed while a request is on its way (RFC 9112
    // section 9.5), and this client never sends one again.
    let shape = Shape { http1: 8, http2: 2, streams: 6, pause: Duration::ZERO };
    let load = Load::start(address, "echo.example", "/?delay=20ms", shape)?;
    let done = upgrade_and_back(site, before, || load.answered());
    let tally = load.stop()?;
    done?;
    ensure!(tally.failures.is_empty(), "{} failed: {:?}", tally.failures.len(), tally.failures);
    println!("{} requests through upgrade and rollback", tally.answered);
    Ok(())
}

fn upgrade_and_back(site: &Site, before: u64, answered: impl Fn() -> usize) -> Result<()> {
    let values = ["--set", "operator.replicas=1", "--set", "proxy.accessLog=json"];
    site.cluster().helm("upgrade", &values)?;
    let served = answered();
    ensure!(revision(site)? == before + 1, "no new revision");
    ensure!(replicas(site)? == 1, "{} replicas", replicas(site)?);
    site.eventually("requests are in the access log", || logged(site))?;
    helm_does(site, &["rollback", "penstock", &before.to_string(), "--wait", "--timeout", "2m"])?;
    ensure!(replicas(site)? == 2, "{} replicas", replicas(site)?);
    site.eventually("no request is logged any more", || {
        ensure!(logged(site).is_err(), "the access log goes on");
        Ok(())
    })?;
    site.eventually("requests go on", || {
        ensure!(answered() > served + 100, "{} of {served}", answered());
        Ok(())
    })
}

fn revision(site: &Site) -> Result<u64> {
    let status = helm_does(site, &["status", "penstock", "-o", "json"])?;
    let status: Value = serde_json::from_str(&status)?;
    status["version"].as_u64().with_context(|| format!("no revision: {status}"))
}

fn replicas(site: &Site) -> Result<u64> {
    let operator = site.object(install::NAMESPACE, "deployment", "penstock-operator")?;
    operator["status"]["readyReplicas"].as_u64().context("no replica")
}

/// Whether a proxy has just written a request to its log, as JSON.
fn logged(site: &Site) -> Result<()> {
    let label = "app.kubernetes.io/name=penstock-proxy";
    let logs = ["logs", "-n", install::NAMESPACE, "--tail=20", "--since=1s", "-l", label];
    let logs = site.kubectl(&logs)?;
    let records = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = records.into_iter().any(|record| record.to_string().contains("echo.example"));
    ensure!(found, "no request is logged: {logs}");
    Ok(())
}

fn again(site: &Site) -> Result<()> {
    edge(site)?;
    let address = site.gateway(NAMESPACE, "edge", 80)?;
    site.route(NAMESPACE, "echo")?;
    let nodes = site.cluster().nodes();
    for node in &nodes {
        let there = traces(node)?;
        ensure!(there.len() >= 6, "this looks at too little on {}: {there:?}", node.name());
    }
    ensure!(announced(&nodes, &address.ip().to_string())? == 1, "one node announces {address}");

    helm_does(site, &["uninstall", "penstock", "--wait", "--timeout", "3m"])?;
    for node in &nodes {
        let left = traces(node)?;
        ensure!(left.is_empty(), "on {}: {left:?}", node.name());
    }
    ensure!(announced(&nodes, &address.ip().to_string())? == 0, "{address} is announced");
    let kinds = "pods,services,daemonsets,deployments,jobs,configmaps,secrets,leases,\
                 endpointslices,serviceaccounts,roles,rolebindings";
    // Pods take a moment to go.
    site.eventually("nothing is left", || {
        let left = site.kubectl(&["get", kinds, "-n", install::NAMESPACE, "-o", "name"])?;
        let ours = |name: &&str| !name.contains("kube-root-ca") && !name.ends_with("/default");
        let left: Vec<_> = left.lines().filter(ours).collect();
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })?;

    // As nodes come that a group starts with the taint.
    for node in &nodes {
        site.kubectl(&["taint", "node", node.name(), &format!("{TAINT}=true:NoExecute")])?;
    }
    let values = site.cluster().dir().join("guide.yaml");
    std::fs::write(&values, GUIDE)?;
    let (chart, values) = (chart()?, values.to_str().context("no path")?.to_owned());
    let install = ["install", "penstock", &chart, "--set", "image.tag=dev", "--values", &values];
    let notes = helm_does(site, &[&install[..], &["--wait", "--timeout", "2m"]].concat())?;
    ensure!(notes.contains("NOT IN THIS VERSION: hubble"), "{notes}");
    for node in &nodes {
        untainted(site, node.name())?;
    }
    let address = site.gateway(NAMESPACE, "edge", 80)?;
    site.eventually("requests are served again", || {
        let answer = get(address, "echo.example", "/")?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    })?;
    site.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]).map(drop)
}

/// What there is of ours on a node, in words.
fn traces(node: &Node) -> Result<Vec<String>> {
    let looks = [
        ("pins", "find /sys/fs/bpf -mindepth 1"),
        ("rules", "ip rule; ip -6 rule"),
        ("routes", "ip route show table all; ip -6 route show table all"),
        ("nftables", "nft list tables"),
        ("state", "find /var/lib/penstock -mindepth 1"),
        ("sockets", "find /run/penstock -mindepth 1"),
    ];
    let ours = |kind: &str, line: &str| match kind {
        "rules" => ["4096", "4097", "lookup 2048", "fwmark 0x40/"].iter().any(|o| line.contains(o)),
        "routes" => line.contains("table 4096") || line.contains("table 4097"),
        "nftables" => line.contains("penstock"),
        // The kernel's own.
        "pins" => !line.ends_with(".debug"),
        _ => true,
    };
    let mut traces = Vec::new();
    for (kind, script) in looks {
        let said = node::run(node, script)?;
        let lines: Vec<_> = said.lines().filter(|line| ours(kind, line)).collect();
        if !lines.is_empty() {
            traces.push(format!("{kind}: {}", lines.join(", ")));
        }
    }
    for device in programs(node)? {
        traces.push(format!("a program on {device}"));
    }
    Ok(traces)
}

/// Devices of a node with a program on their ingress, by a link or as a filter.
fn programs(node: &Node) -> Result<Vec<String>> {
    let all = node::run(node, "ls /sys/class/net")?;
    let devices: Vec<String> = all.split_whitespace().map(str::to_owned).collect();
    let filters = node::run(
        node,
        "for device in /sys/class/net/*; do
           tc filter show dev ${device##*/} ingress 2>/dev/null | sed \"s/^/${device##*/} /\"
         done",
    )?;
    let netns = node.machine.netns();
    let asked = std::thread::spawn(move || -> Result<Vec<String>> {
        let namespace = File::open(Path::new("/run/netns").join(netns))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        let mut found = Vec::new();
        for device in devices {
            let (_, programs) = SchedClassifier::query_tcx(&device, TcAttachType::Ingress)?;
            if !programs.is_empty() {
                found.push(device);
            }
        }
        Ok(found)
    });
    let mut found = asked.join().map_err(|_| anyhow!("it panicked"))??;
    found.extend(filters.lines().map(str::to_owned));
    Ok(found)
}

/// How many nodes have an address.
fn announced(nodes: &[Node], address: &str) -> Result<usize> {
    let mut count = 0;
    for node in nodes {
        let all = node::run(node, "ip -o address")?;
        count += usize::from(all.contains(&format!(" {address}/")));
    }
    Ok(count)
}
