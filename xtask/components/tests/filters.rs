//! The policies that the repository builds are components as the interface definitions say.

use std::collections::BTreeMap;
use std::process::Command;

use xtask_components::{Component, build, imports, root, target_dir, wasm_tools};

/// Each policy and the world that it is made for.
const POLICIES: [(&str, &str); 5] = [
    ("ab-split", "path-policy"),
    ("api-key", "header-policy"),
    ("header-rules", "header-policy"),
    ("path-rewrite", "path-policy"),
    ("tls-policy", "tls-policy"),
];

fn wasm_tools_accepts(arguments: &[&str], component: &Component) {
    let folder = root().join("wit/policy");
    let file = std::env::temp_dir().join(format!("{}-{}.wasm", component.name, std::process::id()));
    std::fs::write(&file, &component.bytes).expect("a file");
    let output = Command::new(wasm_tools().expect("wasm-tools can be installed"))
        .current_dir(folder)
        .args(arguments)
        .arg(&file)
        .output()
        .expect("wasm-tools runs");
    std::fs::remove_file(&file).expect("removed");
    let name = &component.name;
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_policy_is_a_valid_component_of_its_world_and_imports_nothing_else() {
    let built = build(&root().join("filters"), &target_dir().join("filters")).expect("it builds");
    let names: Vec<_> = built.iter().map(|component| component.name.as_str()).collect();
    let worlds = BTreeMap::from(POLICIES);
    assert_eq!(names, worlds.keys().copied().collect::<Vec<_>>());
    for component in &built {
        wasm_tools_accepts(&["validate", "--features", "component-model"], component);
        // Without the capabilities, since none of these uses one.
        let world = format!("penstock:policy/{}", worlds[component.name.as_str()]);
        wasm_tools_accepts(&["component", "targets", "--world", &world, "."], component);
        // The shared types are no capability: there is nothing in them to call.
        let imports = imports(&component.bytes).expect("a component");
        assert_eq!(imports, ["penstock:policy/types@1.0.0"], "{}", component.name);
        assert!(component.bytes.len() < 600 * 1024, "{} has grown", component.name);
    }
}
