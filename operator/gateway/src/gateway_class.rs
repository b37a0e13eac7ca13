//! GatewayClass: which ones are ours, and what their Gateways inherit.

use crate::condition::{Conditions, Problem, Truth};
use crate::{Index, Mode, Name};
use penstock_resources::conditions::{CONTROLLER_NAME, reasons, types};
use penstock_resources::gateway_api::gatewayclasses::{
    GatewayClassParametersRef, GatewayClassStatus, GatewayClassStatusSupportedFeatures,
};
use penstock_resources::gateway_api::{Gateway, GatewayClass};
use penstock_resources::{GROUP, GatewayConfig, Kind};
use std::collections::BTreeMap;

/// Minor releases of the Gateway API 1.x whose objects are fully understood.
const KNOWN_MINORS: [u32; 2] = [5, 6];

/// Features of the Gateway API that are served, by the names of its conformance suite, sorted.
const FEATURES: [&str; 29] = [
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayFrontendClientCertificateValidation",
    "GatewayFrontendClientCertificateValidationInsecureFallback",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayPort8080",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ReferenceGrant",
];

/// A GatewayClass of ours.
pub(crate) struct ClassView<'a> {
    class: &'a GatewayClass,
    /// Why it is not accepted.
    pub(crate) problem: Option<Problem>,
    /// The settings that its Gateways inherit.
    pub(crate) config: Option<&'a GatewayConfig>,
}

/// Whose a Gateway is.
pub(crate) enum Claim<'c, 'a> {
    /// Ours.
    Ours(&'c ClassView<'a>),
    /// Another controller's, or nobody's business to report.
    Foreign,
    /// Its GatewayClass does not exist, and nobody else would say so.
    Unknown,
}

/// The GatewayClasses of ours, by name.
pub(crate) struct Classes<'a> {
    ours: BTreeMap<&'a str, ClassView<'a>>,
}

impl<'a> Classes<'a> {
    pub(crate) fn new(index: &'a Index) -> Self {
        let ours = index
            .classes
            .iter()
            .filter(|(_, class)| class.spec.controller_name == CONTROLLER_NAME)
            .map(|(name, class)| (name.as_str(), view(index, class)))
            .collect();
        Self { ours }
    }

    /// Whose a Gateway is.
    pub(crate) fn claim(&self, index: &Index, gateway: &Gateway) -> Claim<'_, 'a> {
        let class = gateway.spec.gateway_class_name.as_str();
        match self.ours.get(class) {
            Some(view) => Claim::Ours(view),
            None if index.classes.contains_key(class) => Claim::Foreign,
            None if index.settings().mode == Mode::Standalone => Claim::Unknown,
            None => Claim::Foreign,
        }
    }

    /// The Gateways of ours.
    pub(crate) fn gateways(&self, index: &'a Index) -> Vec<(&'a Name, &'a Gateway)> {
        let all = index.gateways.iter().map(|(name, gateway)| (name, gateway.as_ref()));
        all.filter(|(_, gateway)| matches!(self.claim(index, gateway), Claim::Ours(_))).collect()
    }

    /// The statuses, by name.
    pub(crate) fn statuses(&self, index: &Index) -> BTreeMap<String, GatewayClassStatus> {
        self.ours.iter().map(|(name, view)| ((*name).to_owned(), view.status(index))).collect()
    }
}

impl ClassView<'_> {
    fn status(&self, index: &Index) -> GatewayClassStatus {
        let mut conditions = Conditions::new(&self.class.metadata);
        conditions.add_result(
            types::ACCEPTED,
            reasons::ACCEPTED,
            "Gateways of this class are served by Penstock",
            self.problem.as_ref(),
        );
        if let Some(version) = &index.settings().bundle_version {
            if is_known(version) {
                let message = format!("the Gateway API is of version {version}");
                conditions.add(
                    types::SUPPORTED_VERSION,
                    Truth::True,
                    reasons::SUPPORTED_VERSION,
                    message,
                );
            } else {
                let message = format!(
                    "the Gateway API is of version {version}; Penstock knows v1.5 and v1.6 and \
                     serves what it recognises: install the CRDs of one of these"
                );
                conditions.add(
                    types::SUPPORTED_VERSION,
                    Truth::False,
                    reasons::UNSUPPORTED_VERSION,
                    message,
                );
            }
        }
        let features = FEATURES
            .iter()
            .map(|name| GatewayClassStatusSupportedFeatures { name: (*name).to_owned() })
            .collect();
        GatewayClassStatus {
            conditions: Some(conditions.finish()),
            supported_features: Some(features),
        }
    }
}

fn view<'a>(index: &'a Index, class: &'a GatewayClass) -> ClassView<'a> {
    let config = class.spec.parameters_ref.as_ref().map(|reference| config(index, reference));
    let (config, problem) = match config {
        None => (None, None),
        Some(Ok(config)) => (Some(config), None),
        Some(Err(problem)) => (None, Some(problem)),
    };
    ClassView { class, problem, config }
}

fn config<'a>(
    index: &'a Index,
    reference: &GatewayClassParametersRef,
) -> Result<&'a GatewayConfig, Problem> {
    let problem = |message: String| Problem::new(reasons::INVALID_PARAMETERS, message);
    if reference.group != GROUP || reference.kind != Kind::GatewayConfig.name() {
        return Err(problem(format!(
            "parametersRef names {} of group `{}`; only GatewayConfig of group {GROUP} is read",
            reference.kind, reference.group
        )));
    }
    let Some(namespace) = &reference.namespace else {
        return Err(problem("parametersRef lacks the namespace of the GatewayConfig".to_owned()));
    };
    let name = Name::new(namespace, &reference.name);
    let config = index.configs.get(&name).map(Box::as_ref);
    config.ok_or_else(|| problem(format!("GatewayConfig {name} does not exist")))
}

fn is_known(version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split('.');
    let major = parts.next();
    let minor = parts.next().and_then(|minor| minor.parse().ok());
    major == Some("1") && minor.is_some_and(|minor: u32| KNOWN_MINORS.contains(&minor))
}
