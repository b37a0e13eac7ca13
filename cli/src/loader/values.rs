//! Values of the Helm chart: what its schema refuses, with the place and the name that was meant.

use super::{
    diagnostic::{Cause, Diagnostic},
    files::Snapshot,
    node::{Content, Node, field_path},
    objects::documents,
};
use penstock_resources::validate;
use serde_json::{Map, Value};

/// The schema by which Helm judges values (JSON Schema, draft 7).
const SCHEMA: &str = include_str!("../../../charts/penstock/values.schema.json");

/// What is wrong with files of values, and how many there are.
///
/// # Errors
/// When the schema of the chart cannot be read, which a test excludes.
pub(crate) fn check_values(snapshot: &Snapshot) -> Result<Vec<Diagnostic>, serde_json::Error> {
    let schema: Value = serde_json::from_str(SCHEMA)?;
    let schema = structural(&schema, &schema["definitions"]);
    let mut diagnostics = snapshot.diagnostics.clone();
    for file in &snapshot.files {
        let name = file.path.display().to_string();
        match documents(file) {
            Ok(documents) => {
                for document in documents {
                    diagnostics.extend(check(&name, &document, &schema)?);
                }
            }
            Err(diagnostic) => diagnostics.push(*diagnostic),
        }
    }
    Ok(diagnostics)
}

fn check(file: &str, node: &Node, schema: &Value) -> Result<Vec<Diagnostic>, serde_json::Error> {
    if !matches!(node.content, Content::Map(_)) {
        let diagnostic = Diagnostic::error(Cause::Invalid, file, "values are a map");
        return Ok(vec![diagnostic.at(node.at).remedy("write `key: value`")]);
    }
    let violations = validate::against(schema, &without_null(node.to_json()))?;
    let diagnostic = |violation: validate::Violation| {
        Diagnostic::error(Cause::Invalid, file, violation.message)
            .at(node.locate(&violation.pointer))
            .field(field_path(&violation.pointer))
    };
    let mut diagnostics: Vec<_> = violations.into_iter().map(diagnostic).collect();
    diagnostics.sort_by_key(|diagnostic| diagnostic.at);
    Ok(diagnostics)
}

/// To Helm a null takes a default away, so that it is as good as absent.
fn without_null(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.map(|(key, value)| (key, without_null(value))).collect())
        }
        other => other,
    }
}

/// The schema in the form of the structural schemas of Kubernetes: references followed, closed
/// objects without saying so, a value of several types of any.
fn structural(schema: &Value, definitions: &Value) -> Value {
    let Value::Object(keywords) = schema else { return schema.clone() };
    if let Some(name) = keywords.get("$ref").and_then(Value::as_str) {
        let name = name.trim_start_matches("#/definitions/");
        return structural(&definitions[name], definitions);
    }
    let mut structural_form = Map::new();
    for (keyword, value) in keywords {
        let value = match keyword.as_str() {
            "$schema" | "definitions" => continue,
            "additionalProperties" if value.is_boolean() => continue,
            // No keyword of structural schemas; Helm checks it at the installation.
            "uniqueItems" => continue,
            "type" if value.is_array() => continue,
            "properties" => {
                let fields = value.as_object().into_iter().flatten();
                fields.map(|(name, below)| (name.clone(), structural(below, definitions))).collect()
            }
            "items" | "additionalProperties" | "propertyNames" => structural(value, definitions),
            _ => value.clone(),
        };
        structural_form.insert(keyword.clone(), value);
    }
    Value::Object(structural_form)
}

#[cfg(test)]
mod tests {
    use super::super::files::SourceFile;
    use super::*;

    fn found(yaml: &str) -> Vec<String> {
        let file = SourceFile { path: "values.yaml".into(), content: yaml.as_bytes().into() };
        let snapshot = Snapshot { files: vec![file], ..Snapshot::default() };
        let diagnostics = check_values(&snapshot).expect("the schema of the chart can be read");
        diagnostics.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_values_of_the_chart_and_of_the_guide_are_accepted() {
        assert_eq!(found(include_str!("../../../charts/penstock/values.yaml")), [""; 0]);
        let guide = "eni: {enabled: true, awsEnablePrefixDelegation: true}\nipam: {mode: eni}\n\
                     routingMode: native\ngatewayAPI: {enabled: true}\n\
                     hubble: {enabled: true, relay: {enabled: true}, ui: {enabled: true}}\n\
                     operator: {replicas: 2, affinity: null}\n";
        assert_eq!(found(guide), [""; 0]);
    }

    #[test]
    fn a_misspelt_key_is_refused_with_the_one_that_was_meant() {
        assert_eq!(
            found("eni:\n  enabled: true\n  awsEnablePrefixDelegations: true\n"),
            ["values.yaml:3:3: eni.awsEnablePrefixDelegations: unknown field \
              `awsEnablePrefixDelegations`; did you mean `awsEnablePrefixDelegation`?"]
        );
        assert_eq!(
            found("operator: {replica: 2}\ngatewayApi: {enabled: true}\n"),
            [
                "values.yaml:1:12: operator.replica: unknown field `replica`; did you mean \
                 `replicas`?",
                "values.yaml:2:1: gatewayApi: unknown field `gatewayApi`; did you mean `gatewayAPI`?",
            ]
        );
    }

    #[test]
    fn a_value_of_the_wrong_form_is_refused() {
        let one = |yaml: &str| {
            let found = found(yaml);
            assert_eq!(found.len(), 1, "{yaml}: {found:?}");
            found.into_iter().next().expect("one")
        };
        assert!(one("operator: {replicas: two}").contains("values.yaml:1:12: operator.replicas"));
        assert!(one("ipam: {mode: enii}").contains("eni"));
        assert!(one("telemetry: {environment: {PATH: x}}").contains("PATH"));
        assert!(one("- a").contains("values are a map"));
        assert!(one("a: [").contains("values.yaml:1"));
    }
}
