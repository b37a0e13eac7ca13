//! The rules of the house, read from cargo and from the tree: which room may know which, what may not
//! be linked where, and how large a file may grow.

use std::{collections::BTreeSet, path::Path, process::Command};

/// Each crate of ours with the ones of ours that it may depend on: data goes one way.
const ROOMS: &[(&str, &[&str])] = &[
    ("penstock-resources", &[]),
    ("penstock-config", &[]),
    ("penstock-stream", &["penstock-config"]),
    ("penstock-telemetry", &["penstock-config"]),
    ("penstock-gateway", &["penstock-resources", "penstock-config"]),
    ("penstock-eni", &["penstock-config"]),
    ("penstock-ec2", &["penstock-config", "penstock-eni"]),
    ("penstock-pool", &["penstock-config"]),
    ("penstock-filter-host", &["penstock-config"]),
    (
        "penstock-modules",
        &["penstock-resources", "penstock-config", "penstock-gateway", "penstock-filter-host"],
    ),
    ("penstock-handover", &[]),
    (
        "penstock-proxy",
        &[
            "penstock-config",
            "penstock-stream",
            "penstock-telemetry",
            "penstock-filter-host",
            "penstock-handover",
        ],
    ),
    ("penstock-ebpf-common", &[]),
    ("penstock-net", &["penstock-ebpf-common"]),
    (
        "penstock-agent",
        &[
            "penstock-config",
            "penstock-stream",
            "penstock-telemetry",
            "penstock-handover",
            "penstock-ebpf-common",
            "penstock-net",
            "penstock-pool",
            "penstock-cni",
        ],
    ),
    ("penstock-cni", &["penstock-ebpf-common", "penstock-net"]),
    (
        "penstock-controller",
        &[
            "penstock-resources",
            "penstock-config",
            "penstock-stream",
            "penstock-telemetry",
            "penstock-gateway",
            "penstock-modules",
            "penstock-filter-host",
            "penstock-eni",
            "penstock-ec2",
        ],
    ),
    (
        "penstock-cli",
        &[
            "penstock-resources",
            "penstock-config",
            "penstock-eni",
            "penstock-telemetry",
            "penstock-gateway",
            "penstock-modules",
            "penstock-filter-host",
            "penstock-proxy",
        ],
    ),
];

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(args).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// Names of all crates that a package links, its own included.
fn linked(package: &str, more: &[&str]) -> BTreeSet<String> {
    let mut args =
        vec!["tree", "-q", "-p", package, "-e", "normal", "--prefix", "none", "-f", "{p}"];
    args.extend_from_slice(more);
    cargo(&args).lines().filter_map(|l| l.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn a_room_never_names_a_room_above_it() {
    for (package, allowed) in ROOMS {
        let ours: Vec<String> = linked(package, &[])
            .into_iter()
            .filter(|name| name.starts_with("penstock-") && name != package)
            .collect();
        for name in &ours {
            assert!(allowed.contains(&name.as_str()), "{package} must not depend on {name}");
        }
    }
}

#[test]
fn the_pure_rooms_build_without_a_runtime() {
    for package in [
        "penstock-config",
        "penstock-resources",
        "penstock-gateway",
        "penstock-eni",
        "penstock-pool",
    ] {
        assert!(!linked(package, &[]).contains("tokio"), "{package} links tokio");
    }
}

#[test]
fn nodes_know_no_kubernetes_and_no_cloud() {
    for package in [
        "penstock-config",
        "penstock-stream",
        "penstock-telemetry",
        "penstock-filter-host",
        "penstock-proxy",
        "penstock-pool",
        "penstock-agent",
    ] {
        for name in linked(package, &[]) {
            let banned =
                name.starts_with("kube") || name.starts_with("aws-sdk") || name == "k8s-openapi";
            assert!(!banned, "{package} links {name}");
        }
    }
}

/// The agent has privileges on its node, and the operator the cluster's keys.
#[test]
fn who_has_privileges_links_nothing_that_serves_strangers() {
    for (package, banned) in [
        ("penstock-agent", &["penstock-proxy", "penstock-filter-host", "wasmtime"][..]),
        ("penstock-controller", &["penstock-proxy"]),
    ] {
        let linked = linked(package, &[]);
        assert!(linked.contains("penstock-telemetry"), "{package} is read");
        for name in banned {
            assert!(!linked.contains(*name), "{package} links {name}");
        }
    }
}

#[test]
fn the_proxy_of_a_cluster_contains_no_compiler() {
    let none: &[&str] = &[];
    for (package, features) in [
        ("penstock-proxy", none),
        ("penstock-agent", none),
        ("penstock-filter-host", &["--no-default-features"]),
    ] {
        for name in linked(package, features) {
            assert!(!name.starts_with("cranelift-codegen"), "{package} links {name}");
        }
    }
}

#[test]
fn one_crypto_provider_one_tls_library_no_wasi() {
    for name in linked("penstock-cli", &[]) {
        for banned in
            ["ring", "openssl", "native-tls", "rustls-pemfile", "serde_yaml", "wasmtime-wasi"]
        {
            assert_ne!(name, banned, "see deny.toml for the reason");
        }
    }
}

#[test]
fn files_have_one_subject_and_fit_on_a_few_screens() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root");
    let listed = Command::new("git").args(["ls-files", "*.rs"]).current_dir(root).output();
    let listed = String::from_utf8(listed.expect("git runs").stdout).expect("UTF-8");
    assert!(listed.lines().count() > 20, "git lists the sources");
    for file in listed.lines().filter(|f| !f.contains("/generated/")) {
        let Ok(text) = std::fs::read_to_string(root.join(file)) else { continue };
        let lines = text.lines().count();
        assert!(lines <= 600, "{file} has {lines} lines: more than one subject?");
    }
}
