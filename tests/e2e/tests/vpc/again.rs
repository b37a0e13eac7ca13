//! Penstock goes and comes back, and pods run on. It comes last, and leaves the release installed.

use crate::pods::pods;
use anyhow::{Result, ensure};
use penstock_e2e::{VpcSite, node};
use std::collections::BTreeSet;

pub(crate) const ALL: &[super::Scenario] =
    &[("uninstalled, pods go on; installed again, no address is given twice", again)];

const NAMESPACE: &str = "e2e-vpc-again";

fn again(site: &VpcSite) -> Result<()> {
    site.namespace(NAMESPACE, &["echo"])?;
    let scale = |replicas: &str| -> Result<()> {
        let replicas = format!("--replicas={replicas}");
        site.kubectl(&["-n", NAMESPACE, "scale", "deployment/echo", &replicas])?;
        let status = ["rollout", "status", "deployment/echo", "--timeout=90s"];
        site.kubectl(&[&["-n", NAMESPACE], &status[..]].concat()).map(drop)
    };
    scale("4")?;
    let before = pods(site, NAMESPACE)?;
    let (stay, goes) = before.split_at(3);
    let meet = || -> Result<()> {
        for ((node, from), (_, to)) in stay.iter().zip(stay.iter().cycle().skip(1)) {
            let ask = format!("curl --silent --show-error --fail --max-time 5 http://{to}:3000/");
            site.in_pod(node, *from, &ask)?;
        }
        Ok(())
    };
    meet()?;
    site.uninstall()?;
    for of_cluster in site.cluster().nodes() {
        let left = node::run(&of_cluster, "ls -A /etc/cni/net.d /var/lib/penstock /run/penstock")?;
        ensure!(!left.contains("05-penstock") && !left.contains("proxy"), "{left}");
    }
    meet()?;
    // One that ends is ended; the next one waits.
    let address = format!("--field-selector=status.podIP={}", goes[0].1);
    site.kubectl(&["-n", NAMESPACE, "delete", "pod", &address, "--timeout=60s"])?;

    site.install()?;
    scale("12")?;
    let after = pods(site, NAMESPACE)?;
    let addresses: BTreeSet<_> = after.iter().map(|(_, address)| address).collect();
    ensure!(addresses.len() == after.len(), "two pods have one address: {after:?}");
    ensure!(stay.iter().all(|pod| after.iter().any(|a| a.1 == pod.1)), "{before:?} {after:?}");
    meet()?;
    site.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]).map(drop)
}
