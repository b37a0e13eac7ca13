//! Label selectors, as they stand in several kinds.

use std::collections::BTreeMap;

/// Label that every namespace carries.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// One of `matchExpressions`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expression<'a> {
    pub(crate) key: &'a str,
    pub(crate) operator: &'a str,
    pub(crate) values: &'a [String],
}

impl Expression<'_> {
    /// Whether operator and values fit each other.
    pub(crate) fn is_valid(&self) -> bool {
        match self.operator {
            "In" | "NotIn" => !self.values.is_empty(),
            "Exists" | "DoesNotExist" => self.values.is_empty(),
            _ => false,
        }
    }

    fn is_true(&self, labels: &BTreeMap<&str, &str>) -> bool {
        let label = labels.get(self.key);
        let listed = label.is_some_and(|label| self.values.iter().any(|v| v == label));
        match self.operator {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => label.is_some(),
            "DoesNotExist" => label.is_none(),
            _ => false,
        }
    }
}

/// Whether every label and every expression of a selector is met.
pub(crate) fn matches<'a>(
    labels: &BTreeMap<&str, &str>,
    equal: Option<&BTreeMap<String, String>>,
    mut expressions: impl Iterator<Item = Expression<'a>>,
) -> bool {
    let mut equal = equal.into_iter().flatten();
    equal.all(|(key, value)| labels.get(key.as_str()) == Some(&value.as_str()))
        && expressions.all(|expression| expression.is_true(labels))
}

/// Labels of an object.
pub(crate) fn labels(own: Option<&BTreeMap<String, String>>) -> BTreeMap<&str, &str> {
    own.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// Labels of a namespace, its name among them; of one that is not known the name alone.
pub(crate) fn namespace_labels<'a>(
    own: Option<&'a BTreeMap<String, String>>,
    name: &'a str,
) -> BTreeMap<&'a str, &'a str> {
    let mut all = labels(own);
    all.insert(NAMESPACE_NAME, name);
    all
}
