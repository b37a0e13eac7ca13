//! `tls.frontend`: how clients of HTTPS listeners prove who they are.
//!
//! The Gateway API v1.6.1: `default` "specifies the default client certificate validation
//! configuration for all Listeners handling HTTPS traffic, unless a per-port configuration is
//! defined"; an entry of `perPort` replaces the default as a whole.

use crate::condition::Problem;
use crate::reference_grant::{Reference, is_core};
use crate::{Index, Name};
use penstock_config as config;
use penstock_resources::conditions::reasons;
use penstock_resources::gateway_api::gateways::{
    GatewayListeners, GatewayTlsFrontend, GatewayTlsFrontendDefaultValidationMode,
    GatewayTlsFrontendPerPortTlsValidationMode,
};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// `tls.options` key of a listener: with the value `OnDemand` the listener itself asks nobody for a
/// certificate, and `tls.frontend` only holds the trust anchors for TLS policies.
pub(crate) const CLIENT_VALIDATION_OPTION: &str = "penstock.dev/client-validation";
const ON_DEMAND: &str = "OnDemand";
/// Key of a ConfigMap with trust anchors.
const ANCHORS: &str = "ca.crt";

/// What `tls.frontend` says for one listener.
#[derive(Debug, Default)]
pub(crate) struct Frontend {
    /// The validation in force.
    pub(crate) validation: Option<config::ClientValidation>,
    /// References that cannot be used.
    pub(crate) refs: Vec<Problem>,
    /// Why the listener cannot be accepted.
    pub(crate) refused: Option<Problem>,
}

struct Declared<'a> {
    anchors: Vec<AnchorRef<'a>>,
    mode: config::ValidationMode,
}

struct AnchorRef<'a> {
    group: &'a str,
    kind: &'a str,
    name: &'a str,
    namespace: Option<&'a str>,
}

/// What `tls.frontend` says for an HTTPS listener of a Gateway in `namespace`.
pub(crate) fn translate(
    index: &Index,
    namespace: &str,
    frontend: Option<&GatewayTlsFrontend>,
    listener: &GatewayListeners,
) -> Frontend {
    let declared = frontend.and_then(|frontend| declared(frontend, listener.port));
    let option = listener.tls.as_ref().and_then(|tls| tls.options.as_ref());
    let on_demand = match option.and_then(|o| o.get(CLIENT_VALIDATION_OPTION)).map(String::as_str) {
        None => false,
        Some(ON_DEMAND) if declared.is_some() => true,
        Some(ON_DEMAND) => {
            return refused(
                reasons::UNSUPPORTED_VALUE,
                format!(
                    "option {CLIENT_VALIDATION_OPTION} needs trust anchors: declare them in \
                     tls.frontend of the Gateway"
                ),
            );
        }
        Some(other) => {
            let message = format!(
                "option {CLIENT_VALIDATION_OPTION} is `{other}`; only {ON_DEMAND} is known"
            );
            return refused(reasons::UNSUPPORTED_VALUE, message);
        }
    };
    let Some(declared) = declared else { return Frontend::default() };
    let mut result = Frontend::default();
    let mut anchors_pem = String::new();
    for reference in &declared.anchors {
        match anchors(index, namespace, reference) {
            Ok(pem) => {
                anchors_pem.push_str(pem.trim_end());
                anchors_pem.push('\n');
            }
            Err(problem) => result.refs.push(problem),
        }
    }
    if anchors_pem.is_empty() {
        result.refused = Some(Problem::new(
            reasons::NO_VALID_CA_CERTIFICATE,
            "no caCertificateRefs of tls.frontend can be used: see ResolvedRefs",
        ));
        return result;
    }
    let mode = if on_demand { config::ValidationMode::OnDemand } else { declared.mode };
    result.validation = Some(config::ClientValidation { anchors_pem, mode: mode as i32 });
    result
}

