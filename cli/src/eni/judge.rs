//! What nodes have of addresses, and what is wrong: a function from what was read to a report.

use super::{
    node::{self, Machine, machine},
    operator::{is_in_eni_mode, taint},
    preflight::{identity, other_plugins, some, too_few},
    report::{NodeLine, Report, Totals},
    seen::Seen,
};
use crate::cluster::{Problem, one_line};
use k8s_openapi::{
    api::core::v1::{Node, Pod},
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt as _;
use penstock_resources::{PenstockNode, penstock_node::PenstockNodeStatus};
use std::collections::{BTreeMap, BTreeSet};

/// For how long a node may keep the taint before it is asked why.
const STARTS: SignedDuration = SignedDuration::from_secs(60);

/// For how long a pod may wait for its address before it is asked why: what is missing comes from EC2
/// in a few seconds.
const WAITS: SignedDuration = SignedDuration::from_secs(30);

/// What the CNI plugin says where there is no address, as kubelet repeats it.
pub(crate) const NO_ADDRESS: [&str; 2] =
    ["no address is free", "no interface of the node is known"];

/// Pods that a sentence lists.
const NAMED: usize = 3;

/// Judges everything. Problems of nodes are kept apart until [`Report::only`].
pub(crate) fn judge(seen: &Seen) -> Report {
    let mut problems: Vec<Problem> =
        seen.denied.iter().collect::<BTreeSet<_>>().into_iter().map(Problem::from).collect();
    let published: BTreeMap<String, &PenstockNode> =
        seen.published.iter().flatten().map(|object| (object.name_any(), object)).collect();
    let mode = mode(seen, &published);
    let runs = mode.is_none();
    problems.extend(mode);
    let mut of_nodes = Vec::new();
    if runs {
        problems.extend(other_plugins(seen));
        let counted = seen.nodes.iter().filter_map(|node| {
            let status = published.get(&node.name_any())?.status.as_ref()?;
            // Zero: EC2 has not described the type yet.
            let capacity = Some(status.addresses.capacity).filter(|capacity| *capacity > 0)?;
            Some((node, capacity))
        });
        problems.extend(too_few(counted));
        for node in &seen.nodes {
            let name = node.name_any();
            let found = of_node(seen, node, published.get(&name).copied());
            of_nodes.extend(found.into_iter().map(|problem| (name.clone(), problem)));
        }
    }
    let there: BTreeSet<String> = seen.nodes.iter().map(|node| node.name_any()).collect();
    if seen.may_read("nodes") {
        let gone = published.keys().filter(|name| !there.contains(*name));
        of_nodes.extend(gone.map(|name| (name.clone(), is_gone(name))));
    }
    let mut nodes: Vec<NodeLine> = seen
        .nodes
        .iter()
        .map(|node| line(node, published.get(&node.name_any()).copied()))
        .chain(published.iter().filter(|(name, _)| !there.contains(*name)).map(|(name, object)| {
            let status = object.status.clone().unwrap_or_default();
            NodeLine { name: name.clone(), ..of_status(&status) }
        }))
        .collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    Report {
        well: problems.is_empty() && of_nodes.is_empty(),
        server: seen.server.clone(),
        kubernetes: seen.kubernetes.clone(),
        command: env!("CARGO_PKG_VERSION").to_owned(),
        totals: Totals::of(&nodes),
        nodes,
        problems,
        of_nodes,
    }
}

fn line(node: &Node, published: Option<&PenstockNode>) -> NodeLine {
    let mut line = match published.and_then(|object| object.status.as_ref()) {
        Some(status) => of_status(status),
        None => NodeLine {
            instance_type: node::kind(node).to_owned(),
            zone: node::zone(node).to_owned(),
            ..NodeLine::default()
        },
    };
    line.name = node.name_any();
    line
}

fn of_status(status: &PenstockNodeStatus) -> NodeLine {
    NodeLine {
        name: String::new(),
        instance_type: status.instance_type.clone(),
        zone: status.zone.clone(),
        addresses: Some(status.addresses),
        problem: status.problem.clone(),
    }
}

/// Why nobody looks after addresses in this cluster, if nobody does.
fn mode(seen: &Seen, published: &BTreeMap<String, &PenstockNode>) -> Option<Problem> {
    let enable =
        "helm upgrade with eni.enabled=true (penstock eni preflight says what stands in its way)";
    let instances = seen.nodes.iter().any(|node| machine(node) == Machine::Instance);
    match &seen.operator {
        None if seen.may_read("deployments") => Some(Problem::new(
            "Cluster",
            "NotInstalled",
            "Penstock is not installed in this cluster",
            "helm install penstock charts/penstock -n penstock-system --create-namespace --set \
             eni.enabled=true (penstock eni preflight says what stands in its way)",
        )),
        Some(operator) if !is_in_eni_mode(operator) => Some(Problem::new(
            object(seen),
            "NotInEniMode",
            "the operator is not in ENI mode: pods have addresses of another CNI plugin",
            enable,
        )),
        _ if seen.published.is_none() => Some(Problem::new(
            "CustomResourceDefinition PenstockNode (penstock.dev)",
            "DefinitionMissing",
            "it is not installed: the operator cannot publish what nodes have",
            "helm upgrade with crds.install=true",
        )),
        _ if published.is_empty() && instances && seen.may_read("penstocknodes") => {
            Some(Problem::new(
                object(seen),
                "NothingPublished",
                "the operator has published nothing of any node: no replica leads, or it cannot write \
             PenstockNodes",
                format!(
                    "look at its log ({}); penstock status says which replica leads",
                    logs(seen)
                ),
            ))
        }
        _ => None,
    }
}

fn of_node(seen: &Seen, node: &Node, published: Option<&PenstockNode>) -> Vec<Problem> {
    let name = node.name_any();
    let mut problems = Vec::new();
    let status = published.and_then(|object| object.status.as_ref());
    if status.is_none() && seen.may_read("penstocknodes") {
        problems.extend(unpublished(seen, node));
    }
    let problem = status.and_then(|status| status.problem.as_ref());
    if let Some(problem) = problem {
        let missing = match problem.missing {
            0 => String::new(),
            1 => "1 address is missing: ".to_owned(),
            n => format!("{n} addresses are missing: "),
        };
        problems.push(Problem::new(
            format!("PenstockNode {name}"),
            &problem.reason,
            format!("{missing}{}", one_line(&problem.message)),
            remedy(seen, &problem.reason),
        ));
    }
    let key = taint(seen.operator.as_ref());
    if let Some(since) = node::tainted_for(node, &key, seen.now).filter(|since| *since > STARTS) {
        let why = match problem {
            Some(_) => "see the problem of its addresses",
            None => "look at the agent's pod on it (penstock status), then at its log",
        };
        problems.push(Problem::new(
            format!("Node {name}"),
            "AgentNotReady",
            format!(
                "it has had the taint {key} for {} s: no pod is started before its agent is ready and \
                 pods get addresses",
                since.as_secs()
            ),
            why,
        ));
    }
    problems.extend(waiting(seen, &name, status));
    problems
}

/// A node that nothing is published of.
fn unpublished(seen: &Seen, node: &Node) -> Option<Problem> {
    if matches!(machine(node), Machine::Auto | Machine::Elsewhere) {
        return None;
    }
    Some(identity(node).unwrap_or_else(|| {
        Problem::new(
            format!("Node {}", node.name_any()),
            "NotPublished",
            "it has no PenstockNode: the operator does not look after it",
            format!(
                "wait some seconds where it is new; then look at the operator's log ({})",
                logs(seen)
            ),
        )
    }))
}

fn is_gone(name: &str) -> Problem {
    Problem::new(
        format!("PenstockNode {name}"),
        "NodeGone",
        "there is no Node of that name any more, and the object should have gone with it",
        format!(
            "kubectl delete penstocknode {name}; where that happens again, look at the cluster's garbage \
             collector (kube-controller-manager)"
        ),
    )
}

/// Pods of a node that wait for their address.
fn waiting(seen: &Seen, node: &str, status: Option<&PenstockNodeStatus>) -> Option<Problem> {
    let none_free = status.is_some_and(|s| s.addresses.free == 0 && s.addresses.pending > 0);
    let waits = |pod: &&Pod| {
        let spec = pod.spec.as_ref();
        let is_here = spec.and_then(|spec| spec.node_name.as_deref()) == Some(node);
        let has_own = !spec.and_then(|spec| spec.host_network).unwrap_or_default();
        is_here && has_own && is_overdue(pod, seen.now) && (none_free || was_refused(seen, pod))
    };
    let pods: Vec<&Pod> = seen.pending.iter().filter(waits).collect();
    if pods.is_empty() {
        return None;
    }
    let name = |pod: &&Pod| format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    let shown: Vec<String> = pods.iter().take(NAMED).map(name).collect();
    let remedy = match status.and_then(|status| status.problem.as_ref()) {
        Some(_) => "see the problem of its addresses".to_owned(),
        None => format!(
            "look at the node's events and at the operator's log ({}): more addresses were asked for",
            logs(seen)
        ),
    };
    Some(Problem::new(
        format!("Node {node}"),
        "PodsWait",
        format!("pods wait for addresses: {}", some(&shown, pods.len())),
        remedy,
    ))
}

/// Whether a pod was put on its node long ago and has no network yet.
fn is_overdue(pod: &Pod, now: Timestamp) -> bool {
    let Some(status) = &pod.status else { return false };
    let condition = |kind: &str| status.conditions.iter().flatten().find(|c| c.type_ == kind);
    if condition("PodReadyToStartContainers").is_some_and(|c| c.status == "True") {
        return false;
    }
    let placed = condition("PodScheduled").filter(|placed| placed.status == "True");
    let since = placed.and_then(|placed| placed.last_transition_time.as_ref());
    since.or(status.start_time.as_ref()).is_some_and(|at| now.duration_since(at.0) > WAITS)
}

/// Whether kubelet was told that there is no address for a pod.
fn was_refused(seen: &Seen, pod: &Pod) -> bool {
    seen.events.iter().any(|event| {
        let object = &event.involved_object;
        let message = event.message.as_deref().unwrap_or_default();
        object.kind.as_deref() == Some("Pod")
            && object.name.as_deref() == Some(&pod.name_any())
            && object.namespace == pod.namespace()
            && NO_ADDRESS.iter().any(|words| message.contains(words))
    })
}

/// What to do about a problem that the operator published, by its reason.
fn remedy(seen: &Seen, reason: &str) -> String {
    let ask = format!("{} -- /penstock-operator preflight", kubectl(seen, "exec"));
    match reason {
        "InstanceFull" => {
            "use a larger type, eni.awsEnablePrefixDelegation, or fewer pods (kubelet --max-pods)".into()
        }
        "UnknownInstanceType" => {
            "check the label node.kubernetes.io/instance-type, and that EC2 offers the type in this region"
                .into()
        }
        "SubnetFull" | "NoSubnet" | "NoSecurityGroups" => {
            format!("correct eni.nodeSpec, or make room in the VPC; {ask} checks what it selects")
        }
        "Throttled" | "NoAnswer" | "Internal" => "wait: it is tried again".into(),
        _ => format!("{ask} names everything that EC2 does not permit"),
    }
}

/// The operator's Deployment.
fn object(seen: &Seen) -> String {
    format!("Deployment {}/penstock-operator", namespace(seen))
}

fn logs(seen: &Seen) -> String {
    kubectl(seen, "logs")
}

fn kubectl(seen: &Seen, verb: &str) -> String {
    format!("kubectl -n {} {verb} deploy/penstock-operator", namespace(seen))
}

fn namespace(seen: &Seen) -> String {
    let namespace = seen.operator.as_ref().and_then(|operator| operator.namespace());
    namespace.unwrap_or_else(|| "penstock-system".to_owned())
}
