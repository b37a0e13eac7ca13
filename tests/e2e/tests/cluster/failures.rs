//! What fails in a cluster under load, as `docs/guides/failures.md` promises: the names of the
//! scenarios and the times are there.

use crate::world::World;
use anyhow::{Context as _, Result, ensure};
use penstock_e2e::{Pod, Site, eventually, get};
use penstock_test_cluster::install::NAMESPACE;
use rustix::process::Signal;
use std::time::{Duration, Instant};

pub(crate) const ALL: &[super::Scenario] = &[
    ("failures: an operator is lost and the other leads", operator_lost),
    ("failures: the API server is away", api_server_away),
    ("failures: an agent is restarted, proxies are upgraded", restarted),
    ("failures: a proxy is killed", proxy_killed),
    ("failures: a node is rebooted", rebooted),
];

/// `operator.leaseDuration` of the chart, and what a standby looks late.
const LEASE: Duration = Duration::from_secs(15 + 2);
/// For how long the API server is away.
const AWAY: Duration = Duration::from_secs(60);
/// How long Kubernetes' own clients take to come back from an API server that was away.
const UPSTREAM: Duration = Duration::from_secs(180);
/// Longest time in which an address moves from a node that is gone.
const FAILOVER: Duration = Duration::from_secs(12);

fn operator_lost(site: &Site) -> Result<()> {
    let world = World::new(site, "e2e-operator-lost")?;
    let announcer = world.announcer()?;
    let first = site.eventually("somebody leads", || site.leader())?;
    let standby = site.eventually("there is a standby", || other(site, &first))?;
    ensure!(writes(site, &standby)? == 0.0, "a standby wrote");
    let watched = world.watched()?;

    // A process that dies comes back under its name, and the lease is still its own.
    let begin = Instant::now();
    site.signal(&first, Signal::KILL)?;
    world.change("process-killed")?;
    println!("  operator's process killed: a change was served after {:.1?}", begin.elapsed());

    // One that is gone for good does not.
    let first = site.eventually("somebody leads", || site.leader())?;
    let standby = site.eventually("there is a standby", || other(site, &first))?;
    site.signal(&first, Signal::KILL)?;
    let begin = Instant::now();
    let force = ["delete", "pod", &first.name, "--grace-period=0", "--force"];
    site.kubectl(&[&["-n", NAMESPACE][..], &force].concat())?;
    world.round("pod-deleted", "")?;
    site.eventually("another replica leads", || {
        let leader = site.leader()?;
        ensure!(leader.name != first.name, "{} leads", leader.name);
        Ok(())
    })?;
    let led = begin.elapsed();
    site.eventually("the change is served", || world.serves("pod-deleted"))?;
    println!(
        "  leading pod deleted: another led after {led:.1?}, the change was served after {:.1?}",
        begin.elapsed()
    );
    ensure!(led <= LEASE, "another replica led only after {led:?}");
    site.eventually("the status follows", || observed(site, world.namespace))?;

    let leader = site.leader()?;
    ensure!(writes(site, &leader)? > 0.0, "the leader has written");
    let follower = site.eventually("there is a standby", || other(site, &leader))?;
    ensure!(writes(site, &follower)? == 0.0, "{} is no leader and wrote", follower.name);
    ensure!(leader.name == standby.name, "{} leads, not {}", leader.name, standby.name);
    ensure!(world.announcer()? == announcer, "the address moved");
    watched.end().map(drop)
}

fn api_server_away(site: &Site) -> Result<()> {
    let world = World::new(site, "e2e-api-server-away")?;
    let busy = world.announcer()?;
    let idle = nodes(site).find(|node| *node != busy).context("no second node")?;
    let agent = site.pod_on("penstock-agent", &busy)?;
    let [proxy, other] = [&busy, &idle].map(|node| site.pod_on("penstock-proxy", node));
    let (proxy, other) = (proxy?, other?);
    let watched = world.watched()?;

    let control = site.cluster().control();
    control.stop("kube-apiserver", Signal::KILL)?;
    let begin = Instant::now();
    let away = || -> Result<()> {
        // The agent of the node that is under load, the proxy of the other, and then the proxy under
        // load, which is asked to end and lets its requests end.
        site.signal(&agent, Signal::KILL)?;
        let agent_ready = || site.on_node(&busy, "http://127.0.0.1:9091/readyz").map(drop);
        restart(site, &agent, "an agent", agent_ready)?;
        site.signal(&other, Signal::KILL)?;
        restart(site, &other, "a proxy that was killed", || proxy_ready(&other))?;
        site.signal(&proxy, Signal::TERM)?;
        restart(site, &proxy, "a proxy that was asked to end", || proxy_ready(&proxy))?;
        eventually("the time is over", AWAY, || {
            ensure!(begin.elapsed() >= AWAY, "not yet");
            world.serves("begin")
        })
    };
    let result = away();
    control.start("kube-apiserver")?;
    result?;
    println!("  the API server was away for {:.1?}", begin.elapsed());
    let back = Instant::now();
    site.eventually("the API server is ready", || {
        site.kubectl(&["get", "--raw", "/readyz"]).map(drop)
    })?;
    world.change("back")?;
    println!("  it is back: a change was served after {:.1?}", back.elapsed());
    site.eventually("the status follows", || observed(site, world.namespace))?;
    ensure!(world.announcer()? == busy, "the address moved");
    watched.end()?;
    settled(site)
}

