//! Finds out about the modules of all filters, from files and ConfigMaps.

use crate::control::Controller;
use k8s_openapi::api::core::v1::ConfigMap;
use penstock_gateway::Mode;
use penstock_modules::{Modules, Sources, read_file};
use penstock_resources::{Kind, ObjectId, WasmFilter, wasm_filter::ModuleSource};
use std::{io, path::PathBuf};

/// Has every filter's module looked at. Says whether anything is known now that was not before.
/// Blocks while modules are compiled.
pub(crate) fn resolve(controller: &mut Controller, modules: &mut Modules) -> bool {
    let mut changed = false;
    for filter in controller.filters() {
        let resolution = modules.resolve(&filter, &Beside { controller });
        changed |= controller.set_facts(&id_of(&filter), resolution);
    }
    changed
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
