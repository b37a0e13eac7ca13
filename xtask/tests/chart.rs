//! The Helm chart, rendered by Helm: what it grants, what it refuses, what it says.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

/// The values that the design guide installs on EKS.
const GUIDE: [&str; 9] = [
    "eni.enabled=true",
    "eni.awsEnablePrefixDelegation=true",
    "ipam.mode=eni",
    "routingMode=native",
    "gatewayAPI.enabled=true",
    "hubble.enabled=true",
    "hubble.relay.enabled=true",
    "hubble.ui.enabled=true",
    "operator.replicas=2",
];

/// Helm, built where it is missing.
static HELM: LazyLock<PathBuf> = LazyLock::new(|| {
    let output = Command::new("bash").arg(root().join("tests/cluster/build.sh")).output();
    let output = output.expect("bash runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = String::from_utf8(output.stdout).expect("UTF-8");
    Path::new(folder.lines().last().expect("the folder")).join("helm")
});

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs Helm on the chart, without a cluster and without anything of the home folder.
fn helm(arguments: &[&str], values: &[&str]) -> Output {
    let mut command = Command::new(HELM.as_path());
    command.args(arguments).arg(root().join("charts/penstock"));
    values.iter().for_each(|value| _ = command.args(["--set", value]));
    command.env("HOME", env!("CARGO_TARGET_TMPDIR")).env_remove("KUBECONFIG");
    command.output().expect("helm runs")
}

fn objects(values: &[&str]) -> Vec<Value> {
    let output = helm(&["template", "penstock", "--namespace", "penstock-system"], values);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let all: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
    all.into_iter().filter(|object| !object.is_null()).collect()
}

fn object(all: &[Value], kind: &str, name: &str) -> Value {
    let found = all.iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}")).clone()
}

fn pod(all: &[Value], kind: &str, name: &str) -> Value {
    object(all, kind, name)["spec"]["template"]["spec"].clone()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn the_values_of_the_guide_install_unchanged() {
    let output = helm(&["lint", "--strict"], &GUIDE);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let all = objects(&GUIDE);
    assert_eq!(object(&all, "Deployment", "penstock-operator")["spec"]["replicas"], 2);
    let class = object(&all, "GatewayClass", "penstock");
    assert_eq!(class["spec"]["controllerName"], "penstock.dev/gateway-controller");
    let none = objects(&["gatewayAPI.enabled=false"]);
    assert!(none.iter().all(|object| object["kind"] != "GatewayClass"));
}

#[test]
fn what_is_not_there_yet_is_said_after_the_installation() {
    let notes = |values: &[&str]| {
        let output = helm(&["install", "penstock", "--dry-run=client"], values);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.split_once("NOTES:").expect("notes").1.to_owned()
    };
    let guide = notes(&GUIDE);
    assert!(guide.contains("NOT IN THIS VERSION: hubble."), "{guide}");
    assert!(guide.contains("aws-node must not run"), "{guide}");
    assert!(!notes(&[]).contains("NOT IN THIS VERSION"));
}

/// `penstock status` reads these; a value with a trailing space or another form would be shown.
#[test]
fn what_is_not_there_yet_stands_on_the_operator_for_penstock_status() {
    let annotations = |values: &[&str]| {
        object(&objects(values), "Deployment", "penstock-operator")["metadata"]["annotations"]
            .clone()
    };
    let guide = json!({
        "penstock.dev/gateway-class": "penstock",
        "penstock.dev/not-in-this-version":
            "hubble.enabled,hubble.relay.enabled,hubble.ui.enabled",
    });
    assert_eq!(annotations(&GUIDE), guide);
    let none = json!({"penstock.dev/not-in-this-version": ""});
    assert_eq!(annotations(&["gatewayAPI.enabled=false"]), none);
}

#[test]
fn the_last_words_of_a_process_stand_in_the_status_of_its_pod() {
    let all = objects(&[]);
    for (kind, name) in [
        ("Deployment", "penstock-operator"),
        ("DaemonSet", "penstock-agent"),
        ("DaemonSet", "penstock-proxy"),
    ] {
        let container = &pod(&all, kind, name)["containers"][0];
        assert_eq!(container["terminationMessagePolicy"], "FallbackToLogsOnError", "{name}");
    }
}

#[test]
fn a_misspelt_key_is_refused_at_every_depth() {
    for value in ["enii.enabled=true", "operator.replica=2", "hubble.relay.enable=true"] {
        let output = helm(&["template", "penstock"], &[value]);
        assert!(!output.status.success(), "{value}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("additional properties"), "{said}");
    }
}

#[test]
fn every_value_has_a_schema_that_is_closed_and_every_schema_a_default() {
    let read = |file: &str| {
        let path = root().join("charts/penstock").join(file);
        std::fs::read_to_string(path).expect("a file of the chart")
    };
    let schema: Value = serde_json::from_str(&read("values.schema.json")).expect("JSON");
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).expect("YAML");
    fn compare(schema: &Value, values: &Value, definitions: &Value, at: &str) {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.trim_start_matches("#/definitions/");
            return compare(&definitions[name], values, definitions, at);
        }
        let Some(properties) = schema["properties"].as_object() else { return };
        assert_eq!(schema["additionalProperties"], false, "{at} takes any key");
        let known: BTreeSet<&String> = properties.keys().collect();
        let there: BTreeSet<&String> = values.as_object().expect(at).keys().collect();
        // `global` is Helm's own; it hands it to every chart.
        let missing: Vec<_> =
            known.symmetric_difference(&there).filter(|k| **k != "global").collect();
        assert!(missing.is_empty(), "{at}: {missing:?}");
        for (name, below) in properties {
            compare(below, &values[name], definitions, &format!("{at}.{name}"));
        }
    }
    compare(&schema, &values, &schema["definitions"], "values");
}

