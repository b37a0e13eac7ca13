//! What becomes of modules that are there, missing, broken or of no use.

use super::*;
use k8s_openapi::{ByteString, api::core::v1::ConfigMap};
use penstock_filter_host::{Host, HostConfig};
use penstock_gateway::{FilterFacts, FilterReason};
use penstock_resources::{Object, WasmFilter};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, io, path::PathBuf};

/// Files of a folder and one ConfigMap.
struct Fixture {
    folder: Option<PathBuf>,
    config_map: ConfigMap,
}

impl Sources for Fixture {
    fn file(&self, _: &WasmFilter, path: &str, limit: u64) -> Option<io::Result<Vec<u8>>> {
        Some(read_file(&self.folder.as_ref()?.join(path), limit))
    }

    fn config_map(&self, namespace: &str, name: &str) -> Option<&ConfigMap> {
        (namespace == "default" && name == "modules").then_some(&self.config_map)
    }
}

fn filter(module: Value, config: Value, grants: Value) -> WasmFilter {
    let value = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "WasmFilter",
        "metadata": {"name": "f", "namespace": "default"},
        "spec": {"module": module, "config": config, "grants": grants},
    });
    match Object::from_json(value) {
        Ok(Object::WasmFilter(filter)) => *filter,
        other => panic!("{other:?}"),
    }
}

fn file(path: &str) -> WasmFilter {
    filter(json!({"file": {"path": path}}), Value::Null, json!([]))
}

fn modules() -> Modules {
    Modules::new(Host::new(HostConfig::default()).expect("a host"))
}

fn fixture() -> (tempfile::TempDir, Fixture) {
    let dir = tempfile::tempdir().expect("a folder");
    let data = BTreeMap::from([("text".to_owned(), "text".to_owned())]);
    let binary = BTreeMap::from([("empty".to_owned(), ByteString(b"\0asm\x0d\0\x01\0".to_vec()))]);
    let config_map =
        ConfigMap { data: Some(data), binary_data: Some(binary), ..ConfigMap::default() };
    let folder = Some(dir.path().to_owned());
    (dir, Fixture { folder, config_map })
}

fn header_rules() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../filters/dist/header-rules.wasm");
    fs::read(path).expect("build the filters first: cargo xtask filters")
}

fn reason(resolution: &Resolution) -> (FilterReason, &str) {
    match &resolution.facts {
        FilterFacts::Failed { reason, message } => (*reason, message),
        ready => panic!("{ready:?}"),
    }
}