fn restarted(site: &Site) -> Result<()> {
    let world = World::new(site, "e2e-restarted")?;
    let busy = world.announcer()?;
    let watched = world.watched()?;

    let agent = site.pod_on("penstock-agent", &busy)?;
    let begin = Instant::now();
    site.kubectl(&["-n", NAMESPACE, "delete", "pod", &agent.name, "--wait=false"])?;
    site.eventually("a new agent is ready", || {
        let new = site.pod_on("penstock-agent", &busy)?;
        ensure!(new.name != agent.name, "it is the old one");
        Ok(())
    })?;
    println!("  agent restarted: {:.1?}", begin.elapsed());
    println!("  a change is served after {:.1?}", world.change("agent-restarted")?);

    let before = site.pods("penstock-proxy")?;
    let begin = Instant::now();
    rollout(site, "daemonset/penstock-proxy")?;
    println!("  proxies upgraded: {:.1?}", begin.elapsed());
    let after = site.pods("penstock-proxy")?;
    ensure!(after.iter().all(|new| before.iter().all(|old| old.name != new.name)), "{after:?}");
    println!("  a change is served after {:.1?}", world.change("proxies-upgraded")?);
    ensure!(world.announcer()? == busy, "the address moved");
    watched.end().map(drop)
}

fn proxy_killed(site: &Site) -> Result<()> {
    let world = World::new(site, "e2e-proxy-killed")?;
    // kubelet starts a container again at once, and later the more often it has ended: this one is new.
    rollout(site, "daemonset/penstock-proxy")?;
    let busy = world.announcer()?;
    let proxy = site.pod_on("penstock-proxy", &busy)?;
    let watched = world.watched()?;
    let begin = Instant::now();
    site.signal(&proxy, Signal::KILL)?;
    site.eventually("the process ends", || {
        ensure!(!site.runs(&proxy)?, "it runs");
        Ok(())
    })?;
    // What comes now waits in a socket that the agent holds, until the next process accepts.
    let answer = get(world.address, "echo.example", "/")?;
    ensure!(answer.status == 200, "{answer:?}");
    println!("  proxy killed: a new connection was answered after {:.1?}", begin.elapsed());
    site.eventually("the proxy is ready", || proxy_ready(&proxy))?;
    ensure!(world.announcer()? == busy, "the address moved");
    let lost = watched.end_after_loss()?;
    println!("  {lost} requests in flight were lost");
    Ok(())
}

fn rebooted(site: &Site) -> Result<()> {
    let world = World::new(site, "e2e-rebooted")?;
    let gone = world.announcer()?;
    let left = nodes(site).find(|node| *node != gone).context("no second node")?;
    // What leads and what answers are elsewhere: the scenario is the loss of what brings requests in.
    site.kubectl(&["cordon", &gone])?;
    let prepared = prepare_reboot(site, world.namespace, &gone, &left);
    site.kubectl(&["uncordon", &gone])?;
    prepared?;

    let node = site.node(&gone)?;
    let ours = ["penstock-agent", "penstock-proxy"];
    let before: Vec<Pod> =
        ours.map(|p| site.pod_on(p, &gone)).into_iter().collect::<Result<_>>()?;
    let begin = Instant::now();
    node.machine.power_off()?;
    let moved = site.eventually("the address moves", || {
        ensure!(world.announcer()? == left, "nobody answers for it");
        world.serves("begin")
    });
    let moved = moved.map(|()| begin.elapsed());
    let watched = moved.as_ref().ok().map(|_| world.watched()).transpose();
    site.cluster().reboot(&node)?;
    let moved = moved?;
    println!("  node gone: its address is answered elsewhere after {moved:.1?}");
    let watched = watched?.context("no load")?;
    site.cluster().wait_for_nodes(Duration::from_secs(60))?;
    // The API server knows the old ones as ready until their kubelet says otherwise.
    for (process, before) in ours.iter().zip(&before) {
        site.eventually("the node's pods are ready", || {
            ensure!(site.pod_on(process, &gone)? != *before, "as before");
            Ok(())
        })?;
    }
    println!("  node back and ready after {:.1?}", begin.elapsed());
    world.change("back")?;
    let proxy = site.pod_on("penstock-proxy", &gone)?;
    site.eventually("its proxy serves", || proxy_ready(&proxy))?;
    ensure!(world.announcer()? == left, "the address moved back, and broke its connections");
    watched.end()?;
    ensure!(moved <= FAILOVER, "the address moved only after {moved:?}");
    Ok(())
}

