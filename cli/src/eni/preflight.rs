//! What stands in the way of ENI mode, from Kubernetes' side: functions from what was read to problems.

use super::{
    node::{self, Machine, machine},
    operator::Asked,
    report::Preflight,
    seen::Seen,
};
use crate::cluster::Problem;
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Node};
use kube::{ResourceExt as _, api::DynamicObject};
use penstock_eni::known_limits;
use std::collections::{BTreeMap, BTreeSet};

/// The CNI plugin that EKS brings, in `kube-system`.
const AWS_NODE: &str = "aws-node";

/// DaemonSets of other CNI plugins, in whichever namespace, and what they belong to.
const OTHERS: [(&str, &str); 11] = [
    ("antrea-agent", "Antrea"),
    ("calico-node", "Calico"),
    ("canal", "Canal"),
    ("cilium", "Cilium"),
    ("kindnet", "kindnet"),
    ("kube-flannel", "Flannel"),
    ("kube-flannel-ds", "Flannel"),
    ("kube-ovn-cni", "Kube-OVN"),
    ("kube-router", "kube-router"),
    ("ovnkube-node", "OVN-Kubernetes"),
    ("weave-net", "Weave Net"),
];

/// Pods in the node's own network that run on each node: agent and kube-proxy. They need no address.
const WITHOUT_ADDRESS: u32 = 2;

/// Names that a sentence lists.
const NAMED: usize = 3;

/// Nodes, each with the pods that its kubelet takes and the addresses that it can have.
type Short<'a> = Vec<(&'a Node, (u32, u32))>;

/// Judges everything.
pub(crate) fn judge(seen: &Seen, asked: Asked) -> Preflight {
    let mut problems: Vec<Problem> =
        seen.denied.iter().collect::<BTreeSet<_>>().into_iter().map(Problem::from).collect();
    problems.extend(other_plugins(seen));
    problems.extend(kube_proxy(seen));
    problems.extend(seen.nodes.iter().filter_map(identity));
    problems.extend(auto_mode(&seen.nodes));
    problems.extend(unknown_types(&seen.nodes));
    let known = seen.nodes.iter().filter_map(|node| {
        let limits = known_limits(node::kind(node))?;
        Some((node, limits.capacity(asked.first_interface, asked.prefixes)))
    });
    problems.extend(too_few(known));
    problems.extend(eni_configs(&seen.eni_configs));
    Preflight {
        well: problems.is_empty(),
        server: seen.server.clone(),
        kubernetes: seen.kubernetes.clone(),
        command: env!("CARGO_PKG_VERSION").to_owned(),
        nodes: seen.nodes.len(),
        prefix_delegation: asked.prefixes,
        first_interface_index: asked.first_interface,
        problems,
    }
}

/// CNI plugins beside Penstock that run on nodes, or will.
pub(crate) fn other_plugins(seen: &Seen) -> Vec<Problem> {
    let found = seen.sets.iter().filter_map(|set| {
        let (name, namespace) = (set.name_any(), set.namespace().unwrap_or_default());
        let reach = reach(set, &seen.nodes)?;
        let object = format!("DaemonSet {namespace}/{name}");
        if name == AWS_NODE && namespace == "kube-system" {
            return Some(Problem::new(
                object,
                "AwsNodeRuns",
                format!("EKS's own CNI plugin {reach}, and a node can have one only"),
                "kubectl -n kube-system delete daemonset aws-node (where it is a managed add-on: aws \
                 eks delete-addon --cluster-name CLUSTER --addon-name vpc-cni), or make the cluster \
                 without the add-on vpc-cni",
            ));
        }
        let (_, product) = OTHERS.iter().find(|(known, _)| *known == name)?;
        Some(Problem::new(
            object,
            "OtherCniRuns",
            format!("{product} {reach}, and a node can have one CNI plugin only"),
            format!("uninstall {product}, or install Penstock without eni.enabled"),
        ))
    });
    found.collect()
}