#[test]
fn every_failure_has_its_reason_and_a_remedy() {
    let (dir, fixture) = fixture();
    fs::write(dir.path().join("text.wasm"), "no component").expect("a file");
    fs::write(dir.path().join("core.wasm"), b"\0asm\x01\0\0\0").expect("a file");
    fs::write(dir.path().join("large.wasm"), vec![0; 2048]).expect("a file");
    let config_map = |name: &str, key: &str| {
        filter(json!({"configMap": {"name": name, "key": key}}), Value::Null, json!([]))
    };
    let oci = json!({"oci": {"image": "example.com/a@sha256:0"}});
    let http = json!({"http": {"url": "https://example.com/a", "sha256": "0"}});
    let mut modules = modules().with_max_bytes(1024);
    for (filter, expected, remedy) in [
        (file("missing.wasm"), FilterReason::ModuleNotFound, "correct the path"),
        (file("."), FilterReason::FetchFailed, "name a regular file"),
        (file("large.wasm"), FilterReason::TooLarge, "build the module for release"),
        (file("text.wasm"), FilterReason::ModuleInvalid, "component new"),
        (file("core.wasm"), FilterReason::ModuleInvalid, "component new"),
        (config_map("nowhere", "a"), FilterReason::ModuleNotFound, "create it in"),
        (config_map("modules", "a"), FilterReason::ModuleNotFound, "it has empty"),
        (config_map("modules", "text"), FilterReason::ModuleNotFound, "under binaryData"),
        (config_map("modules", "empty"), FilterReason::WrongWorld, "header-policy"),
        (filter(oci, Value::Null, json!([])), FilterReason::UnsupportedSource, "spec.module.file"),
        (filter(http, Value::Null, json!([])), FilterReason::UnsupportedSource, "configMap"),
    ] {
        let resolution = modules.resolve(&filter, &fixture);
        let (reason, message) = reason(&resolution);
        assert_eq!(reason, expected, "{message}");
        assert!(message.contains(remedy), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_cluster_has_no_module_files() {
    let (_dir, fixture) = fixture();
    let resolution = modules().resolve(&file("a.wasm"), &Fixture { folder: None, ..fixture });
    let (reason, message) = reason(&resolution);
    assert_eq!(reason, FilterReason::UnsupportedSource);
    assert!(message.contains("spec.module.configMap"), "{message}");
}

#[test]
fn a_module_is_loaded_while_a_filter_uses_it_and_a_little_longer() {
    let (dir, fixture) = fixture();
    fs::write(dir.path().join("h.wasm"), header_rules()).expect("a file");
    let host = Host::new(HostConfig::default()).expect("a host");
    let mut modules = Modules::new(host.clone());
    let config = json!({"request": [{"set": {"x-a": "1"}}]});
    let filter = filter(json!({"file": {"path": "h.wasm"}}), config, json!([]));
    let resolution = modules.resolve(&filter, &fixture);
    let FilterFacts::Ready { digest, summary, .. } = &resolution.facts else {
        panic!("{resolution:?}")
    };
    assert_eq!(
        (summary.tier.as_str(), summary.writes.as_slice()),
        ("constant", &["x-a".to_owned()][..])
    );
    assert!(host.module(digest).is_some());
    modules.retain([&filter].into_iter(), std::iter::empty());
    assert!(host.module(digest).is_some(), "it is in use");
    modules.retain(std::iter::empty(), std::iter::empty());
    assert!(host.module(digest).is_some(), "going back to it needs no compilation");
    for version in 0..4_u8 {
        // The same component with one more custom section is another module.
        let newer = [header_rules(), vec![0, 3, 1, b'v', version]].concat();
        fs::write(dir.path().join("h.wasm"), newer).expect("a file");
        modules.resolve(&filter, &fixture);
        modules.retain(std::iter::empty(), std::iter::empty());
    }
    assert!(host.module(digest).is_none(), "newer ones took its place");
    fs::write(dir.path().join("h.wasm"), header_rules()).expect("a file");
    assert_eq!(modules.resolve(&filter, &fixture), resolution, "and it comes back");
    assert!(host.module(digest).is_some());
}

#[test]
fn the_module_of_a_generation_that_serves_on_stays_loaded_however_many_follow() {
    let (dir, fixture) = fixture();
    let host = Host::new(HostConfig::default()).expect("a host");
    let mut modules = Modules::new(host.clone());
    let config = json!({"request": [{"set": {"x-a": "1"}}]});
    let filter = filter(json!({"file": {"path": "h.wasm"}}), config, json!([]));
    let serving = penstock_filter_host::digest(&header_rules());
    let mut follow = |version: u8, serving: Option<&str>| {
        let section = if version == 0 { Vec::new() } else { vec![0, 3, 1, b'v', version] };
        fs::write(dir.path().join("h.wasm"), [header_rules(), section].concat()).expect("a file");
        modules.resolve(&filter, &fixture);
        modules.retain([&filter].into_iter(), serving.into_iter());
    };
    for version in 0..8 {
        follow(version, Some(&serving));
        assert!(host.module(&serving).is_some(), "after {version}");
    }
    for version in 8..14 {
        follow(version, None);
    }
    assert!(host.module(&serving).is_none(), "nothing serves it, and newer ones came after it");
}

#[test]
fn a_configuration_that_is_refused_says_where() {
    let (dir, fixture) = fixture();
    fs::write(dir.path().join("h.wasm"), header_rules()).expect("a file");
    let config = json!({"request": [{"set": {"x-a": 1}}]});
    let filter = filter(json!({"file": {"path": "h.wasm"}}), config, json!([]));
    let resolution = modules().resolve(&filter, &fixture);
    assert_eq!(reason(&resolution).0, FilterReason::InvalidConfig);
    assert_eq!(resolution.problems[0].pointer, "/request/0/set/x-a");
}
