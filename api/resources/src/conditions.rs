//! Condition types and reasons that statuses carry, and the names Penstock goes by.
//!
//! Where the Gateway API defines a word it is used; the few of our own are marked.

/// `spec.controllerName` of the GatewayClasses that Penstock serves.
pub const CONTROLLER_NAME: &str = "penstock.dev/gateway-controller";
/// Name of the GatewayClass that comes with Penstock.
pub const GATEWAY_CLASS: &str = "penstock";

/// Condition types.
pub mod types {
    /// The object is valid and in use.
    pub const ACCEPTED: &str = "Accepted";
    /// The nodes have confirmed that they serve it.
    pub const PROGRAMMED: &str = "Programmed";
    /// Every reference leads to something that exists and may be used.
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    /// A listener conflicts with another one (negative polarity).
    pub const CONFLICTED: &str = "Conflicted";
    /// Listeners on one port present overlapping TLS names (negative polarity).
    pub const OVERLAPPING_TLS_CONFIG: &str = "OverlappingTLSConfig";
    /// Part of a route is invalid and not served (negative polarity).
    pub const PARTIALLY_INVALID: &str = "PartiallyInvalid";
    /// The installed CRDs are of a version that is known.
    pub const SUPPORTED_VERSION: &str = "SupportedVersion";
    /// A client without a valid certificate may be served (negative polarity).
    pub const INSECURE_FRONTEND_VALIDATION_MODE: &str = "InsecureFrontendValidationMode";
}

