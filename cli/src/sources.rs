//! Finds out about the modules of all filters, from files and ConfigMaps.

use crate::control::Controller;
use k8s_openapi::api::core::v1::ConfigMap;
use penstock_gateway::{FilterFacts, FilterReason, Mode};
use penstock_modules::{Modules, Sources, read_file};
use penstock_resources::{Kind, ObjectId, WasmFilter, wasm_filter::ModuleSource};
use std::{io, path::PathBuf};

/// What was found out about modules that was not known before.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Whether it is anything.
    pub(crate) changed: bool,
    /// Why filters cannot be served that were not refused for it before.
    pub(crate) refused: Vec<FilterReason>,
}

/// Has every filter's module looked at. Blocks while modules are compiled.
pub(crate) fn resolve(controller: &mut Controller, modules: &mut Modules) -> Found {
    let mut found = Found::default();
    for filter in controller.filters() {
        let resolution = modules.resolve(&filter, &Beside { controller });
        let refused = match resolution.facts {
            FilterFacts::Failed { reason, .. } => Some(reason),
            FilterFacts::Ready { .. } => None,
        };
        if controller.set_facts(&id_of(&filter), resolution) {
            found.changed = true;
            found.refused.extend(refused);
        }
    }
    found
}

/// The module files of all filters, there or not.
pub(crate) fn module_files(controller: &Controller) -> Vec<PathBuf> {
    let filters = controller.filters();
    filters
        .iter()
        .filter_map(|filter| match &filter.spec.module {
            ModuleSource::File(file) => {
                Some(controller.folder_of(&id_of(filter))?.join(&file.path))
            }
            _ => None,
        })
        .collect()
}

/// Modules beside the files that name them.
struct Beside<'a> {
    controller: &'a Controller,
}

impl Sources for Beside<'_> {
    fn file(&self, filter: &WasmFilter, path: &str, limit: u64) -> Option<io::Result<Vec<u8>>> {
        if self.controller.index().settings().mode == Mode::Cluster {
            return None;
        }
        let folder = self.controller.folder_of(&id_of(filter))?;
        Some(read_file(&folder.join(path), limit))
    }

    fn config_map(&self, namespace: &str, name: &str) -> Option<&ConfigMap> {
        self.controller.index().config_map(namespace, name)
    }
}

fn id_of(filter: &WasmFilter) -> ObjectId {
    let metadata = &filter.metadata;
    ObjectId {
        kind: Kind::WasmFilter,
        namespace: metadata.namespace.clone().unwrap_or_else(|| "default".into()),
        name: metadata.name.clone().unwrap_or_default(),
    }
}
