//! The JSON Schema of a module's configuration.

use crate::error::{ModuleError, Problem};
use crate::instance::MAX_PROBLEMS;

/// The schema is a JSON object that is a JSON Schema, or empty.
pub(crate) fn check(schema: &str) -> Result<(), ModuleError> {
    if schema.is_empty() {
        return Ok(());
    }
    let value: serde_json::Value =
        serde_json::from_str(schema).map_err(|e| ModuleError::ConfigSchema(e.to_string()))?;
    if !value.is_object() {
        return Err(ModuleError::ConfigSchema("it is no JSON object".to_owned()));
    }
    let checked = jsonschema::validator_for(&value);
    checked.map(drop).map_err(|error| ModuleError::ConfigSchema(error.to_string()))
}

/// What a module's schema has against a configuration.
pub(crate) fn validate(schema: &str, config: &serde_json::Value) -> Vec<Problem> {
    let Ok(schema) = serde_json::from_str(schema) else { return Vec::new() };
    // A schema that does not compile was refused with the module.
    let Ok(validator) = jsonschema::validator_for(&schema) else { return Vec::new() };
    let errors = validator.iter_errors(config).take(MAX_PROBLEMS);
    errors.map(|e| Problem::new(e.instance_path().to_string(), e.to_string())).collect()
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
    fn what_a_schema_refuses_has_a_pointer() {
        let schema =
            r#"{"properties":{"rules":{"items":{"properties":{"n":{"type":"integer"}}}}}}"#;
        let config = serde_json::json!({"rules": [{"n": 1}, {"n": "x"}]});
        let problems = validate(schema, &config);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].pointer, "/rules/1/n");
    }
}