/// Condition reasons.
pub mod reasons {
    /// The object is accepted.
    pub const ACCEPTED: &str = "Accepted";
    /// The nodes have confirmed it.
    pub const PROGRAMMED: &str = "Programmed";
    /// All references are resolved.
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    /// Nothing has been decided yet.
    pub const PENDING: &str = "Pending";
    /// The object contradicts itself or the specification.
    pub const INVALID: &str = "Invalid";
    /// Nothing conflicts.
    pub const NO_CONFLICTS: &str = "NoConflicts";
    /// Some listeners of the Gateway are not valid.
    pub const LISTENERS_NOT_VALID: &str = "ListenersNotValid";
    /// `parametersRef` cannot be used.
    pub const INVALID_PARAMETERS: &str = "InvalidParameters";
    /// An address type is not supported.
    pub const UNSUPPORTED_ADDRESS: &str = "UnsupportedAddress";
    /// No address could be assigned.
    pub const ADDRESS_NOT_ASSIGNED: &str = "AddressNotAssigned";
    /// A requested address cannot be used.
    pub const ADDRESS_NOT_USABLE: &str = "AddressNotUsable";
    /// The resources to serve the Gateway are missing.
    pub const NO_RESOURCES: &str = "NoResources";
    /// Listeners of the Gateway have references that are not resolved.
    pub const LISTENERS_NOT_RESOLVED: &str = "ListenersNotResolved";
    /// The GatewayClass asks for something that is not supported.
    pub const UNSUPPORTED: &str = "Unsupported";
    /// The installed CRDs are of an unknown version.
    pub const UNSUPPORTED_VERSION: &str = "UnsupportedVersion";
    /// The installed CRDs are of a known version.
    pub const SUPPORTED_VERSION: &str = "SupportedVersion";
    /// A port cannot be bound.
    pub const PORT_UNAVAILABLE: &str = "PortUnavailable";
    /// A listener's protocol is not supported.
    pub const UNSUPPORTED_PROTOCOL: &str = "UnsupportedProtocol";
    /// Two listeners have the same port, protocol and hostname.
    pub const HOSTNAME_CONFLICT: &str = "HostnameConflict";
    /// Two listeners on one port speak protocols that exclude each other.
    pub const PROTOCOL_CONFLICT: &str = "ProtocolConflict";
    /// A certificate reference does not lead to a usable certificate.
    pub const INVALID_CERTIFICATE_REF: &str = "InvalidCertificateRef";
    /// A route kind in `allowedRoutes` is unknown.
    pub const INVALID_ROUTE_KINDS: &str = "InvalidRouteKinds";
    /// A reference into another namespace lacks its ReferenceGrant.
    pub const REF_NOT_PERMITTED: &str = "RefNotPermitted";
    /// A trust anchor reference does not lead to usable certificates.
    pub const INVALID_CA_CERTIFICATE_REF: &str = "InvalidCACertificateRef";
    /// A trust anchor reference names a kind that holds none.
    pub const INVALID_CA_CERTIFICATE_KIND: &str = "InvalidCACertificateKind";
    /// No trust anchor could be used.
    pub const NO_VALID_CA_CERTIFICATE: &str = "NoValidCACertificate";
    /// The client certificate towards backends cannot be used.
    pub const INVALID_CLIENT_CERTIFICATE_REF: &str = "InvalidClientCertificateRef";
    /// Client certificates are configured to be optional.
    pub const CONFIGURATION_CHANGED: &str = "ConfigurationChanged";
    /// Certificates of listeners on one port overlap.
    pub const OVERLAPPING_CERTIFICATES: &str = "OverlappingCertificates";
    /// Hostnames of listeners on one port overlap.
    pub const OVERLAPPING_HOSTNAMES: &str = "OverlappingHostnames";
    /// The listener's `allowedRoutes` does not admit the route.
    pub const NOT_ALLOWED_BY_LISTENERS: &str = "NotAllowedByListeners";
    /// No listener's hostname intersects the route's.
    pub const NO_MATCHING_LISTENER_HOSTNAME: &str = "NoMatchingListenerHostname";
    /// The parent has no such section or port.
    pub const NO_MATCHING_PARENT: &str = "NoMatchingParent";
    /// A value is not supported.
    pub const UNSUPPORTED_VALUE: &str = "UnsupportedValue";
    /// Filters cannot be used together.
    pub const INCOMPATIBLE_FILTERS: &str = "IncompatibleFilters";
    /// A reference names a kind that cannot be used there.
    pub const INVALID_KIND: &str = "InvalidKind";
    /// A backend does not exist.
    pub const BACKEND_NOT_FOUND: &str = "BackendNotFound";
    /// A `targetRefs` entry leads to nothing.
    pub const TARGET_NOT_FOUND: &str = "TargetNotFound";
    /// Ours: a `WasmFilter` is missing or cannot be used.
    pub const INVALID_FILTER: &str = "InvalidFilter";
    /// A policy disagrees with an older one.
    pub const CONFLICTED: &str = "Conflicted";
    /// Ours: the filter's module does not exist where `spec.module` says.
    pub const MODULE_NOT_FOUND: &str = "ModuleNotFound";
    /// Ours: the module is no component.
    pub const MODULE_INVALID: &str = "ModuleInvalid";
    /// Ours: this generation is refused, and the last good one serves on.
    pub const LAST_GOOD_SERVES: &str = "LastGoodServes";
    /// Ours: the module exports no policy, or imports what no policy may.
    pub const WRONG_WORLD: &str = "WrongWorld";
    /// Ours: the module is larger than allowed.
    pub const TOO_LARGE: &str = "TooLarge";
    /// Ours: the module imports an interface that `spec.grants` does not list.
    pub const CAPABILITY_DENIED: &str = "CapabilityDenied";
    /// Ours: the module refuses `spec.config`.
    pub const INVALID_CONFIG: &str = "InvalidConfig";
    /// Ours: this process cannot read modules from such a source.
    pub const UNSUPPORTED_SOURCE: &str = "UnsupportedSource";
    /// Ours: the module could not be fetched; a retry may help.
    pub const FETCH_FAILED: &str = "FetchFailed";
    /// Ours: whoever has the module does not give it to us.
    pub const ACCESS_DENIED: &str = "AccessDenied";
    /// Ours: the module that was fetched is not the one that `spec.module` pins.
    pub const DIGEST_MISMATCH: &str = "DigestMismatch";
}
