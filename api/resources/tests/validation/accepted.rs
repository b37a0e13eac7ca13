//! What is accepted can be read.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use penstock_resources::validate::{default, validate};
use penstock_resources::{KINDS, Kind, Object, definitions};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// Texts of which some fit each pattern.
const TEXTS: [&str; 22] = [
    "",
    "a",
    "A",
    "web",
    "example.com",
    "*.example.com",
    "/",
    "/cart",
    "//",
    "5ms",
    "1h30m",
    "16Mi",
    "80",
    "192.0.2.1",
    "2001:db8::1",
    "eA==",
    "HTTP",
    "Gateway",
    "penstock.dev/c",
    "True",
    "2026-01-31T12:00:00Z",
    "X-A",
];

/// A value that mostly follows `schema`: each choice is made by the next number of `dice`.
struct Sampler<'a> {
    dice: &'a [u16],
    next: usize,
}

impl Sampler<'_> {
    fn below(&mut self, bound: usize) -> usize {
        self.next += 1;
        usize::from(self.dice[self.next % self.dice.len()]) % bound.max(1)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// A value for a schema.
    fn value(&mut self, schema: &Value, depth: usize) -> Value {
        if self.one_in(200) {
            return [json!(null), json!(1), json!("x"), json!([]), json!({})][self.below(5)]
                .clone();
        }
        if let Some(values) = schema["enum"].as_array() {
            return values[self.below(values.len())].clone();
        }
        match schema["type"].as_str() {
            Some("object") => self.object(schema, depth),
            Some("array") => {
                let least = schema["minItems"].as_u64().unwrap_or(0) as usize;
                let items = least + if depth > 6 { 0 } else { self.below(3) };
                (0..items).map(|_| self.value(&schema["items"], depth + 1)).collect()
            }
            Some("integer") => {
                let least = schema["minimum"].as_f64().unwrap_or(0.0) as i64;
                let most = schema["maximum"].as_f64().unwrap_or(f64::MAX) as i64;
                let number = least + [0, 1, 80, 200, 70_000][self.below(5)];
                json!(if self.one_in(50) { number } else { number.min(most) })
            }
            Some("boolean") => json!(self.one_in(2)),
            Some("string") => self.text(schema),
            _ => json!({"free": [null, 1.5, {"form": true}]}),
        }
    }

    /// Mostly, of fields that are named like choices of `type` keeps the one that is chosen.
    fn agree(&mut self, schema: &Value, fields: &mut Map<String, Value>, depth: usize) {
        let Some(choices) = schema["properties"]["type"]["enum"].as_array() else { return };
        let chosen = fields.get("type").and_then(Value::as_str).map(str::to_lowercase);
        if chosen.is_none() || self.one_in(100) {
            return;
        }
        let choices: Vec<_> =
            choices.iter().filter_map(Value::as_str).map(str::to_lowercase).collect();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let lower = name.to_lowercase();
            if Some(&lower) == chosen.as_ref() {
                fields.insert(name.clone(), self.value(field, depth + 1));
            } else if choices.contains(&lower) {
                fields.remove(name);
            }
        }
    }

    /// A value for a field; the core kinds' schemas do not say which texts their fields take.
    fn field(&mut self, name: &str, schema: &Value, depth: usize) -> Value {
        let known: &[&str] = match name {
            "type" => &["ClusterIP", "ExternalName", "Opaque", "NodePort"],
            "protocol" => &["TCP", "UDP"],
            "addressType" => &["IPv4", "IPv6", "FQDN"],
            "addresses" => &["192.0.2.1", "2001:db8::1", "example.com"],
            "value" => &["/", "/cart", "192.0.2.1"],
            "clusterIP" => &["None", "192.0.2.1"],
            "cidr" => &["192.0.2.0/24", "2001:db8::/64"],
            "start" => &["192.0.2.1", "2001:db8::1"],
            "stop" => &["192.0.2.9", "2001:db8::9"],
            "sessionAffinity" => &["None", "ClientIP"],
            _ => &[],
        };
        let plain = |schema: &Value| schema.get("enum").or(schema.get("pattern")).is_none();
        match schema["type"].as_str() {
            Some("string") if !known.is_empty() && plain(schema) => {
                json!(known[self.below(known.len())])
            }
            Some("array") if !known.is_empty() && plain(&schema["items"]) => {
                json!([known[self.below(known.len())]])
            }
            _ => self.value(schema, depth),
        }
    }

    fn text(&mut self, schema: &Value) -> Value {
        if schema["format"] == "date-time" && !self.one_in(100) {
            return json!("2026-01-31T12:00:00Z");
        }
        let pattern = schema["pattern"].as_str().and_then(|text| regex::Regex::new(text).ok());
        let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX) as usize;
        let least = schema["minLength"].as_u64().unwrap_or(0) as usize;
        let fitting: Vec<_> = TEXTS
            .iter()
            .filter(|text| pattern.as_ref().is_none_or(|pattern| pattern.is_match(text)))
            .filter(|text| (least..=most).contains(&text.len()))
            .collect();
        if fitting.is_empty() || self.one_in(100) {
            return json!(TEXTS[self.below(TEXTS.len())]);
        }
        json!(fitting[self.below(fitting.len())])
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let mut fields = Map::new();
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let must = required.iter().any(|r| r == name);
            if (must && !self.one_in(200)) || (!must && self.one_in(if depth < 3 { 2 } else { 3 }))
            {
                fields.insert(name.clone(), self.field(name, field, depth + 1));
            }
        }
        if schema["additionalProperties"].is_object() && self.one_in(2) {
            let key = TEXTS[self.below(TEXTS.len())].to_owned();
            fields.insert(key, self.value(&schema["additionalProperties"], depth + 1));
        }
        if let Some(branches) = schema["oneOf"].as_array()
            && let Some(name) = branches[self.below(branches.len())]["required"][0].as_str()
        {
            fields.retain(|field, _| !schema["properties"][field].is_object());
            fields.insert(name.to_owned(), self.value(&schema["properties"][name], depth + 1));
        }
        self.agree(schema, &mut fields, depth);
        if self.one_in(300) {
            fields.insert("surprise".to_owned(), json!(1));
        }
        Value::Object(fields)
    }
}

