//! CEL rules (`x-kubernetes-validations`).

use kube_cel::{ErrorKind, Validator};
use serde_json::Value;

use super::kinds::Schema;
use super::{Findings, child};

/// Runs the rules of a schema over an object whose structure is sound.
///
/// Rules that compare with an earlier state (`oldSelf`) say nothing about a new object.
pub(super) fn check(schema: &Schema, value: &Value, findings: &mut Findings) {
    let Err(errors) = Validator::new().validate_compiled(&schema.compiled, value, None) else {
        return;
    };
    for error in errors {
        // A rule that cannot be evaluated (a field that it reads is missing) is a refusal at the
        // API server too; the author's words say more than the evaluator's.
        let message = match (error.kind, schema.messages.get(&error.rule)) {
            (ErrorKind::ValidationFailure | ErrorKind::EvaluationError, Some(message)) => {
                message.clone()
            }
            (_, _) => error.message,
        };
        findings.refuse(&pointer(&error.field_path), message);
    }
}

/// A JSON Pointer from a path such as `spec.rules[0].filters`. No field on the way to a rule has a
/// dot or a bracket in its name.
fn pointer(path: &str) -> String {
    path.split(['.', '[', ']'])
        .filter(|token| !token.is_empty())
        .fold(String::new(), |pointer, token| child(&pointer, token))
}

#[cfg(test)]
mod tests {
    use super::super::kinds::schema;
    use super::super::node::Node;
    use super::*;
    use crate::kind::KINDS;

    #[test]
    fn paths_become_pointers() {
        assert_eq!(pointer(""), "");
        assert_eq!(pointer("spec.rules[0].filters[12]"), "/spec/rules/0/filters/12");
    }

    #[test]
    fn names_on_the_way_to_a_rule_can_be_told_from_the_path() {
        fn walk(node: &Node) -> bool {
            let mut rules = !node.rules.is_empty();
            for (name, below) in &node.properties {
                if walk(below) {
                    assert!(!name.contains(['.', '[', ']']), "{name}");
                    rules = true;
                }
            }
            if let Some(below) = &node.additional_properties {
                assert!(!walk(below), "a rule below keys that users choose");
            }
            rules | node.items.as_deref().is_some_and(walk)
        }
        assert!(KINDS.into_iter().filter(|kind| walk(&schema(*kind).node)).count() >= 4);
    }
}
