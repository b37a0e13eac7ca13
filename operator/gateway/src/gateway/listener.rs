//! A listener of a Gateway, looked at by itself.

use super::allowed_routes::{self, Namespaces};
use super::certificate::{self, Certified};
use super::frontend;
use crate::condition::Problem;
use crate::listener_policy::ListenerPolicies;
use crate::{Index, Name, hostname};
use penstock_config::{self as config, ListenerProtocol};
use penstock_resources::conditions::reasons;
use penstock_resources::gateway_api::gateways::{
    GatewayListeners, GatewayListenersTlsMode, GatewayTlsFrontend,
};

/// A listener and everything that is known about it.
#[derive(Debug)]
pub(crate) struct ListenerView<'a> {
    pub(crate) spec: &'a GatewayListeners,
    /// `namespace/gateway/section`.
    pub(crate) key: String,
    /// `None` where the protocol is not served.
    pub(crate) protocol: Option<ListenerProtocol>,
    /// Normalized; empty is any.
    pub(crate) hostname: String,
    /// `None`: no route may attach.
    pub(crate) namespaces: Option<Namespaces<'a>>,
    /// Whether HTTPRoutes may attach.
    pub(crate) http_routes: bool,
    /// Why it is not accepted.
    pub(crate) refused: Option<Problem>,
    /// With what it conflicts.
    pub(crate) conflict: Option<Problem>,
    /// References that cannot be used.
    pub(crate) refs: Vec<Problem>,
    /// Why it is not served although it is accepted.
    pub(crate) blocked: Option<Problem>,
    pub(crate) certificates: Vec<Certified>,
    pub(crate) validation: Option<config::ClientValidation>,
    /// With which listener its TLS names overlap.
    pub(crate) overlap: Option<Problem>,
    /// Keys of the TLS policies that are attached to the listener itself.
    pub(crate) policies: Vec<String>,
    /// Where proxies take its connections, in a cluster.
    pub(crate) target_port: Option<u16>,
    /// Whether nodes are told of it.
    pub(crate) served: bool,
}

impl<'a> ListenerView<'a> {
    /// Looks at everything that does not depend on other listeners.
    pub(crate) fn new(
        index: &Index,
        gateway: &Name,
        frontend: Option<&GatewayTlsFrontend>,
        spec: &'a GatewayListeners,
        policies: &ListenerPolicies,
    ) -> Self {
        let protocol = match spec.protocol.as_str() {
            "HTTP" => Some(ListenerProtocol::Http),
            "HTTPS" => Some(ListenerProtocol::Https),
            _ => None,
        };
        let (http_routes, unknown_kinds) = allowed_routes::kinds(spec);
        let mut view = ListenerView {
            spec,
            key: format!("{gateway}/{}", spec.name),
            protocol,
            hostname: spec.hostname.as_deref().map(hostname::normalize).unwrap_or_default(),
            namespaces: None,
            http_routes: http_routes && protocol.is_some(),
            refused: protocol.is_none().then(|| unsupported_protocol(&spec.protocol)),
            conflict: None,
            refs: unknown_kinds.into_iter().collect(),
            blocked: None,
            certificates: Vec::new(),
            validation: None,
            overlap: None,
            policies: Vec::new(),
            target_port: None,
            served: false,
        };
        match Namespaces::of(spec) {
            Ok(namespaces) => view.namespaces = Some(namespaces),
            Err(problem) => view.refuse(problem),
        }
        if let Some(problem) = view.invalid_value() {
            view.refuse(problem);
        }
        if protocol == Some(ListenerProtocol::Https) {
            view.look_at_tls(index, gateway, frontend);
            view.look_at_policies(gateway, policies);
        }
        view
    }

    /// Whether it is valid by itself and beside the others.
    pub(crate) fn is_valid(&self) -> bool {
        self.refused.is_none() && self.conflict.is_none()
    }

    /// Whether it terminates TLS.
    pub(crate) fn has_tls(&self) -> bool {
        self.protocol == Some(ListenerProtocol::Https)
    }

