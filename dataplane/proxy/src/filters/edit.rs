//! Changes to header fields.

use http::{HeaderMap, header};
use penstock_filter_host::Edit;
use std::sync::Arc;

/// Attributes of an exchange.
type Attributes = Vec<(Box<str>, Box<str>)>;

/// Stands where a change was taken from.
const TAKEN: Edit = Edit::Remove(header::HOST);

/// Applies changes in order; attributes go to `attributes`, the last of a name counts.
#[inline]
pub fn apply(edits: &[Edit], headers: &mut HeaderMap, attributes: &mut Attributes) {
    for edit in edits {
        one(edit.clone(), headers, attributes);
    }
}

/// The same for a decision: where nobody remembers it, nothing of it is copied.
#[inline]
pub fn apply_decided(mut edits: Arc<[Edit]>, headers: &mut HeaderMap, attributes: &mut Attributes) {
    match Arc::get_mut(&mut edits) {
        Some(own) => {
            for edit in own {
                one(std::mem::replace(edit, TAKEN), headers, attributes);
            }
        }
        None => apply(&edits, headers, attributes),
    }
}

fn one(edit: Edit, headers: &mut HeaderMap, attributes: &mut Attributes) {
    match edit {
        Edit::Set(name, value) => {
            headers.insert(name, value);
        }
        Edit::Append(name, value) => {
            headers.append(name, value);
        }
        Edit::Remove(name) => {
            headers.remove(name);
        }
        Edit::Attribute(name, value) => {
            match attributes.iter_mut().find(|(known, _)| *known == name) {
                Some((_, old)) => *old = value,
                None => attributes.push((name, value)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn name(index: usize) -> HeaderName {
        HeaderName::from_static(["x-a", "x-b", "accept", "cookie"][index % 4])
    }

    fn edits() -> impl Strategy<Value = Vec<Edit>> {
        let value = (0..100_u16).prop_map(HeaderValue::from);
        let edit = (0..3_u8, 0..4_usize, value).prop_map(|(kind, at, value)| match kind {
            0 => Edit::Set(name(at), value),
            1 => Edit::Append(name(at), value),
            _ => Edit::Remove(name(at)),
        });
        proptest::collection::vec(edit, 0..12)
    }

    /// The same changes on a plain list of fields, as the specification words them.
    fn naive(fields: &mut Vec<(HeaderName, HeaderValue)>, edit: &Edit) {
        match edit {
            Edit::Set(name, value) => {
                fields.retain(|(known, _)| known != name);
                fields.push((name.clone(), value.clone()));
            }
            Edit::Append(name, value) => fields.push((name.clone(), value.clone())),
            Edit::Remove(name) => fields.retain(|(known, _)| known != name),
            Edit::Attribute(..) => {}
        }
    }

    proptest! {
        #[test]
        fn s7_12_edits_are_those_of_a_list_of_fields(before in edits(), edits in edits()) {
            let (mut headers, mut attributes) = (HeaderMap::new(), Vec::new());
            let mut fields = Vec::new();
            for edit in before.iter().chain(&edits) {
                naive(&mut fields, edit);
            }
            apply(&before, &mut headers, &mut attributes);
            apply(&edits, &mut headers, &mut attributes);
            let (mut again, decided) = (HeaderMap::new(), Arc::from(edits.clone()));
            apply(&before, &mut again, &mut attributes);
            apply_decided(decided, &mut again, &mut attributes);
            prop_assert_eq!(&again, &headers);
            for at in 0..4 {
                let name = name(at);
                let found: Vec<_> = headers.get_all(&name).iter().cloned().collect();
                let wanted: Vec<_> = fields
                    .iter()
                    .filter(|(known, _)| *known == name)
                    .map(|(_, value)| value.clone())
                    .collect();
                prop_assert_eq!(found, wanted);
            }
            prop_assert_eq!(headers.len(), fields.len());
        }
    }

    #[test]
    fn the_last_attribute_of_a_name_counts() {
        let (mut headers, mut attributes) = (HeaderMap::new(), Vec::new());
        let set = |value: &str| Edit::Attribute("tenant".into(), value.into());
        apply(&[set("a"), set("b")], &mut headers, &mut attributes);
        assert_eq!(attributes, [("tenant".into(), "b".into())]);
        assert!(headers.is_empty());
    }
}
