//! Configuration: typed by serde, described by schemars, refused with a JSON Pointer.

use std::fmt::{self, Display, Write as _};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::bindings::types::Config;

pub use crate::bindings::types::Problem;

/// Everything that is wrong with a configuration.
pub type Problems = Vec<Problem>;

/// Which `WasmFilter` a policy is made for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// `namespace/name` of the `WasmFilter`.
    pub filter: String,
    /// Its `metadata.generation`.
    pub generation: u64,
}

impl Problem {
    /// A problem at a JSON Pointer (RFC 6901), for example `/rules/0/regex`.
    pub fn at(pointer: impl Into<String>, message: impl Display) -> Problem {
        Problem { pointer: pointer.into(), message: message.to_string() }
    }

    /// A problem of the configuration as a whole.
    pub fn new(message: impl Display) -> Problem {
        Problem::at("", message)
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Problems {
        vec![problem]
    }
}

/// Reads a configuration as the host would hand it over: for tests.
///
/// # Errors
/// What [`configure`](crate::HeaderPolicy::configure) would answer.
pub fn from_json<C: DeserializeOwned>(json: &str) -> Result<C, Problems> {
    let value: Value = serde_json::from_str(json).map_err(Problem::new)?;
    // A WasmFilter without `config` is one whose every field has its default.
    let value = if value.is_null() { Value::Object(serde_json::Map::new()) } else { value };
    serde_path_to_error::deserialize(value).map_err(|error| {
        let pointer = pointer(error.path());
        Problems::from(Problem::at(pointer, error.inner()))
    })
}

/// Splits what the host hands over into the configuration and what it is for.
pub fn parse<C: DeserializeOwned>(config: Config) -> Result<(C, About), Problems> {
    let about = About { filter: config.filter, generation: config.generation };
    Ok((from_json(&config.json)?, about))
}

/// JSON Schema (draft 2020-12) of a configuration.
pub(crate) fn schema<C: JsonSchema>() -> String {
    let generator = SchemaSettings::draft2020_12().into_generator();
    Value::from(generator.into_root_schema_for::<C>()).to_string()
}

/// JSON Schema (draft 2020-12) of a configuration type: for tests and documentation.
pub fn describe<C: JsonSchema>() -> String {
    schema::<C>()
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => push(&mut pointer, index),
            Segment::Map { key } => push(&mut pointer, &Escaped(key)),
            Segment::Enum { variant } => push(&mut pointer, &Escaped(variant)),
            Segment::Unknown => break,
        }
    }
    pointer
}

fn push(pointer: &mut String, token: &impl Display) {
    // Writing to a string cannot fail.
    let _ = write!(pointer, "/{token}");
}

/// A reference token of RFC 6901, section 3: `~` is written `~0`, `/` is written `~1`.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '~' => f.write_str("~0"),
            '/' => f.write_str("~1"),
            other => f.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(default)]
        limits: BTreeMap<String, u8>,
        #[serde(default)]
        names: Vec<String>,
    }

    fn problem_of(json: &str) -> Problem {
        from_json::<Sample>(json).unwrap_err().remove(0)
    }

    #[test]
    fn an_absent_config_has_every_default() {
        let sample = from_json::<Sample>("null").unwrap();
        assert_eq!(sample, Sample { limits: BTreeMap::new(), names: Vec::new() });
    }

    #[test]
    fn a_wrong_element_is_pointed_at_by_its_index() {
        let problem = problem_of(r#"{"names": ["a", 7]}"#);
        assert_eq!(problem.pointer, "/names/1");
        assert!(problem.message.contains("expected a string"), "{}", problem.message);
    }

    #[test]
    fn rfc_6901_section_3_keys_are_escaped() {
        let problem = problem_of(r#"{"limits": {"a/b~c": 300}}"#);
        assert_eq!(problem.pointer, "/limits/a~1b~0c");
    }

    #[test]
    fn an_unknown_field_names_the_known_ones() {
        let problem = problem_of(r#"{"nmaes": []}"#);
        assert_eq!(problem.pointer, "/nmaes");
        assert!(problem.message.contains("names"), "{}", problem.message);
    }

    #[test]
    fn what_is_not_json_is_a_problem_of_the_whole() {
        assert_eq!(problem_of("{").pointer, "");
    }

    #[test]
    fn the_schema_is_of_draft_2020_12() {
        let schema: Value = serde_json::from_str(&schema::<Sample>()).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["additionalProperties"], false);
    }
}