    /// What nodes are told.
    pub(crate) fn resource(&self, gateway: &Name) -> config::Listener {
        config::Listener {
            gateway: gateway.to_string(),
            section: self.spec.name.clone(),
            port: u32::try_from(self.spec.port).unwrap_or(0),
            protocol: self.protocol.unwrap_or(ListenerProtocol::Http) as i32,
            hostname: self.hostname.clone(),
            certificates: self.certificates.iter().map(|c| c.resource.name.clone()).collect(),
            client_validation: self.validation.clone(),
            target_port: self.target_port.map_or(0, u32::from),
        }
    }

    pub(super) fn refuse(&mut self, problem: Problem) {
        self.refused.get_or_insert(problem);
    }

    fn invalid_value(&self) -> Option<Problem> {
        let unsupported = |message: String| Some(Problem::new(reasons::UNSUPPORTED_VALUE, message));
        if !(1..=65_535).contains(&self.spec.port) {
            return unsupported(format!("port {} is not in 1 to 65535", self.spec.port));
        }
        if !self.hostname.is_empty() && !hostname::is_valid(&self.hostname) {
            return unsupported(format!(
                "hostname `{}` is no DNS name, nor `*.` and a DNS name",
                self.hostname
            ));
        }
        let tls = self.spec.tls.as_ref();
        if self.protocol == Some(ListenerProtocol::Http) && tls.is_some() {
            return unsupported("a listener of protocol HTTP has no tls: use HTTPS".to_owned());
        }
        if tls.and_then(|tls| tls.mode.as_ref()) == Some(&GatewayListenersTlsMode::Passthrough) {
            return unsupported("tls.mode Passthrough is not served: use Terminate".to_owned());
        }
        let options = tls.and_then(|tls| tls.options.as_ref());
        let mut options = options.into_iter().flatten().map(|(key, _)| key);
        let unknown = options.find(|key| *key != frontend::CLIENT_VALIDATION_OPTION)?;
        unsupported(format!(
            "tls.options `{unknown}` is not known; there is {}",
            frontend::CLIENT_VALIDATION_OPTION
        ))
    }

    fn look_at_tls(
        &mut self,
        index: &Index,
        gateway: &Name,
        frontend: Option<&GatewayTlsFrontend>,
    ) {
        let tls = self.spec.tls.as_ref();
        let references = tls.and_then(|tls| tls.certificate_refs.as_deref()).unwrap_or_default();
        let mut failed = Vec::new();
        for reference in references {
            match certificate::resolve(index, &gateway.namespace, reference) {
                Ok(certified) => {
                    self.refs.extend(certified.outdated.clone());
                    let name = &certified.resource.name;
                    if !self.certificates.iter().any(|c| c.resource.name == *name) {
                        self.certificates.push(certified);
                    }
                }
                Err(problem) => failed.push(problem),
            }
        }
        if references.is_empty() {
            failed.push(Problem::new(
                reasons::INVALID_CERTIFICATE_REF,
                "a listener of protocol HTTPS needs tls.certificateRefs: name a Secret of type \
                 kubernetes.io/tls",
            ));
        }
        if self.certificates.is_empty() {
            self.blocked = Problem::join(&failed);
        }
        self.refs.extend(failed);
        let frontend = frontend::translate(index, &gateway.namespace, frontend, self.spec);
        self.refs.extend(frontend.refs);
        self.validation = frontend.validation;
        if let Some(problem) = frontend.refused {
            self.refuse(problem);
        }
    }

    /// A policy that is attached to the listener is never skipped: without it nothing is served.
    fn look_at_policies(&mut self, gateway: &Name, policies: &ListenerPolicies) {
        for (filter, usable) in policies.of(gateway, &self.spec.name) {
            match usable {
                Ok(()) => self.policies.push(filter.to_string()),
                Err(problem) => {
                    let problem = Problem::new(
                        reasons::INVALID_FILTER,
                        format!(
                            "WasmFilter {filter} is attached and cannot be used: {}",
                            problem.message
                        ),
                    );
                    self.blocked.get_or_insert(problem.clone());
                    self.refs.push(problem);
                }
            }
        }
    }
}

fn unsupported_protocol(protocol: &str) -> Problem {
    Problem::new(
        reasons::UNSUPPORTED_PROTOCOL,
        format!("protocol `{protocol}` is not served: use HTTP or HTTPS"),
    )
}