/// On how many nodes a DaemonSet runs, in words; `None` for none.
fn reach(set: &DaemonSet, nodes: &[Node]) -> Option<String> {
    let status = set.status.clone().unwrap_or_default();
    let observed = status.observed_generation.unwrap_or_default();
    let is_observed = observed > 0 && observed >= set.metadata.generation.unwrap_or_default();
    let selector = selector(set);
    if nodes.is_empty() {
        return selector.is_empty().then(|| "is there for every node that joins".to_owned());
    }
    let on = if is_observed {
        let wanted = status.desired_number_scheduled.max(status.current_number_scheduled);
        usize::try_from(wanted + status.number_misscheduled).unwrap_or_default()
    } else {
        let selects = |node: &&Node| {
            selector.iter().all(|(key, value)| node.labels().get(key) == Some(value))
        };
        nodes.iter().filter(selects).count()
    };
    (on > 0).then(|| format!("runs on {on} of {} nodes", nodes.len()))
}

fn selector(set: &DaemonSet) -> BTreeMap<String, String> {
    let spec = set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    spec.and_then(|spec| spec.node_selector.clone()).unwrap_or_default()
}

/// Without kube-proxy nobody translates the addresses of Services: Penstock does not.
fn kube_proxy(seen: &Seen) -> Option<Problem> {
    if !seen.may_read("daemonsets") {
        return None;
    }
    let runs = |set: &DaemonSet| {
        set.name_any().starts_with("kube-proxy") && reach(set, &seen.nodes).is_some()
    };
    if seen.sets.iter().any(runs) {
        return None;
    }
    Some(Problem::new(
        "DaemonSet kube-system/kube-proxy",
        "NoKubeProxy",
        "it runs on no node: Services (cluster IP, node port) would not work, since Penstock does not \
         take kube-proxy's place",
        "install it (aws eks create-addon --cluster-name CLUSTER --addon-name kube-proxy)",
    ))
}

/// A node that the operator cannot tell which instance it is.
pub(crate) fn identity(node: &Node) -> Option<Problem> {
    let object = format!("Node {}", node.name_any());
    match machine(node) {
        Machine::Unknown => {
            let id = node::provider_id(node);
            let cause = match id {
                "" => "it has no spec.providerID, so that nobody knows which instance it is".into(),
                id => format!("its spec.providerID {id:?} is no EC2 instance (aws:///ZONE/i-...)"),
            };
            Some(Problem::new(
                object,
                "NoInstance",
                cause,
                "run the AWS cloud controller manager (kubelet with --cloud-provider=external), or \
                 give its kubelet --provider-id=aws:///ZONE/i-...; nodes that are no EC2 instances get \
                 no addresses in ENI mode",
            ))
        }
        Machine::Instance if node::kind(node).is_empty() => Some(Problem::new(
            object,
            "NoInstanceType",
            "it has no label node.kubernetes.io/instance-type, so that its limits are not known",
            "run the AWS cloud controller manager, which sets it, or label the node",
        )),
        _ => None,
    }
}

/// Nodes with a network that cannot be replaced.
fn auto_mode(nodes: &[Node]) -> Option<Problem> {
    let auto: Vec<_> = nodes.iter().filter(|node| machine(node) == Machine::Auto).collect();
    let (first, _) = auto.split_first()?;
    Some(Problem::new(
        format!("Node {}", first.name_any()),
        "AutoMode",
        format!("EKS Auto Mode runs {}, with a network of its own", names(&auto)),
        "use managed node groups, self-managed nodes or Karpenter, and agent.tolerations or labels to \
         keep Penstock off nodes of Auto Mode",
    ))
}

