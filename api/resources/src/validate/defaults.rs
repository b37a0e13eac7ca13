//! What an API server fills in.

use serde_json::{Value, json};

use super::node::Node;
use crate::kind::Kind;

/// Fills in the defaults of a schema.
///
/// Kubernetes, "Defaulting and Nullable": "null values for fields that either don't have the
/// nullable flag, or where nullable is false, will be pruned before defaulting happens. If a
/// default is present, it will be applied". Fields that are nullable lose their null as well: to
/// the types null and absent are one.
pub(super) fn apply(node: &Node, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, field| {
                !field.is_null()
                    || !(node.properties.contains_key(name) || node.additional_properties.is_some())
            });
            for (name, property) in &node.properties {
                if !fields.contains_key(name)
                    && let Some(default) = &property.default
                {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, field) in fields {
                let schema = node.properties.get(name).or(node.additional_properties.as_deref());
                if let Some(schema) = schema {
                    apply(schema, field);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &node.items {
                items.iter_mut().for_each(|item| apply(schema, item));
            }
        }
        _ => {}
    }
}

/// A namespaced object that names no namespace is in `default`, as with a client that names none.
pub(super) fn namespace(kind: Kind, value: &mut Value) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut)
        && kind.namespaced()
    {
        metadata.entry("namespace").or_insert_with(|| json!("default"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::default;

    fn route(spec: Value) -> Value {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "r"}, "spec": spec,
        })
    }

    #[test]
    fn an_http_route_gets_the_defaults_of_its_schema() {
        let mut value = route(json!({
            "hostnames": null,
            "parentRefs": [{"name": "g"}],
            "rules": [{"backendRefs": [{"name": "b", "port": 80}]}],
        }));
        default(&mut value);
        assert_eq!(value["metadata"]["namespace"], "default");
        let expected = json!({
            "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"}],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [
                    {"group": "", "kind": "Service", "name": "b", "port": 80, "weight": 1},
                ],
            }],
        });
        assert_eq!(value["spec"], expected);
    }

    #[test]
    fn what_is_stated_stays() {
        let spec = json!({
            "parentRefs": [{"group": "", "kind": "Service", "name": "g"}],
            "rules": [{
                "matches": [{"path": {"type": "Exact", "value": "/a"}}],
                "backendRefs": [{"group": "", "kind": "Service", "name": "b", "port": 1, "weight": 0}],
            }],
        });
        let mut value = route(spec.clone());
        value["metadata"]["namespace"] = json!("n");
        default(&mut value);
        assert_eq!(value["spec"], spec);
        assert_eq!(value["metadata"]["namespace"], "n");
    }

    #[test]
    fn defaults_are_applied_once() {
        let mut once = route(json!({"rules": [{}]}));
        default(&mut once);
        let mut twice = once.clone();
        default(&mut twice);
        assert_eq!(once, twice);
    }

    #[test]
    fn a_wasm_filter_gets_its_limits_and_keeps_null_within_config() {
        let mut value = json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "WasmFilter", "metadata": {"name": "f"},
            "spec": {"module": {"file": {"path": "f.wasm"}}, "config": {"a": null}},
        });
        default(&mut value);
        assert_eq!(value["spec"]["limits"], json!({"memory": "16Mi", "deadline": "5ms"}));
        assert_eq!(value["spec"]["onFailure"], "Closed");
        assert_eq!(value["spec"]["opaqueValues"], "Reject");
        assert_eq!(value["spec"]["config"], json!({"a": null}));
    }
}
