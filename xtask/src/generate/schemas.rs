//! Schemas of the Gateway API's release, for the validation in `penstock-resources`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use penstock_resources::gateway_api::BUNDLE_VERSION;
use serde_json::Value;

use super::Generated;

const MODULE: &str = "sigs.k8s.io/gateway-api";
/// Plural and kind of what Penstock reads.
const KINDS: [(&str, &str); 4] = [
    ("gatewayclasses", "GatewayClass"),
    ("gateways", "Gateway"),
    ("httproutes", "HTTPRoute"),
    ("referencegrants", "ReferenceGrant"),
];

/// One file for each kind, from the standard channel.
pub(super) fn from_release() -> Result<Vec<Generated>> {
    let folder = download()?;
    let read = |(plural, kind): &(&str, &str)| {
        let file = format!("config/crd/standard/gateway.networking.k8s.io_{plural}.yaml");
        let path = Path::new(&folder).join(&file);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {} of the release", path.display()))?;
        let crd: Value = serde_saphyr::from_str(&text).with_context(|| format!("in {file}"))?;
        let schema = schema(&crd, kind).with_context(|| format!("in {file}"))?;
        let contents = format!("{schema}\n");
        let path = format!("api/resources/src/validate/schemas/{kind}.json");
        Ok(Generated { path: path.into(), contents })
    };
    KINDS.iter().map(read).collect()
}

/// Fetches the module and gives its folder. The Go toolchain checks it against the checksum
/// database and keeps it, so a second run needs no network.
fn download() -> Result<String> {
    let output = Command::new("go")
        .args(["mod", "download", "-json", &format!("{MODULE}@{BUNDLE_VERSION}")])
        .output()
        .context("running `go`: install Go 1.24 or later, or pass --offline")?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    if let Some(error) = answer["Error"].as_str() {
        bail!("{MODULE}@{BUNDLE_VERSION}: {error}");
    }
    Ok(answer["Dir"].as_str().context("`go mod download` names no folder")?.to_owned())
}

/// The schema that all served versions share, without descriptions.
fn schema(crd: &Value, kind: &str) -> Result<Value> {
    let annotations = &crd["metadata"]["annotations"];
    ensure!(
        annotations["gateway.networking.k8s.io/bundle-version"] == BUNDLE_VERSION,
        "the definition is not of {BUNDLE_VERSION}"
    );
    ensure!(crd["spec"]["names"]["kind"] == kind, "the definition is not of {kind}");
    let versions = crd["spec"]["versions"].as_array().context("versions")?;
    let mut served = versions
        .iter()
        .filter(|version| version["served"] == true)
        .map(|version| trimmed(&version["schema"]["openAPIV3Schema"]));
    let schema = served.next().context("no version is served")?;
    ensure!(served.all(|other| other == schema), "the served versions of {kind} differ");
    Ok(schema)
}

/// A schema without what says nothing about validity: descriptions.
fn trimmed(schema: &Value) -> Value {
    trim(schema, false)
}

fn trim(value: &Value, names_are_data: bool) -> Value {
    match value {
        // Under `properties` a key is the name of a field, and a field may be called "description".
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, _)| names_are_data || *key != "description")
            .map(|(key, field)| {
                let data = !names_are_data && key == "properties";
                // A default or an enum is a value, no schema.
                let kept = !names_are_data && (key == "default" || key == "enum");
                (key.clone(), if kept { field.clone() } else { trim(field, data) })
            })
            .collect(),
        Value::Array(items) => items.iter().map(|item| trim(item, false)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn descriptions_go_and_fields_of_that_name_stay() {
        let schema = json!({
            "description": "x", "type": "object",
            "properties": {"description": {"type": "string", "description": "y"}},
            "default": {"description": "z"},
        });
        let expected = json!({
            "type": "object",
            "properties": {"description": {"type": "string"}},
            "default": {"description": "z"},
        });
        assert_eq!(trimmed(&schema), expected);
    }

    #[test]
    fn versions_that_differ_are_refused() {
        let version = |kind| json!({"served": true, "schema": {"openAPIV3Schema": {"type": kind}}});
        let mut crd = json!({
            "metadata": {"annotations": {
                "gateway.networking.k8s.io/bundle-version": BUNDLE_VERSION,
            }},
            "spec": {"names": {"kind": "A"}, "versions": [version("object"), version("object")]},
        });
        assert_eq!(schema(&crd, "A").unwrap(), json!({"type": "object"}));
        crd["spec"]["versions"][1] = version("array");
        assert!(schema(&crd, "A").unwrap_err().to_string().contains("differ"));
    }
}