/// Types that came after this command: what they can have cannot be predicted.
fn unknown_types(nodes: &[Node]) -> Vec<Problem> {
    let unknown = by_type(nodes.iter().map(|node| (node, ())))
        .into_iter()
        .filter(|(kind, _)| !kind.is_empty() && known_limits(kind).is_none());
    let problem = |(kind, nodes): (&str, Vec<(&Node, ())>)| {
        let nodes: Vec<&Node> = nodes.into_iter().map(|(node, ())| node).collect();
        Problem::new(
            format!("Instance type {kind}"),
            "UnknownInstanceType",
            format!("it is not known how many addresses it can have: {}", names(&nodes)),
            format!(
                "correct the label node.kubernetes.io/instance-type, or, where the type is newer than \
                 this command, look yourself (aws ec2 describe-instance-types --instance-types {kind} \
                 --query 'InstanceTypes[].NetworkInfo'): the operator asks EC2 in any case"
            ),
        )
    };
    unknown.map(problem).collect()
}

/// Nodes whose kubelet takes more pods than there can be addresses, by instance type.
pub(crate) fn too_few<'a>(nodes: impl Iterator<Item = (&'a Node, u32)>) -> Vec<Problem> {
    let short = nodes.filter_map(|(node, capacity)| {
        let pods = node::pods(node).filter(|pods| *pods > capacity + WITHOUT_ADDRESS)?;
        Some((node, (pods, capacity)))
    });
    let problem = |(kind, short): (&str, Short<'_>)| {
        let (pods, capacity) = short.iter().map(|(_, counts)| *counts).max()?;
        let nodes: Vec<&Node> = short.iter().map(|(node, _)| *node).collect();
        let most = capacity + WITHOUT_ADDRESS;
        Some(Problem::new(
            format!("Instance type {kind}"),
            "TooFewAddresses",
            format!(
                "kubelet takes {pods} pods, and there are {capacity} addresses at most: {}",
                names(&nodes)
            ),
            format!(
                "give kubelet --max-pods={most} ({WITHOUT_ADDRESS} pods of the node's own network need \
                 none), set eni.awsEnablePrefixDelegation (sixteen times as many on Nitro instances), or \
                 use a larger type"
            ),
        ))
    };
    by_type(short).into_iter().filter_map(problem).collect()
}

/// What aws-node's custom networking left: Penstock does not read it.
fn eni_configs(configs: &[DynamicObject]) -> Option<Problem> {
    let (first, _) = configs.split_first()?;
    let spec = |config: &DynamicObject| {
        let spec = &config.data["spec"];
        let subnet = spec["subnet"].as_str().unwrap_or("no subnet").to_owned();
        format!("{} ({subnet})", config.name_any())
    };
    let shown: Vec<_> = configs.iter().take(NAMED).map(spec).collect();
    Some(Problem::new(
        format!("ENIConfig {}", first.name_any()),
        "EniConfigLeft",
        format!(
            "aws-node's custom networking is not read by Penstock: {}",
            some(&shown, configs.len())
        ),
        "take their subnets and groups over to eni.nodeSpec.subnetIDs and eni.nodeSpec.securityGroups \
         (firstInterfaceIndex 1 keeps pods out of the nodes' subnets), then kubectl delete \
         eniconfigs.crd.k8s.amazonaws.com --all",
    ))
}

/// Nodes that are instances, by type.
fn by_type<'a, T>(
    nodes: impl Iterator<Item = (&'a Node, T)>,
) -> BTreeMap<&'a str, Vec<(&'a Node, T)>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (node, value) in nodes.filter(|(node, _)| machine(node) == Machine::Instance) {
        all.entry(node::kind(node)).or_default().push((node, value));
    }
    all
}

/// Some nodes by name.
fn names(nodes: &[&Node]) -> String {
    let shown: Vec<_> = nodes.iter().take(NAMED).map(|node| node.name_any()).collect();
    some(&shown, nodes.len())
}

/// The first of some things, and how many there are beside them.
pub(crate) fn some(shown: &[String], all: usize) -> String {
    match all - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