/// Has the backend and the operator that leads on the node that stays.
fn prepare_reboot(site: &Site, namespace: &str, gone: &str, left: &str) -> Result<()> {
    let selector = format!(
        r#"{{"spec":{{"template":{{"spec":{{"nodeSelector":{{"kubernetes.io/hostname":"{left}"}}}}}}}}}}"#
    );
    site.kubectl(&["-n", namespace, "patch", "deployment", "echo", "-p", &selector])?;
    for pod in site.pods("penstock-operator")?.iter().filter(|pod| pod.node == gone) {
        site.kubectl(&["-n", NAMESPACE, "delete", "pod", &pod.name])?;
    }
    site.eventually("who leads is elsewhere", || {
        let leader = site.leader()?;
        ensure!(leader.node != gone, "{leader:?}");
        Ok(())
    })?;
    for (namespace, deployment) in [(namespace, "echo"), (NAMESPACE, "penstock-operator")] {
        let name = format!("deployment/{deployment}");
        site.kubectl(&["-n", namespace, "rollout", "status", &name, "--timeout=60s"])?;
    }
    Ok(())
}

fn nodes(site: &Site) -> impl Iterator<Item = String> {
    site.cluster().nodes().into_iter().map(|node| node.name().to_owned())
}

/// A ready operator that is not this one.
fn other(site: &Site, leader: &Pod) -> Result<Pod> {
    let mut pods = site.pods("penstock-operator")?.into_iter();
    pods.find(|pod| pod.name != leader.name).context("only one operator is ready")
}

/// How much an operator wrote since its process began.
fn writes(site: &Site, operator: &Pod) -> Result<f64> {
    site.metric(operator, "penstock_operator_writes_total", "written")
}

/// Restarts all pods one after the other.
fn rollout(site: &Site, what: &str) -> Result<()> {
    site.kubectl(&["-n", NAMESPACE, "rollout", "restart", what])?;
    site.kubectl(&["-n", NAMESPACE, "rollout", "status", what, "--timeout=120s"]).map(drop)
}

/// Waits until the cluster's own controllers and kube-proxies, which wait up to a minute between their
/// attempts by then, have found the API server again: what follows does not measure them.
fn settled(site: &Site) -> Result<()> {
    let begin = Instant::now();
    let name = "e2e-settled";
    site.kubectl(&["create", "namespace", name])?;
    eventually("the cluster's controllers work", UPSTREAM, || {
        site.kubectl(&["-n", name, "get", "serviceaccount", "default"]).map(drop)
    })?;
    for node in nodes(site) {
        eventually("its agent has found the operator's address", UPSTREAM, || {
            let page = site.on_node(&node, "http://127.0.0.1:9091/metrics")?;
            ensure!(page.contains("penstock_agent_connected 1"), "{node} is not connected");
            Ok(())
        })?;
    }
    println!("  the rest of the cluster works again after {:.1?} more", begin.elapsed());
    Ok(())
}

/// The status of the route speaks of its newest generation.
fn observed(site: &Site, namespace: &str) -> Result<()> {
    let route = site.object(namespace, "httproute", "echo")?;
    let seen = &route["status"]["parents"][0]["conditions"][0]["observedGeneration"];
    ensure!(*seen == route["metadata"]["generation"], "{route}");
    Ok(())
}

/// A proxy has a configuration, said by itself: the API server may be away.
fn proxy_ready(proxy: &Pod) -> Result<()> {
    let answer = get((proxy.ip, 9090).into(), "proxy", "/readyz")?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

/// Waits until the container of a pod has ended, and what says so that the next one is ready.
fn restart(site: &Site, pod: &Pod, what: &str, ready: impl Fn() -> Result<()>) -> Result<()> {
    let begin = Instant::now();
    site.eventually("the old process ends", || {
        ensure!(!site.runs(pod)?, "it runs");
        Ok(())
    })?;
    let ended = begin.elapsed();
    site.eventually("the next process is ready", ready)?;
    println!(
        "  {what} was restarted: ended after {ended:.1?}, ready after {:.1?}",
        begin.elapsed()
    );
    Ok(())
}
