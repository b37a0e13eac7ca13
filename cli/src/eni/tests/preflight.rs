//! What stands in the way.

use super::fixtures::{expect, node, object, set, well};
use crate::{
    args::{Cli, Command, EniCommand, EniPreflightArgs},
    cluster::{Denied, Problem},
    eni::{
        operator::{Asked, asked},
        preflight::judge,
        seen::Seen,
        show,
    },
};
use clap::Parser as _;
use serde_json::json;

fn problems(seen: &Seen) -> Vec<Problem> {
    let report = judge(seen, Asked::default());
    assert_eq!(report.well, report.problems.is_empty());
    report.problems
}

#[test]
fn a_cluster_that_is_ready_for_it_is_said_to_be() {
    let report = judge(&well(), Asked::default());
    assert_eq!(
        show::preflight(&report),
        "ENI mode at https://api, Kubernetes v1.36.0: 2 nodes, with single addresses from interface 0 \
         on\n\nnothing stands in the way\n"
    );
}

#[test]
fn another_cni_plugin_that_runs_on_nodes_is_named_with_how_to_switch_it_off() {
    let delete = "kubectl -n kube-system delete daemonset aws-node";
    for (namespace, name, reason, words) in [
        ("kube-system", "aws-node", "AwsNodeRuns", ["runs on 2 of 2 nodes", delete]),
        (
            "kube-system",
            "cilium",
            "OtherCniRuns",
            ["Cilium runs on 2 of 2 nodes", "uninstall Cilium"],
        ),
        ("calico-system", "calico-node", "OtherCniRuns", ["Calico", "without eni.enabled"]),
        ("kube-flannel", "kube-flannel-ds", "OtherCniRuns", ["Flannel", "uninstall Flannel"]),
    ] {
        let mut seen = well();
        seen.sets.push(set(namespace, name, 2));
        expect(&problems(&seen), &format!("DaemonSet {namespace}/{name}"), reason, &words);
    }
}

#[test]
fn a_plugin_that_selects_no_node_is_switched_off_and_one_whose_pods_are_left_is_not() {
    let mut seen = well();
    seen.sets.push(set("kube-system", "aws-node", 0));
    assert_eq!(problems(&seen), []);
    let left = seen.sets[2].status.as_mut().expect("a status");
    left.number_misscheduled = 1;
    expect(&problems(&seen), "DaemonSet kube-system/aws-node", "AwsNodeRuns", &["on 1 of 2 nodes"]);
    // Before its controller looked at it, its selector says.
    let mut seen = well();
    let mut fresh = set("kube-system", "aws-node", 2);
    fresh.status = None;
    seen.sets.push(fresh.clone());
    expect(&problems(&seen), "DaemonSet kube-system/aws-node", "AwsNodeRuns", &["on 2 of 2 nodes"]);
    let spec = fresh.spec.as_mut().and_then(|spec| spec.template.spec.as_mut()).expect("a spec");
    spec.node_selector = Some([("no".to_owned(), "such".to_owned())].into());
    seen.sets[2] = fresh;
    assert_eq!(problems(&seen), []);
}

#[test]
fn a_cluster_without_nodes_is_judged_by_what_will_run_on_them() {
    let mut seen = well();
    seen.nodes.clear();
    assert_eq!(problems(&seen), []);
    seen.sets.push(set("kube-system", "aws-node", 0));
    let words = ["is there for every node that joins"];
    expect(&problems(&seen), "DaemonSet kube-system/aws-node", "AwsNodeRuns", &words);
}

#[test]
fn a_plugin_of_that_name_in_another_namespace_is_not_the_one_of_eks() {
    let mut seen = well();
    seen.sets.push(set("test", "aws-node", 2));
    assert_eq!(problems(&seen), []);
}

#[test]
fn without_kube_proxy_services_would_not_work() {
    let mut seen = well();
    seen.sets.remove(0);
    let words = ["Services (cluster IP, node port) would not work", "--addon-name kube-proxy"];
    expect(&problems(&seen), "DaemonSet kube-system/kube-proxy", "NoKubeProxy", &words);
}

#[test]
fn nodes_that_are_no_instances_are_named_and_those_without_addresses_of_their_own_are_not() {
    for (id, words) in [
        (None, ["it has no spec.providerID", "cloud controller manager"]),
        (
            Some("gce://p/z/i-1"),
            ["\"gce://p/z/i-1\" is no EC2 instance", "--provider-id=aws:///ZONE/i-"],
        ),
        (Some("aws:///eu-central-1a"), ["is no EC2 instance", "get no addresses"]),
    ] {
        let mut seen = well();
        seen.nodes[1].spec.as_mut().expect("a spec").provider_id = id.map(str::to_owned);
        expect(&problems(&seen), "Node node-2", "NoInstance", &words);
    }
    let mut seen = well();
    seen.nodes[1].metadata.labels = None;
    let words = ["no label node.kubernetes.io/instance-type"];
    expect(&problems(&seen), "Node node-2", "NoInstanceType", &words);
    for (compute, id) in
        [("fargate", "aws:///a/fargate-ip-10-0-0-1"), ("hybrid", "eks-hybrid:///x")]
    {
        let mut seen = well();
        let compute = ("eks.amazonaws.com/compute-type".to_owned(), compute.to_owned());
        seen.nodes[1].metadata.labels = Some([compute].into());
        seen.nodes[1].spec.as_mut().expect("a spec").provider_id = Some(id.into());
        assert_eq!(problems(&seen), [], "{id}");
    }
}

