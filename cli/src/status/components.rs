//! Operator, agents, proxies and the nodes that they are on.

use super::{
    pods,
    report::{Component, NodeLine, Presence, UnreadyPod},
    seen::{AGENT, OPERATOR, PROXY, Seen},
};
use crate::cluster::{Problem, one_line};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        coordination::v1::Lease,
        core::v1::{Node, Pod, PodTemplateSpec},
    },
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt as _;
use std::collections::BTreeSet;

/// Where a Lease does not say how long it counts.
const LEASE: i32 = 15;

/// What Deployments and DaemonSets have in common.
struct Workload {
    kind: &'static str,
    wanted: i32,
    /// Pods that there are.
    current: i32,
    ready: i32,
    updated: i32,
    /// The controller has seen the object as it is now.
    seen: bool,
    image: String,
    /// Why no pod can be made.
    failure: Option<String>,
}

/// Components, nodes, and what is wrong with them.
pub(crate) fn judge(seen: &Seen, problems: &mut Vec<Problem>) -> (Vec<Component>, Vec<NodeLine>) {
    let nodes: Vec<NodeLine> = seen.nodes.iter().map(|n| node(seen, n, problems)).collect();
    let down: BTreeSet<&str> =
        nodes.iter().filter(|node| !node.ready).map(|node| node.name.as_str()).collect();
    let operator = seen.operator.as_ref().map(deployment);
    let agent = seen.agent.as_ref().map(|set| daemon_set(seen, set));
    let proxy = seen.proxy.as_ref().map(|set| daemon_set(seen, set));
    let mut components = vec![
        component(seen, OPERATOR, "Deployment", operator, &down, problems),
        component(seen, AGENT, "DaemonSet", agent, &down, problems),
        component(seen, PROXY, "DaemonSet", proxy, &down, problems),
    ];
    if components[0].installed && seen.may_read("leases") {
        match leader(seen.lease.as_ref(), seen.now) {
            Ok(leader) => components[0].leader = Some(leader),
            Err(cause) => problems.push(Problem::new(
                named(seen, "Lease", OPERATOR),
                "NoLeader",
                cause,
                "nodes serve what they have, and no change reaches them until a replica leads: look \
                 at the operator's pods and their logs",
            )),
        }
    }
    mixed(seen, &components, problems);
    (components, nodes)
}

fn deployment(deployment: &Deployment) -> Workload {
    let spec = deployment.spec.clone().unwrap_or_default();
    let status = deployment.status.clone().unwrap_or_default();
    let mut conditions = status.conditions.iter().flatten();
    let failure = conditions.find(|c| c.type_ == "ReplicaFailure" && c.status == "True");
    Workload {
        kind: "Deployment",
        wanted: spec.replicas.unwrap_or(1),
        current: status.replicas.unwrap_or(0),
        ready: status.ready_replicas.unwrap_or(0),
        updated: status.updated_replicas.unwrap_or(0),
        seen: status.observed_generation >= deployment.metadata.generation,
        image: image(&spec.template),
        failure: failure.and_then(|condition| condition.message.clone()),
    }
}

fn daemon_set(seen: &Seen, set: &DaemonSet) -> Workload {
    let status = set.status.clone().unwrap_or_default();
    let (wanted, current) = (status.desired_number_scheduled, status.current_number_scheduled);
    let refused = pods::about(&seen.events, "DaemonSet", &set.name_any())
        .filter(|event| event.reason.as_deref() == Some("FailedCreate"))
        .max_by_key(|event| pods::time(event));
    Workload {
        kind: "DaemonSet",
        wanted,
        current,
        ready: status.number_ready,
        updated: status.updated_number_scheduled.unwrap_or(0),
        seen: status.observed_generation >= set.metadata.generation,
        image: set.spec.as_ref().map(|spec| image(&spec.template)).unwrap_or_default(),
        failure: refused.filter(|_| current < wanted).and_then(|event| event.message.clone()),
    }
}

fn image(template: &PodTemplateSpec) -> String {
    let spec = template.spec.as_ref();
    let container = spec.and_then(|spec| spec.containers.first());
    container.and_then(|container| container.image.clone()).unwrap_or_default()
}

