//! Modules: what is known of one, and its components ready to be instantiated.

use std::sync::Arc;

use parking_lot::Mutex;
use penstock_config::PolicyKind;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasmtime::component::{Component, InstancePre};

use crate::bindings::policy::{headers, paths, tls};
use crate::capabilities;
use crate::grants::Grants;
use crate::store::Data;

/// What is known of a module without running it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleInfo {
    /// `sha256:` and 64 hexadecimal digits over the component.
    pub digest: String,
    /// Which interface it exports.
    pub kind: PolicyKind,
    /// Interfaces of `penstock:host` that it imports, sorted.
    pub imports: Vec<String>,
    /// What it says of itself.
    pub descriptor: Descriptor,
    /// Bytes of the component.
    pub size: usize,
}

/// What a module says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// Short name, for example `header-rules`.
    pub name: String,
    /// Version of the policy, semantic versioning.
    pub version: String,
    /// One sentence.
    pub description: String,
    /// JSON Schema of the configuration; empty when it takes none.
    pub config_schema: String,
    /// Markdown for people.
    pub documentation: String,
}

/// A module that was compiled for this machine's engine.
#[derive(Clone)]
pub struct CompiledModule {
    pub(crate) info: Arc<ModuleInfo>,
    pub(crate) component: Component,
}

impl CompiledModule {
    /// What is known of it.
    pub fn info(&self) -> &Arc<ModuleInfo> {
        &self.info
    }
}

impl std::fmt::Debug for CompiledModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledModule").field("info", &self.info).finish_non_exhaustive()
    }
}

/// Digest of a component as WasmFilters and node configuration have it.
pub fn digest(component: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for byte in Sha256::digest(component) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A module that a host can instantiate.
pub(crate) struct Loaded {
    pub(crate) info: Arc<ModuleInfo>,
    pub(crate) imports: Grants,
    component: Component,
    /// By grants, made when first asked for.
    ready: Mutex<Vec<(Grants, Arc<Ready>)>>,
}

/// A module linked with exactly the interfaces that were granted.
pub(crate) struct Ready {
    pub(crate) pre: InstancePre<Data>,
    pub(crate) indices: Indices,
    /// Whether it can see through a capability which policy and exchange are served.
    pub(crate) has_imports: bool,
}

/// Where the functions of a module's interface are.
pub(crate) enum Indices {
    Headers(headers::GuestIndices),
    Paths(paths::GuestIndices),
    Tls(tls::GuestIndices),
}

impl Indices {
    pub(crate) fn find(kind: PolicyKind, pre: &InstancePre<Data>) -> wasmtime::Result<Self> {
        Ok(match kind {
            PolicyKind::Headers => Self::Headers(headers::GuestIndices::new(pre)?),
            PolicyKind::Paths => Self::Paths(paths::GuestIndices::new(pre)?),
            PolicyKind::Tls => Self::Tls(tls::GuestIndices::new(pre)?),
        })
    }
}

impl Loaded {
    pub(crate) fn new(module: CompiledModule) -> Self {
        let imports = Grants::parse(module.info.imports.iter().map(String::as_str));
        Self {
            // The names were found in the component itself and are known ones.
            imports: imports.unwrap_or_default(),
            info: module.info,
            component: module.component,
            ready: Mutex::default(),
        }
    }

    /// The module linked with these grants. Fails where it imports what they do not have.
    pub(crate) fn ready(&self, grants: Grants) -> wasmtime::Result<Arc<Ready>> {
        let mut ready = self.ready.lock();
        if let Some((_, known)) = ready.iter().find(|(of, _)| *of == grants) {
            return Ok(Arc::clone(known));
        }
        let linker = capabilities::link(self.component.engine(), grants)?;
        let pre = linker.instantiate_pre(&self.component)?;
        let indices = Indices::find(self.info.kind, &pre)?;
        let new = Arc::new(Ready { pre, indices, has_imports: !self.imports.is_empty() });
        ready.push((grants, Arc::clone(&new)));
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_lower_case_hexadecimal() {
        assert_eq!(
            digest(b"abc"),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