/// Whether `AllowInsecureFallback` is written anywhere.
pub(crate) fn is_insecure(frontend: &GatewayTlsFrontend) -> bool {
    let default = frontend.default.validation.as_ref().and_then(|v| v.mode.as_ref());
    let ports = frontend.per_port.iter().flatten();
    let mut ports = ports.filter_map(|p| p.tls.validation.as_ref()?.mode.as_ref());
    default == Some(&GatewayTlsFrontendDefaultValidationMode::AllowInsecureFallback)
        || ports.any(|m| *m == GatewayTlsFrontendPerPortTlsValidationMode::AllowInsecureFallback)
}

fn declared(frontend: &GatewayTlsFrontend, port: i32) -> Option<Declared<'_>> {
    use config::ValidationMode::{AllowInsecureFallback, AllowValidOnly};
    let per_port = frontend.per_port.iter().flatten().find(|entry| entry.port == port);
    if let Some(entry) = per_port {
        let validation = entry.tls.validation.as_ref()?;
        let insecure = GatewayTlsFrontendPerPortTlsValidationMode::AllowInsecureFallback;
        let anchors = validation.ca_certificate_refs.iter().map(|r| AnchorRef {
            group: &r.group,
            kind: &r.kind,
            name: &r.name,
            namespace: r.namespace.as_deref(),
        });
        let fallback = validation.mode.as_ref() == Some(&insecure);
        let mode = if fallback { AllowInsecureFallback } else { AllowValidOnly };
        return Some(Declared { anchors: anchors.collect(), mode });
    }
    let validation = frontend.default.validation.as_ref()?;
    let insecure = GatewayTlsFrontendDefaultValidationMode::AllowInsecureFallback;
    let anchors = validation.ca_certificate_refs.iter().map(|r| AnchorRef {
        group: &r.group,
        kind: &r.kind,
        name: &r.name,
        namespace: r.namespace.as_deref(),
    });
    let fallback = validation.mode.as_ref() == Some(&insecure);
    let mode = if fallback { AllowInsecureFallback } else { AllowValidOnly };
    Some(Declared { anchors: anchors.collect(), mode })
}

fn anchors<'a>(
    index: &'a Index,
    namespace: &str,
    reference: &AnchorRef<'_>,
) -> Result<&'a str, Problem> {
    if !is_core(reference.group) || reference.kind != "ConfigMap" {
        return Err(Problem::new(
            reasons::INVALID_CA_CERTIFICATE_KIND,
            format!(
                "caCertificateRefs names {} of group `{}`; only ConfigMaps of the core group hold \
                 trust anchors",
                reference.kind, reference.group
            ),
        ));
    }
    let to = Name::new(reference.namespace.unwrap_or(namespace), reference.name);
    let grant = Reference {
        from_kind: "Gateway",
        from_namespace: namespace,
        to_kind: "ConfigMap",
        to: &to,
    };
    if !grant.is_permitted(index) {
        return Err(Problem::new(reasons::REF_NOT_PERMITTED, grant.missing()));
    }
    let invalid = |message: String| Problem::new(reasons::INVALID_CA_CERTIFICATE_REF, message);
    let Some(config_map) = index.config_maps.get(&to) else {
        return Err(invalid(format!("ConfigMap {to} does not exist")));
    };
    let Some(pem) = config_map.data.as_ref().and_then(|data| data.get(ANCHORS)) else {
        return Err(invalid(format!("ConfigMap {to} lacks `{ANCHORS}`")));
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let added = certificate.map_err(|e| e.to_string());
        let added = added.and_then(|c| store.add(c).map_err(|e| e.to_string()));
        added.map_err(|e| {
            invalid(format!("`{ANCHORS}` of ConfigMap {to} holds no usable certificate: {e}"))
        })?;
    }
    if store.is_empty() {
        return Err(invalid(format!("`{ANCHORS}` of ConfigMap {to} holds no certificate in PEM")));
    }
    Ok(pem)
}

fn refused(reason: &'static str, message: String) -> Frontend {
    Frontend { refused: Some(Problem::new(reason, message)), ..Frontend::default() }
}