#[test]
fn nodes_of_auto_mode_have_a_network_that_stays() {
    let mut seen = well();
    let labels = seen.nodes[0].metadata.labels.as_mut().expect("labels");
    labels.insert("eks.amazonaws.com/compute-type".into(), "auto".into());
    expect(&problems(&seen), "Node node-1", "AutoMode", &["Auto Mode runs node-1", "node groups"]);
}

#[test]
fn a_type_that_is_not_known_is_named_with_its_nodes() {
    let mut seen = well();
    seen.nodes.extend((3..8).map(|n| node(&format!("node-{n}"), "m99.huge")));
    let words =
        ["node-3, node-4, node-5 and 2 more", "describe-instance-types --instance-types m99.huge"];
    expect(&problems(&seen), "Instance type m99.huge", "UnknownInstanceType", &words);
}

#[test]
fn a_kubelet_that_takes_more_pods_than_there_are_addresses_is_told_how_many() {
    let mut seen = well();
    let pods = |pods: &str| object(json!({"allocatable": {"pods": pods}}));
    seen.nodes[0].status = Some(pods("30"));
    let words =
        ["kubelet takes 30 pods, and there are 27 addresses at most: node-1", "--max-pods=29"];
    expect(&problems(&seen), "Instance type m5.large", "TooFewAddresses", &words);
    // The two of the node's own network need none.
    seen.nodes[0].status = Some(pods("29"));
    assert_eq!(problems(&seen), []);
    // Pods that stay off the first interface have fewer, and with prefixes many more.
    let second = Asked { first_interface: 1, prefixes: false };
    let report = judge(&seen, second);
    expect(&report.problems, "Instance type m5.large", "TooFewAddresses", &["18 addresses", "=20"]);
    assert_eq!(judge(&seen, Asked { prefixes: true, ..second }).problems, []);
}

#[test]
fn what_the_operator_is_told_counts_unless_the_command_line_says_otherwise() {
    let args = |line: &[&str]| -> EniPreflightArgs {
        let line = ["penstock", "eni", "preflight"].iter().chain(line);
        let Command::Eni(EniCommand::Preflight(args)) = Cli::parse_from(line).command else {
            panic!("another command")
        };
        args
    };
    let mut seen = well();
    let plain = asked(seen.operator.as_ref(), &args(&[]));
    assert_eq!(plain, Asked { prefixes: false, first_interface: 0 });
    let operator = seen.operator.as_mut().and_then(|operator| operator.spec.as_mut());
    let pod = operator.and_then(|spec| spec.template.spec.as_mut()).expect("a spec");
    pod.containers[0].env.as_mut().expect("variables")[0].value = Some(
        r#"{"eni": {"awsEnablePrefixDelegation": true, "nodeSpec": {"firstInterfaceIndex": 1}}}"#
            .into(),
    );
    let told = asked(seen.operator.as_ref(), &args(&[]));
    assert_eq!(told, Asked { prefixes: true, first_interface: 1 });
    let told = asked(seen.operator.as_ref(), &args(&["--first-interface-index", "0"]));
    assert_eq!(told, Asked { prefixes: true, first_interface: 0 });
    let told = asked(None, &args(&["--prefix-delegation"]));
    assert_eq!(told, Asked { prefixes: true, first_interface: 0 });
}

#[test]
fn what_custom_networking_left_is_named_with_where_it_belongs_now() {
    let mut seen = well();
    seen.eni_configs = ["eu-central-1a", "eu-central-1b"]
        .map(|zone| {
            object(json!({
                "apiVersion": "crd.k8s.amazonaws.com/v1alpha1", "kind": "ENIConfig",
                "metadata": {"name": zone}, "spec": {"subnet": format!("subnet-{zone}")},
            }))
        })
        .into();
    let words = ["eu-central-1a (subnet-eu-central-1a), eu-central-1b (", "eni.nodeSpec.subnetIDs"];
    expect(&problems(&seen), "ENIConfig eu-central-1a", "EniConfigLeft", &words);
}

#[test]
fn what_may_not_be_read_is_said_and_nothing_is_made_of_it() {
    let mut seen = Seen::default();
    let denied = |resource: &str| Denied {
        verb: "list",
        resource: resource.into(),
        group: String::new(),
        namespace: None,
    };
    seen.denied = vec![denied("daemonsets")];
    expect(
        &problems(&seen),
        "Rights list daemonsets",
        "Forbidden",
        &["you may not list daemonsets"],
    );
}
