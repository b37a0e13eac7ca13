//! A real API server with the chart's own objects, as the command meets them.

use super::{penstock, root};
use penstock_test_api_server::server::programs;
use serde_json::{Value, json};
use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
    sync::LazyLock,
};
use tokio::runtime::Runtime;

/// One for all: a client works in the runtime that it was made in.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
});

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}

/// A kubeconfig for a server and a token.
pub(crate) fn kubeconfig(folder: &tempfile::TempDir, url: &str, token: &str) -> PathBuf {
    let file = folder.path().join(format!("{token}.yaml"));
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {
            "server": url, "insecure-skip-tls-verify": true,
        }}],
        "users": [{"name": "test", "user": {"token": token}}],
    });
    fs::write(&file, config.to_string()).expect("a file");
    file
}

/// Runs a command of `penstock` without anything of this machine's own.
pub(crate) fn ask(command: &[&str], arguments: &[&str]) -> Output {
    let mut penstock = penstock();
    penstock.args(command).args(arguments);
    for variable in ["KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"] {
        penstock.env_remove(variable);
    }
    penstock.env("HOME", env!("CARGO_TARGET_TMPDIR")).output().expect("penstock runs")
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What Helm would apply in ENI mode, and with values that this version does nothing for, without the
/// definitions.
pub(crate) fn chart(namespace: &str) -> Vec<Value> {
    let mut helm = Command::new(programs().join("helm"));
    let values = ["--set", "eni.enabled=true,hubble.enabled=true"];
    helm.args(["template", "penstock", "--namespace", namespace]).args(values);
    helm.arg(root().join("charts/penstock")).env("HOME", env!("CARGO_TARGET_TMPDIR"));
    let output = helm.env_remove("KUBECONFIG").output().expect("helm runs");
    assert!(output.status.success(), "{}", err(&output));
    let all: Vec<Value> = serde_saphyr::from_multiple(&out(&output)).expect("YAML");
    let kept = all.into_iter().filter(|o| !o.is_null() && o["kind"] != "CustomResourceDefinition");
    kept.collect()
}

/// Whether an object of the chart lies in a namespace.
pub(crate) fn is_namespaced(kind: &str) -> bool {
    !["ClusterRole", "ClusterRoleBinding", "PriorityClass", "GatewayClass"].contains(&kind)
}
