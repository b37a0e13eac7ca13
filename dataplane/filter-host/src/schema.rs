//! The JSON Schema of a module's configuration.

use crate::error::{ModuleError, Problem};
use crate::instance::MAX_PROBLEMS;
use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::Value;

/// The schema is a JSON object that is a JSON Schema, or empty.
pub(crate) fn check(schema: &str) -> Result<(), ModuleError> {
    if schema.is_empty() {
        return Ok(());
    }
    let value: Value =
        serde_json::from_str(schema).map_err(|e| ModuleError::ConfigSchema(e.to_string()))?;
    if !value.is_object() {
        return Err(ModuleError::ConfigSchema("it is no JSON object".to_owned()));
    }
    let checked = jsonschema::validator_for(&value);
    checked.map(drop).map_err(|error| ModuleError::ConfigSchema(error.to_string()))
}

/// What a module's schema has against a configuration.
pub(crate) fn validate(schema: &str, config: &Value) -> Vec<Problem> {
    let Ok(schema) = serde_json::from_str(schema) else { return Vec::new() };
    // A schema that does not compile was refused with the module.
    let Ok(validator) = jsonschema::validator_for(&schema) else { return Vec::new() };
    let errors = validator.iter_errors(config).take(MAX_PROBLEMS);
    errors.map(|e| Problem::new(e.instance_path().to_string(), message(&schema, &e))).collect()
}

/// What an error says, with the names of the fields that there are where one is not known.
fn message(schema: &Value, error: &ValidationError<'_>) -> String {
    let ValidationErrorKind::AdditionalProperties { unexpected } = error.kind() else {
        return error.to_string();
    };
    let place = error.schema_path().as_str();
    let object = place.rsplit_once('/').and_then(|(object, _)| schema.pointer(object));
    match object.and_then(|object| object["properties"].as_object()) {
        Some(known) if !known.is_empty() => {
            let known = known.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let (verb, unknown) = (if unexpected.len() == 1 { "is" } else { "are" }, unexpected);
            format!("{} {verb} not known here; there are {known}", unknown.join(", "))
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_schema_is_empty_or_a_json_schema_object() {
        for fine in ["", "{}", r#"{"type":"object","required":["a"]}"#] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        for wrong in ["[]", "true", "{", r#"{"type":"no such type"}"#, r#"{"type":3}"#] {
            assert!(matches!(check(wrong), Err(ModuleError::ConfigSchema(_))), "{wrong}");
        }
    }

    #[test]
    fn a_schema_that_points_elsewhere_is_refused_instead_of_fetched() {
        assert!(check(r#"{"$ref":"http://127.0.0.1:1/schema.json"}"#).is_err());
        assert!(check(r#"{"$ref":"file:///etc/hostname"}"#).is_err());
    }

    #[test]
    fn a_field_that_is_not_known_is_told_with_those_that_are() {
        let schema = r##"{"properties":{"rules":{"items":{"$ref":"#/$defs/Rule"}}},
            "$defs":{"Rule":{"properties":{"set":{},"when":{}},"additionalProperties":false}}}"##;
        let said = |config: Value| validate(schema, &config)[0].message.clone();
        let one = serde_json::json!({"rules": [{"sett": 1, "when": 2}]});
        assert_eq!(said(one), "sett is not known here; there are set, when");
        let two = serde_json::json!({"rules": [{"a": 1, "b": 2}]});
        assert_eq!(said(two), "a, b are not known here; there are set, when");
        let nothing = r#"{"properties":{"set":{"properties":{},"additionalProperties":false}}}"#;
        let problems = validate(nothing, &serde_json::json!({"set": {"a": 1}}));
        assert!(!problems[0].message.contains("there are"), "nothing is known: {problems:?}");
    }

    #[test]
    fn what_a_schema_refuses_has_a_pointer() {
        let schema =
            r#"{"properties":{"rules":{"items":{"properties":{"n":{"type":"integer"}}}}}}"#;
        let config = serde_json::json!({"rules": [{"n": 1}, {"n": "x"}]});
        let problems = validate(schema, &config);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].pointer, "/rules/1/n");
    }
}
