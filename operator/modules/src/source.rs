//! Where the bytes of a module come from.

use crate::Failure;
use bytes::Bytes;
use k8s_openapi::{ByteString, api::core::v1::ConfigMap};
use penstock_gateway::FilterReason;
use penstock_resources::{WasmFilter, wasm_filter::ModuleSource};
use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

/// What the sources of modules are read from. The standalone gateway has files; both it and the
/// operator have ConfigMaps.
pub trait Sources {
    /// The file at a path that is relative to the folder of the file that holds the filter;
    /// `None` where there are no files.
    fn file(&self, filter: &WasmFilter, path: &str, limit: u64) -> Option<io::Result<Vec<u8>>>;

    /// A ConfigMap.
    fn config_map(&self, namespace: &str, name: &str) -> Option<&ConfigMap>;

    /// What a [`Fetcher`](crate::Fetcher) brought for the filter; `None` where nothing is fetched.
    fn fetched(&self, _filter: &WasmFilter) -> Option<Result<Bytes, Failure>> {
        None
    }
}

/// Reads a whole file that may have at most `limit` bytes.
///
/// # Errors
/// As reading does; [`io::ErrorKind::FileTooLarge`] above the limit, and
/// [`io::ErrorKind::InvalidInput`] for what is no regular file (a pipe would block for ever).
pub fn read_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut content = Vec::new();
    // The size is checked on what arrives: the file may grow while it is read.
    fs::File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        let message = format!("larger than {} KiB", limit / 1024);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(content)
}

/// The bytes of a filter's module.
///
/// # Errors
/// Why they cannot be had, and what to do.
pub(crate) fn fetch(
    filter: &WasmFilter,
    sources: &dyn Sources,
    limit: u64,
) -> Result<Vec<u8>, Failure> {
    match &filter.spec.module {
        ModuleSource::File(source) => match sources.file(filter, &source.path, limit) {
            Some(content) => content.map_err(|e| unreadable(&source.path, &e)),
            None => Err(Failure::new(
                FilterReason::UnsupportedSource,
                "spec.module.file is for `penstock run`: a cluster has no such file; put the module \
                 into a ConfigMap and name it with spec.module.configMap",
            )),
        },
        ModuleSource::ConfigMap(source) => {
            let namespace = filter.metadata.namespace.as_deref().unwrap_or("default");
            let ByteString(content) = sources
                .config_map(namespace, &source.name)
                .ok_or_else(|| no_config_map(namespace, &source.name))
                .and_then(|map| binary_key(map, namespace, &source.name, &source.key))?;
            if content.len() as u64 > limit {
                return Err(too_large(content.len(), limit));
            }
            Ok(content.clone())
        }
        ModuleSource::Oci(_) | ModuleSource::Http(_) => {
            let fetched = sources.fetched(filter).unwrap_or_else(|| Err(unsupported(filter)))?;
            Ok(fetched.into())
        }
    }
}

fn unsupported(filter: &WasmFilter) -> Failure {
    let (field, from) = match filter.spec.module {
        ModuleSource::Oci(_) => ("oci", "an OCI registry"),
        _ => ("http", "a web server"),
    };
    Failure::new(
        FilterReason::UnsupportedSource,
        format!(
            "spec.module.{field}: modules are not fetched from {from}; use spec.module.file with \
             `penstock run`, or spec.module.configMap"
        ),
    )
}

fn unreadable(path: &str, error: &io::Error) -> Failure {
    let (reason, remedy) = match error.kind() {
        io::ErrorKind::NotFound => (
            FilterReason::ModuleNotFound,
            "build the module, or correct the path: it is relative to the file that holds the \
             WasmFilter",
        ),
        io::ErrorKind::FileTooLarge => {
            (FilterReason::TooLarge, "build the module for release and strip it")
        }
        io::ErrorKind::PermissionDenied => {
            (FilterReason::FetchFailed, "let the user who runs penstock read it")
        }
        _ => (FilterReason::FetchFailed, "name a regular file that can be read"),
    };
    Failure::new(reason, format!("module file {path}: {error}; {remedy}"))
}

fn too_large(size: usize, limit: u64) -> Failure {
    Failure::new(
        FilterReason::TooLarge,
        format!(
            "the module has {size} bytes, the limit is {limit}; build it for release and strip it"
        ),
    )
}

fn no_config_map(namespace: &str, name: &str) -> Failure {
    Failure::new(
        FilterReason::ModuleNotFound,
        format!("ConfigMap {namespace}/{name} does not exist; create it in the filter's namespace"),
    )
}

fn binary_key<'a>(
    map: &'a ConfigMap,
    namespace: &str,
    name: &str,
    key: &str,
) -> Result<&'a ByteString, Failure> {
    if let Some(content) = map.binary_data.as_ref().and_then(|d| d.get(key)) {
        return Ok(content);
    }
    let as_text = map.data.as_ref().is_some_and(|d| d.contains_key(key));
    let message = if as_text {
        format!(
            "ConfigMap {namespace}/{name} has {key} under data, where only text belongs; put the \
             module under binaryData (kubectl create configmap --from-file does)"
        )
    } else {
        format!(
            "ConfigMap {namespace}/{name} has no key {key} under binaryData; it has {}",
            keys(map)
        )
    };
    Err(Failure::new(FilterReason::ModuleNotFound, message))
}

fn keys(map: &ConfigMap) -> String {
    let keys: Vec<&str> = map.binary_data.iter().flatten().map(|(k, _)| k.as_str()).collect();
    if keys.is_empty() { "none".into() } else { keys.join(", ") }
}
