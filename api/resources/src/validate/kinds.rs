//! The schema of each kind.

use std::collections::HashMap;
use std::sync::OnceLock;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::CustomResourceExt;
use kube_cel::{CompiledSchema, compile_schema};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::core;
use super::node::Node;
use crate::kind::{KINDS, Kind};
use crate::{GatewayConfig, LoadBalancerPool, WasmFilter};

/// The schema of a kind, ready for use.
pub(super) struct Schema {
    pub(super) node: Node,
    pub(super) compiled: CompiledSchema,
    /// What the author of a rule has to say when it fails, by the rule.
    pub(super) messages: HashMap<String, String>,
}

/// The schema of `kind`, built when first needed.
pub(super) fn schema(kind: Kind) -> &'static Schema {
    static SCHEMAS: [OnceLock<Schema>; KINDS.len()] = [const { OnceLock::new() }; KINDS.len()];
    // Schemas are part of the program and a test builds each of them, so this cannot fail later.
    SCHEMAS[kind as usize].get_or_init(|| Schema::build(kind).expect("an embedded schema is valid"))
}

impl Schema {
    fn build(kind: Kind) -> Result<Schema, serde_json::Error> {
        let json = json(kind)?;
        let node = Node::deserialize(&json)?;
        let mut messages = HashMap::new();
        collect_messages(&node, &mut messages);
        Ok(Schema { node, compiled: compile_schema(&json), messages })
    }
}

/// The schema of a kind as JSON.
fn json(kind: Kind) -> Result<Value, serde_json::Error> {
    let mut schema = match kind {
        Kind::GatewayClass => serde_json::from_str(include_str!("schemas/GatewayClass.json"))?,
        Kind::Gateway => serde_json::from_str(include_str!("schemas/Gateway.json"))?,
        Kind::HttpRoute => serde_json::from_str(include_str!("schemas/HTTPRoute.json"))?,
        Kind::ReferenceGrant => serde_json::from_str(include_str!("schemas/ReferenceGrant.json"))?,
        Kind::WasmFilter => defined::<WasmFilter>()?,
        Kind::GatewayConfig => defined::<GatewayConfig>()?,
        Kind::LoadBalancerPool => defined::<LoadBalancerPool>()?,
        Kind::Service => typed::<Service>(kind),
        Kind::EndpointSlice => typed::<EndpointSlice>(kind),
        Kind::Secret => typed::<Secret>(kind),
        Kind::ConfigMap => typed::<ConfigMap>(kind),
        Kind::Namespace => typed::<Namespace>(kind),
    };
    // Definitions leave these to the API server, which has its own idea of them.
    schema["properties"]["apiVersion"] = json!({"type": "string"});
    schema["properties"]["kind"] = json!({"type": "string"});
    schema["properties"]["metadata"] = generated::<ObjectMeta>();
    Ok(schema)
}

/// The schema within the definition of one of Penstock's own kinds.
fn defined<T: CustomResourceExt>() -> Result<Value, serde_json::Error> {
    let definition = serde_json::to_value(T::crd())?;
    Ok(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone())
}

/// The schema of a core kind: that of its type and the checks that the API server makes in code.
fn typed<T: JsonSchema>(kind: Kind) -> Value {
    let mut schema = generated::<T>();
    core::constrain(kind, &mut schema);
    schema
}

fn generated<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

fn collect_messages(node: &Node, messages: &mut HashMap<String, String>) {
    for rule in &node.rules {
        if let Some(message) = &rule.message {
            messages.insert(rule.rule.clone(), message.clone());
        }
    }
    let below = node.properties.values().chain(node.additional_properties.as_deref());
    for node in below.chain(node.items.as_deref()) {
        collect_messages(node, messages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_schema_in_its_own_place() {
        for (position, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, position, "{kind}: KINDS lists the kinds as declared");
            assert!(schema(kind).node.properties.contains_key("metadata"), "{kind}");
        }
    }

    #[test]
    fn every_pattern_of_every_schema_compiles() {
        for kind in KINDS {
            for node in schema(kind).node.all() {
                if let Some(pattern) = &node.pattern {
                    assert!(pattern.regex().is_some(), "{kind}: {}", pattern.text);
                }
            }
        }
    }

    #[test]
    fn every_rule_of_every_schema_compiles_and_has_a_message() {
        let mut rules = 0;
        for kind in KINDS {
            let schema = schema(kind);
            rules += count_compiled(kind, &schema.compiled);
            for node in schema.node.all() {
                for rule in &node.rules {
                    assert!(schema.messages.contains_key(&rule.rule), "{kind}: {}", rule.rule);
                }
            }
        }
        // Gateway API v1.6.1 alone has more than a hundred places with rules.
        assert!(rules > 100, "{rules}");
    }

    fn count_compiled(kind: Kind, compiled: &CompiledSchema) -> usize {
        assert!(!compiled.has_errors(), "{kind}: {:?}", compiled.compilation_errors());
        let below = compiled
            .properties
            .values()
            .chain(compiled.items.as_deref())
            .chain(compiled.additional_properties.as_deref())
            .chain(&compiled.all_of)
            .chain(&compiled.any_of)
            .chain(&compiled.one_of);
        compiled.validations.len() + below.map(|c| count_compiled(kind, c)).sum::<usize>()
    }
}
