//! The modules that are in use.

use crate::{Compiler, DEFAULT_MAX_BYTES, Failure, Sources, source, summary::summary};
use penstock_filter_host::{CompiledModule, Host, ModuleError, PrepareError, Problem, digest};
use penstock_gateway::{FilterFacts, FilterReason};
use penstock_resources::WasmFilter;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How many compiled modules are kept that no filter names any more: going back to an earlier version
/// of a filter, the usual cure for a bad one, then needs no compilation.
const KEPT_UNUSED: usize = 4;

/// What was found out about one filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolution {
    /// For the index.
    pub facts: FilterFacts,
    /// What is wrong in `spec.config`, each with its JSON Pointer into it.
    pub problems: Vec<Problem>,
}

/// Resolves filters, and keeps the host's modules to those that are in use.
pub struct Modules {
    host: Host,
    compiler: Box<dyn Compiler>,
    max_bytes: u64,
    /// Every digest that was compiled, and why it cannot be used where it cannot.
    compiled: BTreeMap<String, Result<CompiledModule, Failure>>,
    /// Digests of compiled modules that nobody names, the one that was used last at the end.
    unused: VecDeque<String>,
    /// What was found out about a filter, for as long as its module and its spec stay.
    resolved: BTreeMap<String, (String, WasmFilter, Resolution)>,
}

impl Modules {
    /// Modules for a host, each of at most [`DEFAULT_MAX_BYTES`], compiled in this process.
    pub fn new(host: Host) -> Self {
        Self {
            compiler: Box::new(host.clone()),
            host,
            max_bytes: DEFAULT_MAX_BYTES,
            compiled: BTreeMap::new(),
            unused: VecDeque::new(),
            resolved: BTreeMap::new(),
        }
    }

    /// The same with another limit, in bytes.
    pub fn with_max_bytes(self, max_bytes: u64) -> Self {
        Self { max_bytes, ..self }
    }

    /// The same with another compiler.
    pub fn with_compiler(self, compiler: impl Compiler + 'static) -> Self {
        Self { compiler: Box::new(compiler), ..self }
    }

    /// Finds out about a filter. Afterwards its module is loaded where the facts say `Ready`. What
    /// is known already of the same bytes and the same spec is not done again.
    pub fn resolve(&mut self, filter: &WasmFilter, sources: &dyn Sources) -> Resolution {
        let name = name_of(filter);
        let content = match source::fetch(filter, sources, self.max_bytes) {
            Ok(content) => content,
            Err(failure) => return failure.into(),
        };
        let digest = digest(&content);
        if let Some((known, of, resolution)) = self.resolved.get(&name)
            && *known == digest
            && of.spec == filter.spec
            && of.metadata.generation == filter.metadata.generation
        {
            return resolution.clone();
        }
        let resolution = match self.check(filter, &digest, &content) {
            Ok(facts) => Resolution { facts, problems: Vec::new() },
            // Another try may come to something else.
            Err(failure) if failure.reason == FilterReason::FetchFailed => return failure.into(),
            Err(failure) => failure.into(),
        };
        self.resolved.insert(name, (digest, filter.clone(), resolution.clone()));
        resolution
    }

    /// Forgets what no filter of the list uses, and unloads modules that none of them names but the
    /// few that were used last. `serving` are the digests of generations that serve on whatever the
    /// filters name now. Called when the nodes have let go of the old configuration.
    pub fn retain<'a>(
        &mut self,
        filters: impl Iterator<Item = &'a WasmFilter>,
        serving: impl Iterator<Item = &'a str>,
    ) {
        let names: BTreeSet<String> = filters.map(name_of).collect();
        self.resolved.retain(|name, _| names.contains(name));
        let named: BTreeSet<&String> = self.resolved.values().map(|(digest, ..)| digest).collect();
        let serving: BTreeSet<&str> = serving.collect();
        let is_used = |digest: &String| named.contains(digest) || serving.contains(digest.as_str());
        self.compiled.retain(|digest, result| result.is_ok() || is_used(digest));
        self.unused.retain(|digest| !is_used(digest));
        let fresh = self.compiled.keys().filter(|d| !is_used(d) && !self.unused.contains(d));
        let fresh: Vec<String> = fresh.cloned().collect();
        self.unused.extend(fresh);
        while self.unused.len() > KEPT_UNUSED {
            if let Some(digest) = self.unused.pop_front() {
                self.compiled.remove(&digest);
                self.host.unload(&digest);
            }
        }
    }

    /// A module that is loaded, as bytes for another process of the same engine
    /// ([`CompiledModule::to_artifact`]); `None` where it is not loaded.
    pub fn artifact(&self, digest: &str) -> Option<Result<Vec<u8>, ModuleError>> {
        self.compiled.get(digest)?.as_ref().ok().map(CompiledModule::to_artifact)
    }

    /// Digests of the modules that are loaded.
    pub fn loaded(&self) -> impl Iterator<Item = &str> {
        self.compiled.iter().filter(|(_, result)| result.is_ok()).map(|(digest, _)| digest.as_str())
    }

    fn check(
        &mut self,
        filter: &WasmFilter,
        digest: &str,
        content: &[u8],
    ) -> Result<FilterFacts, Failure> {
        self.compile(digest, content)?;
        let kind = match self.host.module(digest) {
            Some(module) => module.kind,
            None => return Err(PrepareError::ModuleNotFound(digest.to_owned()).into()),
        };
        let resource = penstock_gateway::filter_resource(filter, digest, kind)
            .map_err(|message| Failure::new(FilterReason::InvalidConfig, message))?;
        let plan = self.host.check(&resource)?;
        Ok(FilterFacts::Ready { digest: digest.to_owned(), kind, summary: summary(&plan) })
    }

    fn compile(&mut self, digest: &str, content: &[u8]) -> Result<(), Failure> {
        if let Some(result) = self.compiled.get(digest) {
            return result.as_ref().map(drop).map_err(Clone::clone);
        }
        let result = self.compiler.compile(content);
        if let Err(failure) = &result
            && failure.reason == FilterReason::FetchFailed
        {
            return Err(failure.clone());
        }
        if let Ok(module) = &result {
            self.host.load(module.clone());
        }
        let outcome = result.as_ref().map(drop).map_err(Clone::clone);
        self.compiled.insert(digest.to_owned(), result);
        outcome
    }
}

impl From<Failure> for Resolution {
    fn from(failure: Failure) -> Self {
        let problems = failure.problems.clone();
        Self { facts: failure.into(), problems }
    }
}

/// `namespace/name`
fn name_of(filter: &WasmFilter) -> String {
    let metadata = &filter.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or("default");
    format!("{namespace}/{}", metadata.name.as_deref().unwrap_or_default())
}
