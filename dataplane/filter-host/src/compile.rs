//! Compiling a module (Cranelift) and finding out what it is.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Component, InstancePre, Linker};

use crate::bindings::policy::describe;
use crate::error::ModuleError;
use crate::host::Host;
use crate::inspect::inspect;
use crate::instance::{Lost, lost, store};
use crate::module::{CompiledModule, Descriptor, Indices, ModuleInfo, digest};
use crate::store::{Data, Owner};
use crate::ticker::{Watch, epochs};

/// Why a module cannot be described.
#[derive(Debug)]
enum Failed {
    /// Its functions have other types.
    Type(String),
    /// It failed while it ran.
    Run(Lost),
}

impl Host {
    /// Checks and compiles a component, then asks it what it is in a sandbox without any
    /// capability. Takes 50 ms and more: never on a worker.
    ///
    /// # Errors
    /// Says what is wrong with the module; its author is at fault, retrying does not help.
    pub fn compile(&self, component: &[u8]) -> Result<CompiledModule, ModuleError> {
        let (size, limit) = (component.len(), self.config().max_module_bytes);
        if size > limit {
            return Err(ModuleError::TooLarge { size, limit });
        }
        let compiled = Component::from_binary(self.engine(), component)
            .map_err(|error| ModuleError::NotAComponent(format!("{error:#}")))?;
        let (kind, grants) = inspect(self.engine(), &compiled)?;
        let descriptor = self.describe(&compiled, kind)?;
        check_schema(&descriptor.config_schema)?;
        let info = ModuleInfo {
            digest: digest(component),
            kind,
            imports: grants.names().map(str::to_owned).collect(),
            descriptor,
            size,
        };
        Ok(CompiledModule { info: Arc::new(info), component: compiled })
    }

    fn describe(
        &self,
        component: &Component,
        kind: penstock_config::PolicyKind,
    ) -> Result<Descriptor, ModuleError> {
        let wrong_world = |error: wasmtime::Error| ModuleError::WrongWorld(format!("{error:#}"));
        let mut linker: Linker<Data> = Linker::new(self.engine());
        linker.define_unknown_imports_as_traps(component).map_err(wrong_world)?;
        let pre = linker.instantiate_pre(component).map_err(wrong_world)?;
        let indices = Indices::find(kind, &pre).map_err(wrong_world)?;
        let data = Data::new(Owner::detached("describe"), self.config().max_memory_bytes);
        let watch = self.watch();
        describe(&pre, &indices, data, self.config().configure_deadline, &watch).map_err(|failed| {
            match failed {
                Failed::Type(message) => ModuleError::WrongWorld(message),
                Failed::Run(failure) => ModuleError::Describe(failure.message),
            }
        })
    }
}

/// Instantiates a module without capabilities, checks the types of its functions and asks it what
/// it is.
fn describe(
    pre: &InstancePre<Data>,
    indices: &Indices,
    data: Data,
    deadline: Duration,
    watch: &Watch,
) -> Result<Descriptor, Failed> {
    let wrong_type = |error: wasmtime::Error| Failed::Type(format!("{error:#}"));
    let describe = describe::GuestIndices::new(pre).map_err(wrong_type)?;
    let mut store = store(pre, data, deadline);
    let instance = watch.during(|| pre.instantiate(&mut store));
    let instance = instance.map_err(|error| Failed::Run(lost(&error, &store)))?;
    let types = match indices {
        Indices::Headers(indices) => indices.load(&mut store, &instance).map(drop),
        Indices::Paths(indices) => indices.load(&mut store, &instance).map(drop),
        Indices::Tls(indices) => indices.load(&mut store, &instance).map(drop),
    };
    types.map_err(wrong_type)?;
    let describe = describe.load(&mut store, &instance).map_err(wrong_type)?;
    store.set_epoch_deadline(epochs(deadline));
    let raw = watch.during(|| describe.call_describe(&mut store));
    let raw = raw.map_err(|error| Failed::Run(lost(&error, &store)))?;
    Ok(Descriptor {
        name: raw.name,
        version: raw.version,
        description: raw.description,
        config_schema: raw.config_schema,
        documentation: raw.documentation,
    })
}

/// The schema is a JSON object that is a JSON Schema, or empty.
fn check_schema(schema: &str) -> Result<(), ModuleError> {
    if schema.is_empty() {
        return Ok(());
    }
    let value: serde_json::Value =
        serde_json::from_str(schema).map_err(|e| ModuleError::ConfigSchema(e.to_string()))?;
    if !value.is_object() {
        return Err(ModuleError::ConfigSchema("it is no JSON object".to_owned()));
    }
    let checked = jsonschema::validator_for(&value);
    checked.map(drop).map_err(|error| ModuleError::ConfigSchema(error.to_string()))
}

/// What a module's schema has against a configuration.
pub(crate) fn validate(schema: &str, config: &serde_json::Value) -> Vec<crate::Problem> {
    let Ok(schema) = serde_json::from_str(schema) else { return Vec::new() };
    // A schema that does not compile was refused with the module.
    let Ok(validator) = jsonschema::validator_for(&schema) else { return Vec::new() };
    let errors = validator.iter_errors(config).take(crate::instance::MAX_PROBLEMS);
    errors.map(|e| crate::Problem::new(e.instance_path().to_string(), e.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_schema_is_empty_or_a_json_schema_object() {
        for fine in ["", "{}", r#"{"type":"object","required":["a"]}"#] {
            assert_eq!(check_schema(fine), Ok(()), "{fine}");
        }
        for wrong in ["[]", "true", "{", r#"{"type":"no such type"}"#, r#"{"type":3}"#] {
            assert!(matches!(check_schema(wrong), Err(ModuleError::ConfigSchema(_))), "{wrong}");
        }
    }

    #[test]
    fn a_schema_that_points_elsewhere_is_refused_instead_of_fetched() {
        assert!(check_schema(r#"{"$ref":"http://127.0.0.1:1/schema.json"}"#).is_err());
        assert!(check_schema(r#"{"$ref":"file:///etc/hostname"}"#).is_err());
    }

    #[test]
    fn what_a_schema_refuses_has_a_pointer() {
        let schema =
            r#"{"properties":{"rules":{"items":{"properties":{"n":{"type":"integer"}}}}}}"#;
        let config = serde_json::json!({"rules": [{"n": 1}, {"n": "x"}]});
        let problems = validate(schema, &config);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].pointer, "/rules/1/n");
    }
}
