//! Policies on header fields.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::bindings::types::{Config, Descriptor};
use crate::bindings::{describe, headers};
use crate::config::{About, Problems, parse};
use crate::decision::{Decision, Fault};
use crate::input::Inputs;
use crate::module::{Describe, descriptor};
use crate::plan::Stage;

/// A policy on header fields, for those whose inputs depend on the configuration; others are
/// shorter with [`header_policy`](crate::header_policy). Exported by
/// [`export_header_policy`](crate::export_header_policy).
pub trait HeaderPolicy: Sized + 'static {
    /// What it is configured with.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes a policy. Work that every exchange would repeat belongs here.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    fn configure(config: Self::Config, about: &About) -> Result<Self, Problems>;

    /// How it takes part in requests; not at all by default.
    fn request_stage(&self) -> Option<Stage> {
        None
    }

    /// How it takes part in responses; not at all by default.
    fn response_stage(&self) -> Option<Stage> {
        None
    }

    /// Decides on a request, with the inputs of its stage.
    ///
    /// # Errors
    /// It cannot decide.
    fn on_request(&self, inputs: &Inputs<'_>) -> Result<Decision, Fault> {
        let _ = inputs;
        Ok(Decision::Next)
    }

    /// Decides on a response, with the inputs of its stage.
    ///
    /// # Errors
    /// It cannot decide.
    fn on_response(&self, inputs: &Inputs<'_>) -> Result<Decision, Fault> {
        let _ = inputs;
        Ok(Decision::Next)
    }
}

/// The component that a policy becomes.
#[derive(Debug)]
pub struct Component<P>(PhantomData<P>);

/// A policy behind the handle that the host holds.
#[derive(Debug)]
pub struct Configured<P>(P);

impl<P: HeaderPolicy + Describe> describe::Guest for Component<P> {
    fn describe() -> Descriptor {
        descriptor::<P, P::Config>()
    }
}

impl<P: HeaderPolicy + Describe> headers::Guest for Component<P> {
    type Policy = Configured<P>;
}

impl<P: HeaderPolicy> headers::GuestPolicy for Configured<P> {
    fn configure(config: Config) -> Result<headers::Policy, Problems> {
        let (config, about) = parse(config)?;
        P::configure(config, &about).map(|policy| headers::Policy::new(Configured(policy)))
    }

    fn plan(&self) -> headers::Plan {
        headers::Plan {
            request: self.0.request_stage().map(Into::into),
            response: self.0.response_stage().map(Into::into),
        }
    }

    fn on_request(&self, inputs: Vec<Option<String>>) -> Result<Decision, String> {
        self.0.on_request(&Inputs::new(&inputs)).map_err(|fault| fault.0)
    }

    fn on_response(&self, inputs: Vec<Option<String>>) -> Result<Decision, String> {
        self.0.on_response(&Inputs::new(&inputs)).map_err(|fault| fault.0)
    }
}
