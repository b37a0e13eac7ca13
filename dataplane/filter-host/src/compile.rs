//! Compiling a module (Cranelift) and finding out what it is.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Component, InstancePre, Linker};

use crate::bindings::policy::describe;
use crate::error::ModuleError;
use crate::host::Host;
use crate::inspect::inspect;
use crate::instance::{Lost, limit, lost, store};
use crate::module::{CompiledModule, Descriptor, Indices, ModuleInfo, digest};
use crate::schema;
use crate::store::{Data, Owner};
use crate::ticker::Watch;

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
        self.check_size(component)?;
        let compiled = Component::from_binary(self.engine(), component)
            .map_err(|error| ModuleError::NotAComponent(format!("{error:#}")))?;
        self.describe_compiled(component, compiled)
    }

    /// Compiles a component to code for [`Host::adopt`] of an engine of the same version and
    /// processor. Runs nothing of it and maps nothing.
    ///
    /// # Errors
    /// As [`Host::compile`], but that it is not asked what it is.
    pub fn precompile(&self, component: &[u8]) -> Result<Vec<u8>, ModuleError> {
        self.check_size(component)?;
        self.engine()
            .precompile_component(component)
            .map_err(|error| ModuleError::NotAComponent(format!("{error:#}")))
    }

    /// The rest of [`Host::compile`] for a component that another process compiled.
    ///
    /// # Safety
    /// The code becomes machine code of this process. It must be what [`Host::precompile`] of this
    /// same build returned for the component, unchanged.
    ///
    /// # Errors
    /// As [`Host::compile`]; [`ModuleError::Artifact`] for code of another engine.
    #[expect(
        unsafe_code,
        reason = "machine code cannot be checked here; that it comes from our own compiler is the \
                  caller's proof"
    )]
    pub unsafe fn adopt(
        &self,
        component: &[u8],
        code: &[u8],
    ) -> Result<CompiledModule, ModuleError> {
        // SAFETY: the caller vouches that the code was made by `precompile` and is unchanged.
        let compiled = unsafe { Component::deserialize(self.engine(), code) }
            .map_err(|error| ModuleError::Artifact(format!("{error:#}")))?;
        self.describe_compiled(component, compiled)
    }

    fn check_size(&self, component: &[u8]) -> Result<(), ModuleError> {
        let (size, limit) = (component.len(), self.config().max_module_bytes);
        if size > limit { Err(ModuleError::TooLarge { size, limit }) } else { Ok(()) }
    }

    fn describe_compiled(
        &self,
        component: &[u8],
        compiled: Component,
    ) -> Result<CompiledModule, ModuleError> {
        let size = component.len();
        let (kind, grants) = inspect(self.engine(), &compiled)?;
        let descriptor = self.describe(&compiled, kind)?;
        schema::check(&descriptor.config_schema)?;
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
    limit(&mut store, deadline);
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
