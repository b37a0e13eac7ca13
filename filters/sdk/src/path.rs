//! Policies on where a request goes.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::bindings::types::{Config, Descriptor, Stage as WitStage};
use crate::bindings::{describe, paths};
use crate::config::{About, Problems, parse};
use crate::decision::{Fault, Response};
use crate::input::Inputs;
use crate::module::{Describe, descriptor};
use crate::plan::Stage;

pub use crate::bindings::paths::{Decision as PathDecision, PathEdit, Redirect, Rewrite};

/// A policy on the request's target, for those whose inputs depend on the configuration; others are
/// shorter with [`path_policy`](crate::path_policy). Exported by
/// [`export_path_policy`](crate::export_path_policy).
pub trait PathPolicy: Sized + 'static {
    /// What it is configured with.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes a policy. Work that every exchange would repeat belongs here.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    fn configure(config: Self::Config, about: &About) -> Result<Self, Problems>;

    /// How it takes part in requests. Writes and constant edits do not apply.
    fn stage(&self) -> Stage;

    /// Decides, with the inputs of its stage.
    ///
    /// # Errors
    /// It cannot decide.
    fn decide(&self, inputs: &Inputs<'_>) -> Result<PathDecision, Fault>;
}

/// Changes the request's target; what is not named stays.
pub fn rewrite() -> Rewrite {
    Rewrite { host: None, path: None, query: None }
}

/// Sends the client elsewhere, with 301, 302, 303, 307 or 308; what is not named stays.
pub fn redirect(status: u16) -> Redirect {
    Redirect { status, scheme: None, host: None, port: None, path: None }
}

/// Sends the request to the backend of that name: `name`, `name:port` or `namespace/name:port` of a
/// backendRef of the matched rule.
pub fn backend(name: impl Into<String>) -> PathDecision {
    PathDecision::Backend(name.into())
}

impl Rewrite {
    /// A new `Host`.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Rewrite {
        self.host = Some(host.into());
        self
    }

    /// A new path, beginning with `/`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Rewrite {
        self.path = Some(PathEdit::Full(path.into()));
        self
    }

    /// Another prefix instead of the one that the rule's PathPrefix match matched.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Rewrite {
        self.path = Some(PathEdit::Prefix(prefix.into()));
        self
    }

    /// A new query without `?`; empty removes it.
    #[must_use]
    pub fn query(mut self, query: impl Into<String>) -> Rewrite {
        self.query = Some(query.into());
        self
    }
}

impl Redirect {
    /// To `http` or `https`.
    #[must_use]
    pub fn scheme(mut self, scheme: impl Into<String>) -> Redirect {
        self.scheme = Some(scheme.into());
        self
    }

    /// To another host, without port.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Redirect {
        self.host = Some(host.into());
        self
    }

    /// To another port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Redirect {
        self.port = Some(port);
        self
    }

    /// To another path, beginning with `/`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Redirect {
        self.path = Some(PathEdit::Full(path.into()));
        self
    }

    /// Another prefix instead of the one that the rule's PathPrefix match matched.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Redirect {
        self.path = Some(PathEdit::Prefix(prefix.into()));
        self
    }
}

/// What a path policy's function may return: a [`PathDecision`], a [`Rewrite`], a [`Redirect`], a
/// [`Response`], nothing (`()` or `None`), or a `Result` of these whose error is a fault.
pub trait IntoPathDecision {
    /// The decision.
    ///
    /// # Errors
    /// The policy cannot decide.
    fn into_path_decision(self) -> Result<PathDecision, Fault>;
}

macro_rules! path_decisions {
    ($($type:ty => $into:expr),* $(,)?) => {$(
        impl IntoPathDecision for $type {
            fn into_path_decision(self) -> Result<PathDecision, Fault> {
                Ok($into(self))
            }
        }
    )*};
}

path_decisions! {
    PathDecision => |decision| decision,
    Rewrite => PathDecision::Rewrite,
    Redirect => PathDecision::Redirect,
    Response => PathDecision::Respond,
    () => |()| PathDecision::Next,
}

impl<D: IntoPathDecision> IntoPathDecision for Option<D> {
    fn into_path_decision(self) -> Result<PathDecision, Fault> {
        self.map_or(Ok(PathDecision::Next), D::into_path_decision)
    }
}

impl<D: IntoPathDecision, E: Into<Fault>> IntoPathDecision for Result<D, E> {
    fn into_path_decision(self) -> Result<PathDecision, Fault> {
        self.map_err(Into::into)?.into_path_decision()
    }
}

/// The component that a policy becomes.
#[derive(Debug)]
pub struct Component<P>(PhantomData<P>);

/// A policy behind the handle that the host holds.
#[derive(Debug)]
pub struct Configured<P>(P);

impl<P: PathPolicy + Describe> describe::Guest for Component<P> {
    fn describe() -> Descriptor {
        descriptor::<P, P::Config>()
    }
}

impl<P: PathPolicy + Describe> paths::Guest for Component<P> {
    type Policy = Configured<P>;
}

impl<P: PathPolicy> paths::GuestPolicy for Configured<P> {
    fn configure(config: Config) -> Result<paths::Policy, Problems> {
        let (config, about) = parse(config)?;
        P::configure(config, &about).map(|policy| paths::Policy::new(Configured(policy)))
    }

    fn plan(&self) -> WitStage {
        self.0.stage().into()
    }

    fn decide(&self, inputs: Vec<Option<String>>) -> Result<PathDecision, String> {
        self.0.decide(&Inputs::new(&inputs)).map_err(|fault| fault.0)
    }
}
