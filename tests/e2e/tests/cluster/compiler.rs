//! Modules are compiled in a process of its own, whose limits hold in the operator's container.

use crate::objects::{filter, programmed, refused, route, rule, seen};
use anyhow::{Context as _, Result, bail, ensure};
use penstock_e2e::{Site, edge, filters_folder, get};
use penstock_test_cluster::install;
use penstock_test_cluster::install::PLAIN_REGISTRY;
use penstock_test_registry::{RegistryServer, digest};
use std::{collections::BTreeSet, fs, net::SocketAddr};
use xtask_components::heavy;

pub(crate) const ALL: &[super::Scenario] = &[(
    "a module is compiled in a process of its own, and one that eats memory harms nobody",
    compiler,
)];

const NAMESPACE: &str = "e2e-compiler";
/// In the limits of a process that compiles, once it is confined.
const CONFINED: &str = "Max open files            0  ";

fn compiler(site: &Site) -> Result<()> {
    site.namespace(NAMESPACE, &["echo"])?;
    let folder = tempfile::tempdir()?;
    let listen: SocketAddr = PLAIN_REGISTRY.parse()?;
    let registry = RegistryServer::plain(folder.path(), listen, &listen.ip().to_string())?;
    registry.push("slow", "v1", &heavy(500, 1_000))?;
    registry.push("heavy", "v1", &heavy(1, 700_000))?;
    let good = fs::read(filters_folder()?.join("header-rules.wasm"))?;
    registry.push("good", "v1", &good)?;
    let of = |name: &str| {
        let image = format!("{PLAIN_REGISTRY}/{name}:v1");
        let config = "{ request: [{ set: { x-stamp: one } }] }";
        let spec = format!("{{ module: {{ oci: {{ image: '{image}' }} }}, config: {config} }}");
        filter(NAMESPACE, name, &spec)
    };
    let before = operators(site)?;
    let rules = [rule("/heavy", &["heavy"], "echo"), rule("/good", &["good"], "echo")];
    site.apply(&(edge(NAMESPACE) + &route(NAMESPACE, "echo", "edge", "a.example", &rules)))?;
    site.apply(&of("slow"))?;
    let (limits, environment) = watch(site)?;
    ensure!(
        limits.contains("Max data size             268435456            268435456 "),
        "{limits}"
    );
    ensure!(environment.is_empty(), "it knows what its parent does: {environment:?}");
    refused(site, NAMESPACE, "slow", ("Accepted", "WrongWorld", "build it for"))?;
    site.apply(&of("heavy"))?;
    let status = ("Accepted", "TooLarge", "make the component smaller");
    refused(site, NAMESPACE, "heavy", status)?;

    site.apply(&of("good"))?;
    programmed(site, NAMESPACE, "good", &digest(&good))?;
    let address = site.gateway(NAMESPACE, "edge", 80)?;
    seen(&get(address, "a.example", "/good")?)?;
    let answer = get(address, "a.example", "/heavy")?;
    ensure!(answer.status == 500, "{answer:?}");
    ensure!(operators(site)? == before, "an operator ended: {before:?}");
    Ok(())
}

/// Waits until a process of the cluster compiles: its limits and its environment.
fn watch(site: &Site) -> Result<(String, String)> {
    // Groups of processes are named as network namespaces are.
    let netns = site.cluster().client_netns();
    let group = format!("/{}/", netns.trim_end_matches("-client"));
    site.eventually("somebody compiles", || {
        let processes = fs::read_dir("/proc")?.flatten().map(|entry| entry.path());
        for process in processes {
            let read = |file: &str| fs::read_to_string(process.join(file)).unwrap_or_default();
            let compiles = read("cmdline").contains("penstock-operator\0compile\0");
            if compiles && read("cgroup").contains(&group) {
                let (limits, environment) = (read("limits"), read("environ"));
                if limits.contains(CONFINED) {
                    return Ok((limits, environment));
                }
            }
        }
        bail!("nobody compiles")
    })
}

/// The operators' pods, with how often they were started.
fn operators(site: &Site) -> Result<BTreeSet<String>> {
    let label = "app.kubernetes.io/name=penstock-operator";
    let path = "jsonpath={range .items[*]}{.metadata.name}={.status.containerStatuses[0].restartCount} {end}";
    let pods = site.kubectl(&["get", "pods", "-n", install::NAMESPACE, "-l", label, "-o", path])?;
    let pods: BTreeSet<String> = pods.split_whitespace().map(str::to_owned).collect();
    pods.first().context("no operator")?;
    Ok(pods)
}
