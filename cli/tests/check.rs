//! `penstock check`: what it says of good and of each kind of bad input. The expected texts are in
//! `tests/check/*.out`, beside the files that are checked; `UPDATE=1` writes them anew.

mod support;

use serde_json::Value;
use std::{fs, path::PathBuf, process::Output};

fn folder() -> PathBuf {
    support::root().join("cli/tests/check")
}

fn check(args: &[&str]) -> Output {
    support::penstock()
        .current_dir(folder())
        .arg("check")
        .args(args)
        .output()
        .expect("penstock runs")
}

#[test]
fn every_input_is_judged_as_written_beside_it() {
    let mut inputs: Vec<PathBuf> = fs::read_dir(folder())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_none_or(|e| e == "yaml" || e == "json"))
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 8, "inputs are missing");
    let mut wrong = Vec::new();
    for input in inputs {
        let name = input.file_name().and_then(|n| n.to_str()).expect("UTF-8").to_owned();
        let output = check(&["-f", &name]);
        let actual = format!(
            "{}{}exit {}\n",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            output.status.code().expect("an exit code")
        );
        let expected = folder().join(format!("{name}.out"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&expected, &actual).expect("writable");
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        if actual != expected {
            wrong.push(format!("{name}: expected\n{expected}\nit says\n{actual}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn machines_get_statuses_problems_and_places() {
    for (format, parse) in [
        ("json", (|t: &str| serde_json::from_str(t).expect("JSON")) as fn(&str) -> Value),
        ("yaml", |t: &str| serde_saphyr::from_str(t).expect("YAML")),
    ] {
        let output = check(&["-f", "missing-references.yaml", "-f", "broken.yaml", "-o", format]);
        assert_eq!(output.status.code(), Some(1));
        let report = parse(&String::from_utf8_lossy(&output.stdout));
        assert_eq!(report["accepted"], false, "{format}");
        let objects = report["objects"].as_array().expect("objects");
        let route = objects.iter().find(|o| o["kind"] == "HTTPRoute").expect("the route");
        let conditions = &route["status"]["parents"][0]["conditions"];
        assert!(
            conditions.as_array().is_some_and(|c| c.iter().any(|c| c["type"] == "ResolvedRefs"))
        );
        assert_eq!(report["files"][0]["file"], "broken.yaml");
        assert!(report["files"][0]["line"].is_u64(), "{format}");
        let problems = report["problems"].as_array().expect("problems");
        let names_backend = |p: &Value| {
            p["message"]
                .as_str()
                .is_some_and(|m| m.contains("Service default/nowhere does not exist"))
        };
        assert!(problems.iter().any(names_backend), "{problems:?}");
    }
}

#[test]
fn a_cluster_has_no_module_files_and_no_external_names() {
    let output = check(&["-f", "good.yaml"]);
    assert_eq!(output.status.code(), Some(0));
    let output = check(&["-f", "good.yaml", "--cluster"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_quickstart_is_accepted() {
    let folder = support::root().join("examples/quickstart");
    let output = check(&["-f", folder.to_str().expect("UTF-8")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// What the schema lets pass, the host that runs filters grants: their bounds are the same.
#[test]
fn the_most_that_a_filter_may_ask_for_is_granted() {
    let module = support::root().join("filters/dist/header-rules.wasm");
    let said = |limits: &str| {
        let text = format!(
            "{{apiVersion: penstock.dev/v1alpha1, kind: WasmFilter, metadata: {{name: f}}, spec: {{\
             module: {{file: {{path: {}}}}}, config: {{request: [{{set: {{x-a: '1'}}}}]}}, \
             limits: {{{limits}}}}}}}",
            module.display()
        );
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("filter.yaml");
        fs::write(&file, text).expect("written");
        let output = check(&["-f", file.to_str().expect("UTF-8")]);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let most = said("memory: 256Mi, deadline: 1s");
    assert!(most.contains("accepted  WasmFilter default/f: headers policy"), "{most}");
    for (limits, expected) in [
        ("memory: 257Mi", "memory must be a quantity from 64Ki to 256Mi, for example 16Mi"),
        ("deadline: 1001ms", "deadline must be from 1ms to 1s, for example 5ms"),
    ] {
        let said = said(limits);
        assert!(said.contains(expected), "{said}");
    }
}
