//! The interface definitions are published: documented item by item, and within 1.x only added to.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use xtask_components::{root, wasm_tools};

/// A package as `wasm-tools component wit --json` resolves it.
fn resolve(path: &Path) -> Value {
    let tool = wasm_tools().expect("wasm-tools can be installed");
    let output = Command::new(tool)
        .args(["component", "wit", "--json"])
        .arg(path)
        .output()
        .expect("wasm-tools runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("wasm-tools prints JSON")
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// Every interface, world, named type and function with its documentation.
fn documented(package: &Value) -> Vec<(String, Option<&str>)> {
    let name = |item: &Value| item["name"].as_str().map(str::to_owned);
    fn text(item: &Value) -> Option<&str> {
        item.pointer("/docs/contents").and_then(Value::as_str)
    }
    let mut items = Vec::new();
    for list in ["packages", "interfaces", "worlds"] {
        for item in array(package, list) {
            items.push((format!("{list} {}", name(item).expect("a name")), text(item)));
        }
    }
    // `use` makes an alias, which is documented where it comes from.
    let is_use = |item: &Value| item.pointer("/kind/type").is_some_and(Value::is_number);
    for item in array(package, "types").iter().filter(|item| !is_use(item)) {
        items.extend(name(item).map(|name| (format!("type {name}"), text(item))));
    }
    for interface in array(package, "interfaces") {
        let functions = interface["functions"].as_object().into_iter().flatten();
        for (function, item) in functions {
            let of = name(interface).expect("a name");
            items.push((format!("function {of}.{function}"), text(item)));
        }
    }
    items
}

/// A type without numbers that depend on what else the package holds.
fn shape(package: &Value, type_ref: &Value) -> Value {
    let Some(id) = type_ref.as_u64() else { return type_ref.clone() };
    let ty = &package["types"][id as usize];
    match (&ty["name"], &ty["owner"]["interface"]) {
        (Value::String(name), Value::Number(owner)) => {
            let owner = owner.as_u64().expect("an index") as usize;
            json!(format!(
                "{}.{name}",
                package["interfaces"][owner]["name"].as_str().expect("named")
            ))
        }
        _ => kind(package, &ty["kind"]),
    }
}

/// A definition with every reference in it replaced by a shape, and without documentation.
fn kind(package: &Value, value: &Value) -> Value {
    match value {
        Value::Number(_) => shape(package, value),
        Value::Array(items) => items.iter().map(|item| kind(package, item)).collect(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| *name != "docs")
            .map(|(name, field)| (name.clone(), kind(package, field)))
            .collect(),
        other => other.clone(),
    }
}

/// Every type, function and world by name.
fn items(package: &Value) -> Vec<(String, Value)> {
    let mut items = Vec::new();
    for interface in array(package, "interfaces") {
        let of = interface["name"].as_str().expect("a name");
        for (name, id) in interface["types"].as_object().into_iter().flatten() {
            let ty = &package["types"][id.as_u64().expect("an index") as usize];
            items.push((format!("type {of}.{name}"), kind(package, &ty["kind"])));
        }
        for (name, function) in interface["functions"].as_object().into_iter().flatten() {
            items.push((format!("function {of}.{name}"), kind(package, function)));
        }
    }
    for world in array(package, "worlds") {
        for way in ["imports", "exports"] {
            for item in world[way].as_object().into_iter().flatten() {
                let id = item.1["interface"]["id"].as_u64().expect("an interface") as usize;
                let interface = package["interfaces"][id]["name"].as_str().expect("a name");
                let name = world["name"].as_str().expect("a name");
                items.push((format!("{way} {name} {interface}"), Value::Null));
            }
        }
    }
    items
}

/// What of the published package is gone or different.
fn broken(published: &Value, current: &Value) -> Vec<String> {
    let current = items(current);
    let published = items(published).into_iter();
    published.filter(|item| !current.contains(item)).map(|(name, _)| name).collect()
}

#[test]
fn every_item_is_documented() {
    for folder in ["wit/policy", "wit/host"] {
        let package = resolve(&root().join(folder));
        let items = documented(&package);
        assert!(items.len() > 10, "{folder} has {} items", items.len());
        let bare: Vec<_> =
            items.iter().filter(|(_, docs)| docs.is_none_or(str::is_empty)).collect();
        assert!(bare.is_empty(), "{folder}: no documentation at {bare:?}");
    }
}

#[test]
fn what_1_0_0_published_is_still_there_unchanged() {
    for name in ["policy", "host"] {
        let published = resolve(&root().join(format!("wit/published/{name}-1.0.0.wit")));
        let current = resolve(&root().join("wit").join(name));
        assert_eq!(broken(&published, &current), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn the_comparison_sees_a_change_and_lets_an_addition_pass() {
    let text = std::fs::read_to_string(root().join("wit/published/host-1.0.0.wit")).expect("read");
    let published = resolve(&root().join("wit/published/host-1.0.0.wit"));
    let folder = std::env::temp_dir().join(format!("penstock-wit-{}", std::process::id()));
    let broken_by = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("host.wit"), text.replacen(from, to, 1)).expect("a file");
        broken(&published, &resolve(&folder))
    };
    let changed = broken_by("now-unix-ms: func() -> u64;", "now-unix-ms: func() -> s64;");
    assert_eq!(changed, ["function clock.now-unix-ms"]);
    let removed = broken_by("next: func() -> u64;", "");
    assert_eq!(removed, ["function random.next"]);
    let grown = broken_by("debug, info, warn", "debug, info, notice, warn");
    assert_eq!(grown, ["type log.level"]);
    let added = broken_by("next: func() -> u64;", "next: func() -> u64; more: func() -> u64;");
    assert_eq!(added, Vec::<String>::new());
    std::fs::remove_dir_all(&folder).expect("removed");
}
