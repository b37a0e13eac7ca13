//! Objects, and what the API server makes of them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, CustomResourceExt, Resource, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use penstock_resources::gateway_api::{Gateway, GatewayClass, HttpRoute, ReferenceGrant};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long something may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Who writes in tests.
const MANAGER: &str = "test";

/// Applies an object of any kind.
pub async fn apply(client: &Client, value: Value) -> DynamicObject {
    let api = api_of(client, &value);
    let name = value["metadata"]["name"].as_str().expect("a name").to_owned();
    let parameters = PatchParams::apply(MANAGER).force();
    api.patch(&name, &parameters, &Patch::Apply(&value))
        .await
        .unwrap_or_else(|error| panic!("{error}: {value}"))
}

/// Writes the status of an object of any kind that is there, as its controller would.
pub async fn apply_status(client: &Client, value: Value) {
    let api = api_of(client, &value);
    let name = value["metadata"]["name"].as_str().expect("a name").to_owned();
    let parameters = PatchParams::apply(MANAGER).force();
    let written = api.patch_status(&name, &parameters, &Patch::Apply(&value)).await;
    written.unwrap_or_else(|error| panic!("{error}: {value}"));
}

/// Reads an object of any kind; `null` where it is not there.
pub async fn get(client: &Client, value: &Value) -> Value {
    let name = value["metadata"]["name"].as_str().expect("a name");
    let object = api_of(client, value).get_opt(name).await.expect("an answer");
    object.map_or(Value::Null, |object| serde_json::to_value(object).expect("JSON"))
}

/// Deletes an object of any kind, if it is there.
pub async fn delete(client: &Client, value: &Value) {
    let name = value["metadata"]["name"].as_str().expect("a name");
    let deleted = api_of(client, value).delete(name, &DeleteParams::default()).await;
    match deleted {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => panic!("{error}"),
    }
}

/// Waits until an object is as wanted.
pub async fn wait(
    client: &Client,
    value: &Value,
    what: &str,
    good: impl Fn(&Value) -> bool,
) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let now = get(client, value).await;
        if good(&now) {
            return now;
        }
        assert!(Instant::now() < end, "waiting for {what}: {now:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// `status reason observedGeneration` of a condition in a list.
pub fn condition(conditions: &Value, type_: &str) -> String {
    let found = conditions.as_array().into_iter().flatten().find(|c| c["type"] == type_);
    found.map_or("none".into(), |c| {
        let text = |field: &str| c[field].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", text("status"), text("reason"), c["observedGeneration"])
    })
}

fn api_of(client: &Client, value: &Value) -> Api<DynamicObject> {
    let api_version = value["apiVersion"].as_str().expect("apiVersion");
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let kind = value["kind"].as_str().expect("kind");
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match value["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Installs definitions and waits until the API server serves them.
pub async fn install(client: &Client, definitions: Vec<CustomResourceDefinition>) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let parameters = PatchParams::apply(MANAGER).force();
    for definition in definitions {
        let name = definition.name_any();
        api.patch(&name, &parameters, &Patch::Apply(&definition))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let end = Instant::now() + PATIENCE;
        loop {
            let there = api.get(&name).await.expect("it is there");
            let conditions = there.status.and_then(|status| status.conditions);
            let established = conditions.into_iter().flatten();
            if established.into_iter().any(|c| c.type_ == "Established" && c.status == "True") {
                break;
            }
            assert!(Instant::now() < end, "{name} is not established");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The Gateway API's definitions, and Penstock's own.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    let mut all = vec![
        definition::<GatewayClass>("GatewayClass"),
        definition::<Gateway>("Gateway"),
        definition::<HttpRoute>("HTTPRoute"),
        definition::<ReferenceGrant>("ReferenceGrant"),
    ];
    all.extend(penstock_resources::definitions());
    all
}

/// A definition with the schema of the release that is served.
fn definition<K: CustomResourceExt + Resource>(kind: &str) -> CustomResourceDefinition {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../api/resources/src/validate/schemas");
    let schema = std::fs::read_to_string(format!("{folder}/{kind}.json")).expect("a schema");
    let mut definition = K::crd();
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    for version in &mut definition.spec.versions {
        let schema = serde_json::from_value(schema.clone()).expect("a schema");
        version.schema.get_or_insert_default().open_api_v3_schema = Some(schema);
    }
    let annotations = definition.metadata.annotations.get_or_insert_default();
    annotations.insert("gateway.networking.k8s.io/bundle-version".into(), "v1.6.1".into());
    annotations.insert("api-approved.kubernetes.io".into(), "https://example.com".into());
    definition
}

/// A namespace.
pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// The GatewayClass.
pub fn class() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
        "metadata": {"name": "penstock"},
        "spec": {"controllerName": "penstock.dev/gateway-controller"},
    })
}

/// A Gateway with one listener.
pub fn gateway(namespace: &str, port: u16) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "gatewayClassName": "penstock",
            "listeners": [{"name": "http", "protocol": "HTTP", "port": port}],
        },
    })
}

/// An HTTPRoute to Service `app`.
pub fn route(namespace: &str, name: &str, path: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "parentRefs": [{"name": "web"}],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": path}}],
                "backendRefs": [{"name": "app", "port": 80}],
            }],
        },
    })
}

/// Service `app`.
pub fn service(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "app", "namespace": namespace},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    })
}

/// Its endpoint.
pub fn endpoints(namespace: &str) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "app-1", "namespace": namespace,
            "labels": {"kubernetes.io/service-name": "app"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": ["192.0.2.7"], "conditions": {"ready": true}}],
    })
}