#[test]
fn the_proxy_has_no_privilege_at_all() {
    let pod = pod(&objects(&GUIDE), "DaemonSet", "penstock-proxy");
    assert_eq!(pod["automountServiceAccountToken"], false);
    for shared in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
        assert!(pod[shared].is_null() || pod[shared] == false, "{shared}");
    }
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"], json!({"type": "RuntimeDefault"}));
    let containers = pod["containers"].as_array().expect("containers");
    assert_eq!(containers.len(), 1);
    for container in containers {
        let wanted = json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        });
        assert_eq!(container["securityContext"], wanted);
        for port in container["ports"].as_array().into_iter().flatten() {
            assert!(port["hostPort"].is_null(), "{port}");
        }
    }
    let host: BTreeSet<_> = pod["volumes"]
        .as_array()
        .expect("volumes")
        .iter()
        .collect::<Vec<_>>()
        .iter()
        .filter_map(|volume| volume["hostPath"]["path"].as_str())
        .collect();
    assert!(
        host.iter().all(|path| {
            path.starts_with("/run/penstock") || path.starts_with("/var/lib/penstock/proxy")
        }),
        "{host:?}"
    );
}

#[test]
fn a_new_proxy_takes_over_before_the_old_one_ends() {
    let set = object(&objects(&[]), "DaemonSet", "penstock-proxy");
    let update = &set["spec"]["updateStrategy"]["rollingUpdate"];
    assert_eq!(*update, json!({"maxSurge": 1, "maxUnavailable": 0}));
}

#[test]
fn the_agent_has_the_capabilities_that_it_uses_and_no_other() {
    let pod = pod(&objects(&GUIDE), "DaemonSet", "penstock-agent");
    assert_eq!(pod["hostNetwork"], true);
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["seccompProfile"], json!({"type": "RuntimeDefault"}));
    let security = &pod["containers"][0]["securityContext"];
    let capabilities = json!({"drop": ["ALL"], "add": ["NET_ADMIN", "BPF", "PERFMON", "NET_RAW"]});
    assert_eq!(security["capabilities"], capabilities);
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert!(security["privileged"].is_null());
    assert!(
        texts(&json!([pod["tolerations"][0]["operator"]])).contains(&"Exists"),
        "on every node"
    );
}

#[test]
fn the_operator_runs_as_nobody_in_particular() {
    let all = objects(&GUIDE);
    let pod = pod(&all, "Deployment", "penstock-operator");
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"], json!({"type": "RuntimeDefault"}));
    let security = &pod["containers"][0]["securityContext"];
    assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(security["readOnlyRootFilesystem"], true);
    for name in ["penstock-operator", "penstock-proxy"] {
        let budget = object(&all, "PodDisruptionBudget", name);
        assert_eq!(budget["spec"]["maxUnavailable"], 1, "{name}");
    }
    for (kind, name) in [
        ("Deployment", "penstock-operator"),
        ("DaemonSet", "penstock-agent"),
        ("DaemonSet", "penstock-proxy"),
    ] {
        let class = &self::pod(&all, kind, name)["priorityClassName"];
        object(&all, "PriorityClass", class.as_str().expect("a class"));
    }
}

