//! Policies on TLS handshakes.

use std::fmt::{self, Display};
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::bindings::types::{Config, Descriptor};
use crate::bindings::{describe, tls};
use crate::config::{About, Problems, parse};
use crate::decision::{Fault, Field};
use crate::module::{Describe, descriptor};

pub use crate::bindings::tls::{
    Alert, ClientAuth, ClientHello, HelloDecision, PeerCertificate, PeerDecision, Plan, San, Terms,
};

/// A policy on TLS handshakes. [`tls_policy`](crate::tls_policy) implements it; exported by
/// [`export_tls_policy`](crate::export_tls_policy).
pub trait TlsPolicy: Sized + 'static {
    /// What it is configured with.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes a policy.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    fn configure(config: Self::Config, about: &About) -> Result<Self, Problems>;

    /// When it takes part.
    fn plan(&self) -> Plan;

    /// Decides on a ClientHello.
    ///
    /// # Errors
    /// It cannot decide.
    fn on_client_hello(&self, hello: &ClientHello) -> Result<HelloDecision, Fault> {
        let _ = hello;
        Ok(HelloDecision::Default)
    }

    /// Decides on the client's certificate; `None` when it sent none.
    ///
    /// # Errors
    /// It cannot decide.
    fn on_client_certificate(
        &self,
        hello: &ClientHello,
        peer: Option<&PeerCertificate>,
    ) -> Result<PeerDecision, Fault> {
        let _ = (hello, peer);
        Ok(PeerDecision::Accept(Vec::new()))
    }
}

impl Terms {
    /// The Gateway's own terms, to tighten.
    pub fn new() -> Terms {
        Terms { profile: None, client_auth: None, attributes: Vec::new() }
    }

    /// With a TLS profile that the `GatewayConfig` declares.
    #[must_use]
    pub fn profile(mut self, name: impl Into<String>) -> Terms {
        self.profile = Some(name.into());
        self
    }

    /// With a client certificate asked for or required.
    #[must_use]
    pub fn client_auth(mut self, client_auth: ClientAuth) -> Terms {
        self.client_auth = Some(client_auth);
        self
    }

    /// With an attribute on each exchange of the connection.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Terms {
        self.attributes.push(Field::new(name, value));
        self
    }
}

impl Default for Terms {
    fn default() -> Terms {
        Terms::new()
    }
}

impl Display for San {
    /// As the selector `client-cert-san` shows it: `dns:…`, `uri:…`, `email:…` or `ip:…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            San::Dns(name) => write!(f, "dns:{name}"),
            San::Uri(uri) => write!(f, "uri:{uri}"),
            San::Email(address) => write!(f, "email:{address}"),
            San::Ip(address) => write!(f, "ip:{address}"),
        }
    }
}

/// What a policy's `client_hello` may return: a [`HelloDecision`], [`Terms`], an [`Alert`] (to end
/// the handshake), nothing (`()` or `None`), or a `Result` of these whose error is a fault.
pub trait IntoHelloDecision {
    /// The decision.
    ///
    /// # Errors
    /// The policy cannot decide.
    fn into_hello_decision(self) -> Result<HelloDecision, Fault>;
}

/// What a policy's `client_certificate` may return: a [`PeerDecision`], an [`Alert`] (to end the
/// handshake), attributes (to accept), or a `Result` of these whose error is a fault.
pub trait IntoPeerDecision {
    /// The decision.
    ///
    /// # Errors
    /// The policy cannot decide.
    fn into_peer_decision(self) -> Result<PeerDecision, Fault>;
}

macro_rules! decisions {
    ($trait:ident, $method:ident, $decision:ident { $($type:ty => $into:expr),* $(,)? }) => {
        $(impl $trait for $type {
            fn $method(self) -> Result<$decision, Fault> {
                Ok($into(self))
            }
        })*

        impl<D: $trait, E: Into<Fault>> $trait for Result<D, E> {
            fn $method(self) -> Result<$decision, Fault> {
                self.map_err(Into::into)?.$method()
            }
        }
    };
}

decisions!(IntoHelloDecision, into_hello_decision, HelloDecision {
    HelloDecision => |decision| decision,
    Terms => HelloDecision::Terminate,
    Alert => HelloDecision::Reject,
    () => |()| HelloDecision::Default,
});

decisions!(IntoPeerDecision, into_peer_decision, PeerDecision {
    PeerDecision => |decision| decision,
    Vec<Field> => PeerDecision::Accept,
    Alert => PeerDecision::Reject,
});

impl<D: IntoHelloDecision> IntoHelloDecision for Option<D> {
    fn into_hello_decision(self) -> Result<HelloDecision, Fault> {
        self.map_or(Ok(HelloDecision::Default), D::into_hello_decision)
    }
}

/// The component that a policy becomes.
#[derive(Debug)]
pub struct Component<P>(PhantomData<P>);

/// A policy behind the handle that the host holds.
#[derive(Debug)]
pub struct Configured<P>(P);

impl<P: TlsPolicy + Describe> describe::Guest for Component<P> {
    fn describe() -> Descriptor {
        descriptor::<P, P::Config>()
    }
}

impl<P: TlsPolicy + Describe> tls::Guest for Component<P> {
    type Policy = Configured<P>;
}

impl<P: TlsPolicy> tls::GuestPolicy for Configured<P> {
    fn configure(config: Config) -> Result<tls::Policy, Problems> {
        let (config, about) = parse(config)?;
        P::configure(config, &about).map(|policy| tls::Policy::new(Configured(policy)))
    }

    fn plan(&self) -> Plan {
        self.0.plan()
    }

    fn on_client_hello(&self, hello: ClientHello) -> Result<HelloDecision, String> {
        self.0.on_client_hello(&hello).map_err(|fault| fault.0)
    }

    fn on_client_certificate(
        &self,
        hello: ClientHello,
        peer: Option<PeerCertificate>,
    ) -> Result<PeerDecision, String> {
        self.0.on_client_certificate(&hello, peer.as_ref()).map_err(|fault| fault.0)
    }
}
