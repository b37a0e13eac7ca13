//! The whole report, and what people see of it.

use super::fixtures::{expect, report, well};
use crate::{
    cluster::Problem,
    status::{seen::Seen, show},
};
use serde_json::json;

#[test]
fn a_cluster_in_which_everything_is_well_has_no_problem_and_no_note() {
    let report = report(&well());
    assert_eq!((&report.problems, &report.notes), (&vec![], &vec![]));
    let text = show::text(&report);
    let wanted = "\
Penstock in namespace system at https://api, Kubernetes v1.36.0

COMPONENT          READY  UPDATED  VERSION
penstock-operator  2/2    2        0.1.0    leader penstock-operator-a
penstock-agent     2/2    2        0.1.0
penstock-proxy     2/2    2        0.1.0

NODE    READY  AGENT  PROXY  KERNEL
node-1  yes    ready  ready  6.12.0
node-2  yes    ready  ready  6.12.0

GatewayClass penstock: accepted
HTTPRoutes: 1 of 1 well
WasmFilters: 1 of 1 well
LoadBalancerPool edge: accepted, 1 used, 7 free

GATEWAY   CLASS     ADDRESSES  ACCEPTED  PROGRAMMED  LISTENERS
shop/web  penstock  192.0.2.1  yes       yes         http HTTP:80 (1 route)

everything is well
";
    assert_eq!(text, wanted);
}

#[test]
fn json_has_the_names_that_are_documented() {
    let value = serde_json::to_value(report(&well())).expect("JSON");
    for (pointer, wanted) in [
        ("/well", json!(true)),
        ("/namespace", json!("system")),
        ("/components/0/leader", json!("penstock-operator-a")),
        ("/components/1/kind", json!("DaemonSet")),
        ("/nodes/1/proxy", json!("ready")),
        ("/gatewayClasses/0/accepted", json!(true)),
        ("/gateways/0/listeners/0/attachedRoutes", json!(1)),
        ("/routes/notWell", json!([])),
        ("/wasmFilters/total", json!(1)),
        ("/loadBalancerPools/0/free", json!("7")),
        ("/problems", json!([])),
    ] {
        assert_eq!(value.pointer(pointer), Some(&wanted), "{pointer}");
    }
}

#[test]
fn values_that_ask_for_what_is_not_there_are_noted_and_no_problem() {
    let mut seen = well();
    let operator = seen.operator.as_mut().expect("a Deployment");
    operator.metadata.annotations.get_or_insert_default().insert(
        "penstock.dev/not-in-this-version".into(),
        "eni.enabled,ipam.mode=eni,hubble.enabled".into(),
    );
    let report = report(&seen);
    assert!(report.well);
    let [addresses, flows] = report.notes.as_slice() else { panic!("{:?}", report.notes) };
    assert!(addresses.starts_with("not in this version: eni.enabled, ipam.mode=eni: "));
    assert!(addresses.contains("leave it (aws-node on EKS) installed"));
    assert!(flows.starts_with("not in this version: hubble.enabled: flows are not recorded"));
    let text = show::text(&report);
    assert!(text.contains("\nnote: not in this version: eni.enabled"), "{text}");
    assert!(text.ends_with("everything is well\n"), "{text}");
}

#[test]
fn a_cluster_without_penstock_says_how_to_install_it() {
    let mut seen = Seen::default();
    expect(&seen, "Cluster", "NotInstalled", &["helm install penstock charts/penstock"]);
    seen.namespace = Some("here".into());
    let report = report(&seen);
    assert!(report.problems[0].remedy.starts_with("leave -n out"), "{}", report.problems[0]);
}

#[test]
fn two_installations_in_one_cluster_are_a_problem() {
    let mut seen = well();
    seen.namespaces.insert("other".into());
    expect(&seen, "Cluster", "InstalledTwice", &["in other, system", "helm uninstall"]);
}

#[test]
fn many_problems_are_counted() {
    let mut report = report(&well());
    let problem = |n: usize| Problem::new(format!("Pod n/{n}"), "R", "cause", "remedy");
    report.problems = (0..60).map(problem).collect();
    let text = show::text(&report);
    assert!(text.contains("60 problems:\n  Pod n/0: cause; remedy\n"), "{text}");
    assert!(text.ends_with("  Pod n/49: cause; remedy\n  and 10 more: -o json has them all\n"));
}