fn component(
    seen: &Seen,
    name: &str,
    kind: &'static str,
    workload: Option<Workload>,
    down: &BTreeSet<&str>,
    problems: &mut Vec<Problem>,
) -> Component {
    let mut component =
        Component { name: name.to_owned(), kind: kind.to_owned(), ..Component::default() };
    let object = named(seen, kind, name);
    let Some(workload) = workload else {
        let resource = if kind == "Deployment" { "deployments" } else { "daemonsets" };
        // Where nothing is there, that is said once.
        let others = seen.namespace.as_ref().is_some_and(|there| seen.namespaces.contains(there));
        if others && seen.may_read(resource) {
            let cause = "it is not there";
            problems.push(Problem::new(object, "Missing", cause, "helm upgrade puts it back"));
        }
        return component;
    };
    component.installed = true;
    (component.wanted, component.ready, component.updated) =
        (workload.wanted, workload.ready, workload.updated);
    let mut versions = BTreeSet::from([version(&workload.image)]);
    let is_full = workload.seen && workload.ready >= workload.wanted;
    let ours = seen.pods.iter().filter(|pod| pods::component(pod) == name);
    let mut explained = false;
    for pod in ours {
        let ends = pod.metadata.deletion_timestamp.is_some();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if !ends && !matches!(phase, Some("Failed" | "Succeeded")) {
            versions.insert(version(&pod_image(pod)));
        }
        let Some(why) = pods::why(pod, &seen.events, seen.now) else { continue };
        // What is left of a pod that was replaced says nothing about now.
        if phase == Some("Failed") && is_full {
            continue;
        }
        explained = true;
        let on = pods::node(pod);
        let node_is_down = down.contains(on);
        component.unready.push(UnreadyPod {
            name: pod.name_any(),
            node: on.to_owned(),
            reason: if node_is_down { "NodeNotReady".to_owned() } else { why.reason.clone() },
            message: why.cause.clone(),
        });
        if !node_is_down {
            let pod = named(seen, "Pod", &pod.name_any());
            problems.push(Problem::new(pod, &why.reason, why.cause, why.remedy));
        }
    }
    component.versions = versions.into_iter().filter(|version| !version.is_empty()).collect();
    problems.extend(of_workload(&object, name, &workload, explained));
    component
}

/// What no pod says.
fn of_workload(object: &str, name: &str, is: &Workload, explained: bool) -> Option<Problem> {
    let problem = |reason: &str, cause: String, remedy: &str| {
        Some(Problem::new(object, reason, cause, remedy))
    };
    let value = name.trim_start_matches("penstock-");
    if let Some(failure) = &is.failure {
        let cause = format!("its pods cannot be made: {}", one_line(failure));
        return problem(
            "FailedCreate",
            cause,
            "allow them in this namespace (Pod Security, quotas, admission webhooks)",
        );
    }
    if !is.seen {
        return problem(
            "NotObserved",
            "the cluster's controller manager has not looked at it yet".to_owned(),
            "wait (penstock status --wait); when it stays, look at the controller manager",
        );
    }
    if is.wanted == 0 {
        let (cause, remedy) = match is.kind {
            "Deployment" => (
                "no replica is wanted".to_owned(),
                "set operator.replicas in the values of the chart".to_owned(),
            ),
            _ => (
                "no node is to have one".to_owned(),
                format!(
                    "change {value}.tolerations or {value}.nodeSelector in the values of the chart, \
                     or add a node that fits"
                ),
            ),
        };
        return problem("NoneWanted", cause, &remedy);
    }
    if explained {
        return None;
    }
    let wait = "wait (penstock status --wait); when it stays, kubectl describe says more";
    if is.current < is.wanted {
        let cause = format!("{} of {} pods have been made", is.current, is.wanted);
        return problem("NotMade", cause, wait);
    }
    if is.ready < is.wanted {
        let cause = format!("{} of {} pods are ready", is.ready, is.wanted);
        return problem("NotReady", cause, wait);
    }
    if is.updated < is.wanted {
        let cause = format!("{} of {} pods are of the current template", is.updated, is.wanted);
        return problem("Updating", cause, wait);
    }
    None
}

