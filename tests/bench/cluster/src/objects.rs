//! The objects of the measurements.

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use penstock_e2e::Site;
use serde_json::{Value, json};

/// Where they are.
pub(crate) const NAMESPACE: &str = "bench";
/// Requests to the API server at a time.
const AT_ONCE: usize = 16;

/// Writes them.
pub(crate) struct Objects {
    client: Client,
}

impl Objects {
    pub(crate) async fn new(site: &Site) -> Result<Self> {
        let kubeconfig = Kubeconfig::read_from(site.cluster().kubeconfig())?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        Ok(Self { client: Client::try_from(config)? })
    }

    fn api(&self, group: &str, version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
        let resource = ApiResource {
            group: group.into(),
            version: version.into(),
            api_version: format!("{group}/{version}"),
            kind: kind.into(),
            plural: plural.into(),
        };
        Api::namespaced_with(self.client.clone(), NAMESPACE, &resource)
    }

    fn routes(&self) -> Api<DynamicObject> {
        self.api("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes")
    }

    /// The Gateway and a route that is always there, with a filter.
    pub(crate) async fn base(&self) -> Result<()> {
        let gateway = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": { "name": "bench" },
            "spec": {
                "gatewayClassName": "penstock",
                "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }],
            },
        });
        let gateways = self.api("gateway.networking.k8s.io", "v1", "Gateway", "gateways");
        apply(&gateways, "bench", &gateway).await?;
        self.filter("one").await
    }

    /// The filter of the route that changes.
    pub(crate) async fn filter(&self, value: &str) -> Result<()> {
        let filter = json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "WasmFilter",
            "metadata": { "name": "stamp" },
            "spec": {
                "module": { "configMap": { "name": "header-rules", "key": "module.wasm" } },
                "config": { "response": [{ "set": { "x-stamp": value } }] },
            },
        });
        let filters = self.api("penstock.dev", "v1alpha1", "WasmFilter", "wasmfilters");
        apply(&filters, "stamp", &filter).await
    }

    /// Applies a route of one host with these rules.
    pub(crate) async fn route(&self, name: &str, rules: Value) -> Result<()> {
        let route = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": { "name": name },
            "spec": {
                "parentRefs": [{ "name": "bench" }],
                "hostnames": [host(name)],
                "rules": rules,
            },
        });
        apply(&self.routes(), name, &route).await
    }

    /// Deletes a route.
    pub(crate) async fn delete(&self, name: &str) -> Result<()> {
        self.routes().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Makes routes from a number to another.
    pub(crate) async fn grow(&self, from: usize, to: usize) -> Result<()> {
        let new = (from..to).map(|i| async move { self.route(&format!("r{i}"), to_blue()).await });
        stream::iter(new).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Deletes routes but the first.
    pub(crate) async fn shrink(&self, from: usize) -> Result<()> {
        let gone = (1..from).map(|i| async move { self.delete(&format!("r{i}")).await });
        stream::iter(gone).buffer_unordered(AT_ONCE).try_collect().await
    }
}

/// Rules that send everything to one backend.
pub(crate) fn to_blue() -> Value {
    json!([{ "backendRefs": [{ "name": "blue", "port": 80 }] }])
}

/// The host of a route.
pub(crate) fn host(route: &str) -> String {
    format!("{route}.example")
}

/// Waits until the Gateway counts so many routes.
pub(crate) fn attached(site: &Site, routes: usize) -> Result<()> {
    penstock_e2e::eventually("all routes are attached", std::time::Duration::from_secs(300), || {
        let gateway = site.object(NAMESPACE, "gateway", "bench")?;
        let counted = &gateway["status"]["listeners"][0]["attachedRoutes"];
        ensure!(counted == routes, "{counted} of {routes}");
        Ok(())
    })
}

async fn apply(api: &Api<DynamicObject>, name: &str, object: &Value) -> Result<()> {
    let how = PatchParams::apply("bench").force();
    api.patch(name, &how, &Patch::Apply(object)).await.with_context(|| name.to_owned())?;
    Ok(())
}