/// Least privilege: what may be written in the whole cluster is statuses, events, questions, and the kind
/// whose objects are the operator's own.
#[test]
fn rights_are_the_least() {
    let all = objects(&GUIDE);
    let reading = BTreeSet::from(["get", "list", "watch"]);
    let mut written = Vec::new();
    for role in all.iter().filter(|o| o["kind"] == "ClusterRole") {
        for rule in role["rules"].as_array().expect("rules") {
            let verbs: BTreeSet<&str> = texts(&rule["verbs"]).into_iter().collect();
            for word in [&rule["verbs"], &rule["resources"], &rule["apiGroups"]] {
                assert!(!texts(word).contains(&"*"), "{rule}");
            }
            // A node's taint, which goes when its agent is ready.
            let taints =
                texts(&rule["resources"]) == ["nodes"] && verbs.difference(&reading).eq([&"patch"]);
            if !verbs.is_subset(&reading) && !taints {
                written.extend(texts(&rule["resources"]).into_iter().map(str::to_owned));
            }
        }
    }
    let harmless = |resource: &String| {
        let own = ["events", "tokenreviews", "penstocknodes"];
        resource.ends_with("/status") || own.contains(&resource.as_str())
    };
    let more: Vec<_> = written.iter().filter(|resource| !harmless(resource)).collect();
    assert!(more.is_empty(), "{more:?}");
    // Nobody but the operator may ask the API server for anything.
    for binding in
        all.iter().filter(|o| o["kind"].as_str().is_some_and(|kind| kind.ends_with("RoleBinding")))
    {
        for subject in binding["subjects"].as_array().expect("subjects") {
            let name = subject["name"].as_str().expect("a name");
            assert!(["penstock-operator", "penstock-uninstall"].contains(&name), "{binding}");
        }
    }
    for role in all.iter().filter(|o| o["kind"] == "Role") {
        for rule in role["rules"].as_array().expect("rules") {
            assert!(!texts(&rule["resources"]).contains(&"pods/exec"), "{rule}");
            assert!(!texts(&rule["verbs"]).contains(&"*"), "{rule}");
        }
    }
}

#[test]
fn nodes_prove_who_they_are_by_a_token_for_the_stream_alone() {
    let all = objects(&GUIDE);
    for name in ["penstock-agent", "penstock-proxy"] {
        let pod = pod(&all, "DaemonSet", name);
        let volumes = pod["volumes"].as_array().expect("volumes");
        let tokens: Vec<_> = volumes
            .iter()
            .flat_map(|volume| volume["projected"]["sources"].as_array().into_iter().flatten())
            .filter_map(|source| source["serviceAccountToken"]["audience"].as_str())
            .collect();
        assert_eq!(tokens, ["penstock-stream"], "{name}");
        let trust = volumes.iter().find(|volume| volume["configMap"]["name"] == "penstock-trust");
        // A pod begins as soon as there is one; looked for later, it would be seen a minute later.
        assert!(trust.expect("the trust")["configMap"]["optional"].is_null(), "{name}");
    }
    let stream = object(&all, "Service", "penstock-stream");
    assert!(stream["spec"]["selector"].is_null(), "the leader alone is behind it");
}

#[test]
fn definitions_come_with_the_chart_and_stay_when_it_goes() {
    let all = objects(&[]);
    let definitions: Vec<_> =
        all.iter().filter(|o| o["kind"] == "CustomResourceDefinition").collect();
    let kinds: BTreeSet<_> =
        definitions.iter().filter_map(|o| o["spec"]["names"]["kind"].as_str()).collect();
    let ours = penstock_resources::definitions();
    assert_eq!(kinds, ours.iter().map(|crd| crd.spec.names.kind.as_str()).collect());
    for definition in definitions {
        let policy = &definition["metadata"]["annotations"]["helm.sh/resource-policy"];
        assert_eq!(policy, "keep");
    }
    let without = objects(&["crds.install=false"]);
    assert!(without.iter().all(|object| object["kind"] != "CustomResourceDefinition"));
}