/// The replica that leads, or why none does.
fn leader(lease: Option<&Lease>, now: Timestamp) -> Result<String, String> {
    let spec = lease.and_then(|lease| lease.spec.as_ref()).ok_or("no replica has ever led")?;
    let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty());
    let holder = holder.ok_or("no replica leads: the last one gave the lease back")?;
    let lasts = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or(LEASE).into());
    let silent =
        spec.renew_time.as_ref().map_or(SignedDuration::MAX, |at| now.duration_since(at.0));
    // The API server's Date header is in whole seconds.
    if silent > lasts + SignedDuration::from_secs(1) {
        let ago = match silent.as_secs() {
            seconds if silent < SignedDuration::MAX => format!(" for {seconds} s"),
            _ => String::new(),
        };
        return Err(format!("no replica leads: {holder} has not renewed the lease{ago}"));
    }
    Ok(holder.to_owned())
}

/// Components of different versions.
fn mixed(seen: &Seen, components: &[Component], problems: &mut Vec<Problem>) {
    let settled = components.iter().filter(|c| c.installed && c.versions.len() == 1);
    let all: BTreeSet<&String> = settled.clone().flat_map(|c| &c.versions).collect();
    if all.len() < 2 {
        return;
    }
    let words: Vec<String> =
        settled.map(|c| format!("{} is {}", c.name, c.versions.join(", "))).collect();
    let object = format!("Namespace {}", seen.namespace.as_deref().unwrap_or_default());
    let cause = format!("components are of different versions: {}", words.join(", "));
    let remedy = "helm upgrade with one version for all (image.tag, or none)";
    problems.push(Problem::new(object, "MixedVersions", cause, remedy));
}

fn node(seen: &Seen, node: &Node, problems: &mut Vec<Problem>) -> NodeLine {
    let name = node.name_any();
    let status = node.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().flatten().find(|c| c.type_ == "Ready");
    let is_ready = ready.is_some_and(|ready| ready.status == "True");
    if !is_ready {
        let message = ready.and_then(|ready| ready.message.as_deref());
        let reason = ready.and_then(|ready| ready.reason.as_deref()).unwrap_or("NodeNotReady");
        let cause = format!(
            "it is not ready: {}",
            one_line(message.unwrap_or("its kubelet has not reported yet"))
        );
        let remedy = "look at the machine and its kubelet, or delete the node object if it is gone";
        problems.push(Problem::new(format!("Node {name}"), reason, cause, remedy));
    }
    NodeLine {
        ready: is_ready,
        agent: presence(seen, &name, is_ready, AGENT),
        proxy: presence(seen, &name, is_ready, PROXY),
        kernel: status.node_info.map(|info| info.kernel_version).unwrap_or_default(),
        name,
    }
}

/// During an update a node has two: the better one counts.
fn presence(seen: &Seen, node: &str, node_is_ready: bool, component: &str) -> Presence {
    let here = seen.pods.iter().filter(|pod| {
        pods::node(pod) == node
            && pods::component(pod) == component
            && pod.metadata.deletion_timestamp.is_none()
    });
    here.map(|pod| match pods::why(pod, &[], seen.now) {
        None if node_is_ready => Presence::Ready,
        _ => Presence::NotReady,
    })
    .max()
    .unwrap_or(Presence::Absent)
}

fn pod_image(pod: &Pod) -> String {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    container.and_then(|container| container.image.clone()).unwrap_or_default()
}

/// The tag of an image; its digest where it has none.
fn version(image: &str) -> String {
    let (name, digest) = image.split_once('@').map_or((image, ""), |(n, digest)| (n, digest));
    // The port of a registry is no tag.
    match name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
        Some((_, tag)) => tag.to_owned(),
        None => digest.to_owned(),
    }
}

/// An object of the namespace that the chart is installed in.
fn named(seen: &Seen, kind: &str, name: &str) -> String {
    format!("{kind} {}/{name}", seen.namespace.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_version_of_an_image_is_its_tag_or_its_digest() {
        for (image, wanted) in [
            ("docker.io/penstock/penstock-agent:0.1.0", "0.1.0"),
            ("registry:5000/penstock/penstock-agent:v1@sha256:aa", "v1"),
            ("registry:5000/penstock/penstock-agent@sha256:aa", "sha256:aa"),
            ("registry:5000/penstock/penstock-agent", ""),
        ] {
            assert_eq!(version(image), wanted, "{image}");
        }
    }
}
