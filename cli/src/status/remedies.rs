//! What to do about a condition, by its reason. Its message says what it is about.

use penstock_resources::{Kind, conditions::reasons as r};

/// What to do.
pub(crate) fn remedy(reason: &str, kind: Kind) -> &'static str {
    match (reason, kind) {
        (r::PENDING, Kind::WasmFilter) => {
            "wait until the operator has fetched and compiled the module (penstock status --wait)"
        }
        (r::PENDING, _) => {
            "wait until the proxies have confirmed it (penstock status --wait); when it stays, look \
             at the proxies' logs"
        }
        (r::BACKEND_NOT_FOUND, _) => "create the Service, or correct name and port in backendRefs",
        (r::INVALID_FILTER, _) => {
            "correct the WasmFilter (its own status says more), or the name in the ExtensionRef; \
             until then its rules answer 500"
        }
        (r::INVALID_KIND, _) => "refer to a kind that can be used there",
        (r::REF_NOT_PERMITTED, _) => {
            "add a ReferenceGrant in the namespace that is referred to, or move the object"
        }
        (r::NOT_ALLOWED_BY_LISTENERS, _) => {
            "allow the route's namespace and kind in allowedRoutes of the listener, or attach it to \
             another"
        }
        (r::NO_MATCHING_LISTENER_HOSTNAME, _) => {
            "make the route's hostnames meet those of a listener"
        }
        (r::NO_MATCHING_PARENT, _) => {
            "correct name, sectionName and port in parentRefs, or create the Gateway"
        }
        (r::UNSUPPORTED_VALUE | r::INCOMPATIBLE_FILTERS, _) => {
            "change the rule that the message names"
        }
        (r::ADDRESS_NOT_ASSIGNED, _) => {
            "add a LoadBalancerPool that selects the Gateway and has a free address, or wait for the \
             cloud's load balancer"
        }
        (r::ADDRESS_NOT_USABLE | r::UNSUPPORTED_ADDRESS, _) => {
            "ask for another address in spec.addresses, or for none"
        }
        (r::INVALID_CERTIFICATE_REF, _) => {
            "refer to a Secret of type kubernetes.io/tls whose certificate and key belong together"
        }
        (
            r::INVALID_CA_CERTIFICATE_REF
            | r::INVALID_CA_CERTIFICATE_KIND
            | r::NO_VALID_CA_CERTIFICATE,
            _,
        ) => "refer to a ConfigMap with PEM certificates under ca.crt",
        (r::HOSTNAME_CONFLICT | r::PROTOCOL_CONFLICT | r::CONFLICTED, _) => {
            "change one of the two that are in conflict, or remove it"
        }
        (r::PORT_UNAVAILABLE, _) => "take another port, or end what has it",
        (r::UNSUPPORTED_PROTOCOL, _) => "use HTTP or HTTPS",
        (r::UNSUPPORTED_VERSION, _) => {
            "install the definitions of the Gateway API in version v1.5 or v1.6"
        }
        (r::INVALID_PARAMETERS, _) => "correct the GatewayConfig, or what parametersRef names",
        (r::NO_RESOURCES, _) => "bring a proxy up that can serve it",
        (r::FETCH_FAILED | r::ACCESS_DENIED | r::MODULE_NOT_FOUND, _) => {
            "correct spec.module (address, pullSecretRef, caRef), or put the module there"
        }
        (r::DIGEST_MISMATCH, _) => {
            "pin the digest of the module that is meant, or put that one there"
        }
        (r::CAPABILITY_DENIED, _) => {
            "add the interface to spec.grants, or build the module without it"
        }
        (r::INVALID_CONFIG, _) => "correct spec.config",
        (r::MODULE_INVALID | r::WRONG_WORLD | r::TOO_LARGE, _) => "build the module anew",
        (r::LAST_GOOD_SERVES, _) => "correct the last change; until then the one before serves",
        _ => "change what the message names",
    }
}