#[test]
fn where_modules_come_from_is_told_to_the_operator() {
    let arguments = |values: &[&str]| {
        let pod = pod(&objects(values), "Deployment", "penstock-operator");
        pod["containers"][0]["args"].clone()
    };
    let usual = arguments(&[]);
    assert!(texts(&usual).contains(&"--module-refresh=300"), "{usual}");
    assert!(!usual.to_string().contains("--plain-registry"), "{usual}");
    let named = "operator.plainRegistries={registry.example:5000,10.0.0.1:5000}";
    let named = arguments(&[named, "operator.moduleRefresh=60"]);
    for argument in [
        "--module-refresh=60",
        "--plain-registry=registry.example:5000",
        "--plain-registry=10.0.0.1:5000",
    ] {
        assert!(texts(&named).contains(&argument), "{argument} in {named}");
    }
    for wrong in ["operator.plainRegistries={http://registry}", "operator.moduleRefresh=0"] {
        let output = helm(&["template", "penstock"], &[wrong]);
        assert!(!output.status.success(), "{wrong}");
    }
}

#[test]
fn masquerade_is_off_and_takes_the_networks_of_the_vpc_when_it_is_on() {
    let arguments = |values: &[&str]| {
        let pod = pod(&objects(values), "DaemonSet", "penstock-agent");
        pod["containers"][0]["args"].clone()
    };
    assert!(!arguments(&GUIDE).to_string().contains("masquerade"));
    let on = ["eni.enabled=true", "enableIPv4Masquerade=true"];
    let one = arguments(&[&on[..], &["ipv4NativeRoutingCIDR=10.0.0.0/16"]].concat());
    assert!(texts(&one).contains(&"--masquerade-outside=10.0.0.0/16"), "{one}");
    let two = r"ipv4NativeRoutingCIDR=10.0.0.0/16\, 100.64.0.0/10";
    let two = arguments(&[&on[..], &[two]].concat());
    assert!(texts(&two).contains(&"--masquerade-outside=10.0.0.0/16,100.64.0.0/10"), "{two}");
    // Said, and not used.
    let off = arguments(&["eni.enabled=true", "ipv4NativeRoutingCIDR=10.0.0.0/16"]);
    assert!(!off.to_string().contains("masquerade"), "{off}");
    let refused = |values: &[&str], said: &str| {
        let output = helm(&["template", "penstock"], values);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(said), "{values:?}: {error}");
    };
    refused(&on, "ipv4NativeRoutingCIDR: enableIPv4Masquerade needs it");
    let other = ["enableIPv4Masquerade=true", "ipv4NativeRoutingCIDR=10.0.0.0/16"];
    refused(&other, "enableIPv4Masquerade: ");
    for garbage in ["vpc", "10.0.0.0", "10.0.0.256/16", "10.0.0.0/33", "fd00::/8", r"10.0.0.0/8\,"]
    {
        let value = format!("ipv4NativeRoutingCIDR={garbage}");
        refused(&[&on[..], &[value.as_str()]].concat(), "ipv4NativeRoutingCIDR");
    }
    refused(
        &["ipv4NativeRoutingCIDR=10.0.3.0/16"],
        "ipv4NativeRoutingCIDR: 10.0.3.0/16 is no network",
    );
    for overlap in
        [r"10.0.0.0/8\,10.1.0.0/16", r"10.1.0.0/16\,10.0.0.0/8", r"10.0.0.0/8\,10.0.0.0/8"]
    {
        refused(&[&format!("ipv4NativeRoutingCIDR={overlap}")], "overlap");
    }
}

#[test]
fn pods_are_redirected_where_their_addresses_are_penstocks_unless_it_is_turned_off() {
    let redirected = |values: &[&str]| {
        let all = objects(values);
        let arguments = pod(&all, "DaemonSet", "penstock-agent")["containers"][0]["args"].clone();
        // The operator refuses what it does not know.
        let operator = object(&all, "Deployment", "penstock-operator").to_string();
        assert!(!operator.contains("podRedirect"), "{operator}");
        texts(&arguments).contains(&"--pod-redirect")
    };
    assert!(redirected(&GUIDE));
    assert!(!redirected(&[]));
    assert!(!redirected(&["eni.enabled=true", "eni.podRedirect=false"]));
}
