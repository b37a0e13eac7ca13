//! Conditions as people write them in a configuration: `{ input: header.x-debug, equals: "1" }`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::Problem;
use crate::input::Inputs;
use crate::plan::{Predicate, Selector, Slot, Stage};

/// One condition on what a policy can read. Exactly one of the tests is given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Condition {
    /// What is tested, for example `method`, `path`, `header.x-user` or `cookie.id`.
    input: String,
    /// Whether it must be there (true) or absent (false).
    present: Option<bool>,
    /// The value it must have.
    equals: Option<String>,
    /// What its value must begin with.
    prefix: Option<String>,
    /// The values of which it must have one.
    one_of: Option<Vec<String>>,
}

/// A predicate that the policy evaluates itself, for where the host cannot: in a policy of several
/// rules, each with conditions of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Guard {
    slot: Slot,
    predicate: Predicate,
}

impl Condition {
    /// The predicate that the condition stands for. `pointer` is where it stands in the
    /// configuration.
    ///
    /// # Errors
    /// The input is nothing a policy can read, or there is not exactly one test.
    pub fn predicate(&self, pointer: &str) -> Result<Predicate, Problem> {
        let selector: Selector =
            self.input.parse().map_err(|error| Problem::at(format!("{pointer}/input"), error))?;
        match (self.present, &self.equals, &self.prefix, &self.one_of) {
            (Some(true), None, None, None) => Ok(Predicate::Present(selector)),
            (Some(false), None, None, None) => Ok(Predicate::Absent(selector)),
            (None, Some(value), None, None) => Ok(Predicate::Equals((selector, value.clone()))),
            (None, None, Some(text), None) => Ok(Predicate::Prefix((selector, text.clone()))),
            (None, None, None, Some(values)) => Ok(Predicate::OneOf((selector, values.clone()))),
            _ => Err(Problem::at(pointer, "give exactly one of present, equals, prefix, oneOf")),
        }
    }
}

impl Predicate {
    /// What is tested.
    pub fn selector(&self) -> &Selector {
        match self {
            Predicate::Present(selector) | Predicate::Absent(selector) => selector,
            Predicate::Equals((selector, _)) | Predicate::Prefix((selector, _)) => selector,
            Predicate::OneOf((selector, _)) => selector,
        }
    }

    /// Whether it holds for a value of what is tested.
    pub fn holds(&self, value: Option<&str>) -> bool {
        match (self, value) {
            (Predicate::Present(_), value) => value.is_some(),
            (Predicate::Absent(_), value) => value.is_none(),
            (_, None) => false,
            (Predicate::Equals((_, wanted)), Some(value)) => wanted == value,
            (Predicate::Prefix((_, prefix)), Some(value)) => value.starts_with(prefix.as_str()),
            (Predicate::OneOf((_, values)), Some(value)) => values.iter().any(|v| v == value),
        }
    }
}

impl Guard {
    /// Declares what the predicate tests as an input of the stage.
    pub fn new(predicate: Predicate, stage: &mut Stage) -> Guard {
        Guard { slot: stage.input(predicate.selector().clone()), predicate }
    }

    /// Whether it holds for the values of a call.
    pub fn holds(&self, inputs: &Inputs<'_>) -> bool {
        self.predicate.holds(inputs.get(self.slot))
    }
}

/// What is common to the conditions of all rules, and each rule's own without it. A policy that acts
/// where any of its rules does leaves the common ones to the host.
pub fn shared_conditions(mut rules: Vec<Vec<Predicate>>) -> (Vec<Predicate>, Vec<Vec<Predicate>>) {
    let mut shared = rules.first().cloned().unwrap_or_default();
    shared.retain(|predicate| rules.iter().all(|rule| rule.contains(predicate)));
    for rule in &mut rules {
        rule.retain(|predicate| !shared.contains(predicate));
    }
    (shared, rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_json;

    fn predicate(json: &str) -> Result<Predicate, Problem> {
        from_json::<Condition>(json).unwrap().predicate("/when/0")
    }

    #[test]
    fn each_test_has_its_meaning() {
        let cases = [
            (r#"{"input":"path","present":true}"#, Some(""), None),
            (r#"{"input":"path","present":false}"#, None, Some("")),
            (r#"{"input":"path","equals":"/a"}"#, Some("/a"), Some("/ab")),
            (r#"{"input":"path","prefix":"/a"}"#, Some("/ab"), Some("/b")),
            (r#"{"input":"path","oneOf":["/a","/b"]}"#, Some("/b"), Some("/c")),
            (r#"{"input":"path","equals":""}"#, Some(""), None),
        ];
        for (json, yes, no) in cases {
            let predicate = predicate(json).unwrap();
            assert!(predicate.holds(yes), "{json} {yes:?}");
            assert!(!predicate.holds(no), "{json} {no:?}");
        }
    }

    #[test]
    fn a_condition_has_exactly_one_test() {
        for json in [r#"{"input":"path"}"#, r#"{"input":"path","equals":"a","prefix":"a"}"#] {
            assert_eq!(predicate(json).unwrap_err().pointer, "/when/0");
        }
        let unknown = predicate(r#"{"input":"pth","equals":"a"}"#).unwrap_err();
        assert_eq!(unknown.pointer, "/when/0/input");
    }
}