/// The schemas as they are published: the release's, and the definitions'.
fn schema(kind: Kind) -> Value {
    let release = |text: &str| serde_json::from_str(text).unwrap();
    match kind {
        Kind::GatewayClass => release(include_str!("../../src/validate/schemas/GatewayClass.json")),
        Kind::Gateway => release(include_str!("../../src/validate/schemas/Gateway.json")),
        Kind::HttpRoute => release(include_str!("../../src/validate/schemas/HTTPRoute.json")),
        Kind::ReferenceGrant => {
            release(include_str!("../../src/validate/schemas/ReferenceGrant.json"))
        }
        Kind::Service => generated::<Service>(),
        Kind::EndpointSlice => generated::<EndpointSlice>(),
        Kind::Secret => generated::<Secret>(),
        Kind::ConfigMap => generated::<ConfigMap>(),
        Kind::Namespace => generated::<Namespace>(),
        Kind::WasmFilter | Kind::GatewayConfig | Kind::LoadBalancerPool => {
            let all = definitions().map(|crd| serde_json::to_value(crd).unwrap());
            let crd = all.iter().find(|crd| crd["spec"]["names"]["kind"] == kind.name()).unwrap();
            crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
        }
    }
}

fn generated<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

#[test]
fn what_is_accepted_is_read_and_stays_accepted_with_its_defaults() {
    for kind in KINDS {
        let schema = schema(kind);
        let accepted = std::cell::Cell::new(0);
        let dice = proptest::collection::vec(any::<u16>(), 400);
        let mut runner =
            TestRunner::new(Config { cases: 1500, failure_persistence: None, ..Config::default() });
        runner
            .run(&dice, |dice| {
                let mut value = Sampler { dice: &dice, next: 0 }.value(&schema, 0);
                if !value.is_object() {
                    return Ok(());
                }
                value["apiVersion"] = json!(kind.api_version());
                value["kind"] = json!(kind.name());
                value["metadata"] = json!({"name": "a"});
                if validate(&value).is_empty() {
                    accepted.set(accepted.get() + 1);
                    let read = Object::from_json(value.clone());
                    prop_assert!(read.is_ok(), "{value}: {}", read.unwrap_err());
                    let mut filled = value;
                    default(&mut filled);
                    prop_assert_eq!(validate(&filled), vec![], "{}", filled);
                }
                Ok(())
            })
            .unwrap();
        assert!(accepted.get() >= 30, "{kind}: only {} samples were accepted", accepted.get());
    }
}
