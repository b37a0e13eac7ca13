//! Whoever compiles.

use crate::Failure;
use penstock_filter_host::{CompiledModule, Host};

/// Compiles components.
pub trait Compiler: Send {
    /// Checks and compiles a component, and asks it what it is.
    ///
    /// # Errors
    /// Why there is no module. [`FetchFailed`](penstock_gateway::FilterReason::FetchFailed) where
    /// trying again may help.
    fn compile(&self, component: &[u8]) -> Result<CompiledModule, Failure>;
}

/// In this process, without limits: for `penstock run`, whose modules are its user's own.
impl Compiler for Host {
    fn compile(&self, component: &[u8]) -> Result<CompiledModule, Failure> {
        Ok(Host::compile(self, component)?)
    }
}
