//! Filters and fetchers.

use bytes::Bytes;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use penstock_gateway::FilterReason;
use penstock_modules::{Access, Failure, FetchOptions, Fetcher, Patience, Reach};
use penstock_resources::{Object, WasmFilter};
use penstock_test_ports::free_port;
use penstock_test_registry::RegistryServer;
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path, time::Duration};

/// Bytes that a module may have here.
pub(crate) const LIMIT: usize = 64 << 10;

/// A registry without TLS.
pub(crate) fn plain(folder: &Path) -> RegistryServer {
    RegistryServer::plain(folder, free_address(), "localhost").expect("a registry")
}

/// A registry with TLS that asks for a password.
pub(crate) fn private(folder: &Path, certificate: &str, key: &str) -> RegistryServer {
    let registry = RegistryServer::private(folder, free_address(), "localhost", certificate, key);
    registry.expect("a registry")
}

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// Pushes a component. Returns the digest of its manifest.
pub(crate) fn push(
    registry: &RegistryServer,
    repository: &str,
    tag: &str,
    component: &[u8],
) -> String {
    registry.push(repository, tag, component).expect("the registry takes it")
}

/// A filter with this source.
pub(crate) fn filter(module: Value) -> WasmFilter {
    let value = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "WasmFilter",
        "metadata": {"name": "f", "namespace": "default"}, "spec": {"module": module},
    });
    match Object::from_json(value) {
        Ok(Object::WasmFilter(filter)) => *filter,
        other => panic!("{other:?}"),
    }
}

/// A filter whose module is an image.
pub(crate) fn image(image: &str) -> WasmFilter {
    filter(json!({"oci": {"image": image}}))
}

/// A fetcher with little patience, that speaks to one registry without TLS.
pub(crate) fn fetcher(plain_registry: &str) -> Fetcher {
    Fetcher::new(FetchOptions {
        reach: Reach::Everywhere,
        plain_registries: [plain_registry.to_owned()].into(),
        max_bytes: LIMIT as u64,
        patience: Patience {
            connect: Duration::from_secs(5),
            idle: Duration::from_millis(500),
            whole: Duration::from_secs(2),
        },
    })
    .expect("a fetcher")
}

/// A pull secret.
pub(crate) fn pull_secret(registry: &str, user: &str, password: &str) -> Secret {
    let config = json!({"auths": {registry: {"username": user, "password": password}}});
    let content = ByteString(config.to_string().into_bytes());
    Secret { data: Some([(".dockerconfigjson".to_owned(), content)].into()), ..Secret::default() }
}

/// Fetches with nothing that the source names.
pub(crate) fn fetch(fetcher: &Fetcher, filter: &WasmFilter) -> Result<Bytes, Failure> {
    fetch_with(fetcher, filter, &Access::default())
}

/// Fetches.
pub(crate) fn fetch_with(
    fetcher: &Fetcher,
    filter: &WasmFilter,
    access: &Access,
) -> Result<Bytes, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(fetcher.fetch(filter, access))
}

/// That it failed, for this reason and with this in its message.
pub(crate) fn assert_failed(result: Result<Bytes, Failure>, reason: FilterReason, part: &str) {
    let failure = result.expect_err("it cannot be had");
    assert_eq!(failure.reason, reason, "{}", failure.message);
    assert!(failure.message.contains(part), "{part:?} in {:?}", failure.message);
    assert!(!failure.message.contains("s3cret"), "{:?}", failure.message);
}
