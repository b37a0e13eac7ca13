//! What the tables share.

use penstock_resources::validate::validate;
use serde_json::Value;

/// A change to a valid object and where it is then refused.
pub(crate) struct Case {
    /// What the row shows.
    pub(crate) name: &'static str,
    /// JSON Pointer to what is set.
    pub(crate) set: &'static str,
    /// The new value; null takes the field away.
    pub(crate) to: Value,
    /// Pointer and a part of the message of the refusal; None where the object is accepted.
    pub(crate) refused: Option<(&'static str, &'static str)>,
}

/// Runs a table over a valid object: exactly the named place is refused.
pub(crate) fn run(valid: &Value, cases: Vec<Case>) {
    assert_eq!(validate(valid), [], "the object that the table starts from");
    for case in cases {
        let mut value = valid.clone();
        set(&mut value, case.set, case.to);
        let found = validate(&value);
        match case.refused {
            None => assert_eq!(found, [], "{}", case.name),
            Some((pointer, part)) => {
                let hit = found.iter().any(|v| v.pointer == pointer && v.message.contains(part));
                assert!(hit, "{}: expected {pointer}: {part}, found {found:#?}", case.name);
                assert!(
                    found.len() <= 2,
                    "{}: only what is wrong is refused: {found:#?}",
                    case.name
                );
            }
        }
    }
}

fn set(value: &mut Value, pointer: &str, to: Value) {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let name = name.replace("~1", "/").replace("~0", "~");
    let parent = value.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer} has a parent"));
    match parent {
        Value::Array(items) => items[name.parse::<usize>().expect("an index")] = to,
        Value::Object(fields) if to.is_null() => drop(fields.remove(&name)),
        Value::Object(fields) => drop(fields.insert(name, to)),
        other => panic!("{pointer}: {other} has no fields"),
    }
}
