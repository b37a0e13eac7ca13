//! The Gateway API kinds that Penstock reads, standard channel of v1.6.1.
//!
//! The decision record on Gateway API types says where these types come from.

pub use gateway_api::{gatewayclasses, gateways, httproutes, referencegrants};

pub use gateway_api::gatewayclasses::GatewayClass;
pub use gateway_api::gateways::Gateway;
pub use gateway_api::httproutes::HttpRoute;
pub use gateway_api::referencegrants::ReferenceGrant;

/// API group of the Gateway API.
pub const GROUP: &str = "gateway.networking.k8s.io";
/// The release whose schemas [`crate::validate`] applies.
pub const BUNDLE_VERSION: &str = "v1.6.1";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kube::CustomResourceExt;
    use serde_json::Value;

    use super::*;

    /// Where the types of the crate, which knows v1.5.1, are not those of [`BUNDLE_VERSION`]:
    /// fields, their JSON types, their choices, and what must be there.
    fn differences(release: &Value, types: &Value, at: &str, found: &mut Vec<String>) {
        let names = |schema: &Value| -> BTreeSet<String> {
            schema["properties"].as_object().into_iter().flatten().map(|(k, _)| k.clone()).collect()
        };
        let texts = |schema: &Value, key: &str| -> BTreeSet<String> {
            let values = schema[key].as_array().into_iter().flatten();
            values.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        for name in names(release).symmetric_difference(&names(types)) {
            found.push(format!("{at}.{name} is in one of the two"));
        }
        if release["type"] != types["type"] {
            found.push(format!("{at}: {} or {}", release["type"], types["type"]));
        }
        // A type that takes any text reads every choice; the schemas restrict it.
        if !texts(types, "enum").is_empty() && texts(release, "enum") != texts(types, "enum") {
            found.push(format!("{at}: choices differ"));
        }
        for name in texts(types, "required").difference(&texts(release, "required")) {
            if release["properties"][name].get("default").is_none() {
                found.push(format!("{at}.{name} may be absent"));
            }
        }
        for name in names(release).intersection(&names(types)) {
            let (release, types) = (&release["properties"][name], &types["properties"][name]);
            differences(release, types, &format!("{at}.{name}"), found);
        }
        for below in ["items", "additionalProperties"] {
            if release.get(below).is_some() || types.get(below).is_some() {
                differences(&release[below], &types[below], &format!("{at}[]"), found);
            }
        }
    }

    fn compared<T: CustomResourceExt>(release: &str) -> Vec<String> {
        let release: Value = serde_json::from_str(release).unwrap();
        let crd = serde_json::to_value(T::crd()).unwrap();
        let types = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut found = Vec::new();
        for part in ["spec", "status"] {
            let (release, types) = (&release["properties"][part], &types["properties"][part]);
            differences(release, types, part, &mut found);
        }
        found
    }

    #[test]
    fn the_types_have_the_form_of_the_release() {
        let none: [String; 0] = [];
        assert_eq!(
            compared::<GatewayClass>(include_str!("validate/schemas/GatewayClass.json")),
            none
        );
        assert_eq!(compared::<Gateway>(include_str!("validate/schemas/Gateway.json")), none);
        assert_eq!(compared::<HttpRoute>(include_str!("validate/schemas/HTTPRoute.json")), none);
        assert_eq!(
            compared::<ReferenceGrant>(include_str!("validate/schemas/ReferenceGrant.json")),
            none
        );
    }

    #[test]
    fn a_difference_is_found() {
        let schema = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
        let release = schema(
            r#"{"type": "object", "properties": {
                "a": {"type": "string", "enum": ["X", "Y"]},
                "b": {"type": "array", "items": {"type": "integer"}}, "c": {"type": "string"}}}"#,
        );
        let types = schema(
            r#"{"type": "object", "required": ["c"], "properties": {
                "a": {"type": "string", "enum": ["X"]},
                "b": {"type": "array", "items": {"type": "string"}}, "c": {"type": "string"},
                "d": {"type": "string"}}}"#,
        );
        let mut found = Vec::new();
        differences(&release, &types, "", &mut found);
        assert_eq!(found.len(), 4, "{found:?}");
    }
}
