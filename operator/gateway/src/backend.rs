//! `backendRefs`: which Service and port a reference leads to.

use crate::condition::Problem;
use crate::reference_grant::{Reference, is_core};
use crate::{Index, Mode, Name, hostname};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use penstock_config::BackendProtocol;
use penstock_resources::conditions::reasons;
use penstock_resources::gateway_api::httproutes::HttpRouteRulesBackendRefs;

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    pub(crate) service: Name,
    pub(crate) port: i32,
    pub(crate) protocol: BackendProtocol,
}

impl Backend {
    /// `namespace/name:port`.
    pub(crate) fn key(&self) -> String {
        format!("{}:{}", self.service, self.port)
    }
}

/// `namespace/name:port` as a reference in `namespace` is written.
pub(crate) fn written(namespace: &str, reference: &HttpRouteRulesBackendRefs) -> String {
    let namespace = reference.namespace.as_deref().unwrap_or(namespace);
    match reference.port {
        Some(port) => format!("{namespace}/{}:{port}", reference.name),
        None => format!("{namespace}/{}", reference.name),
    }
}

/// The backend that a reference of an HTTPRoute in `namespace` leads to.
///
/// # Errors
/// `InvalidKind`, `RefNotPermitted`, `BackendNotFound` or `UnsupportedProtocol`.
pub(crate) fn resolve(
    index: &Index,
    namespace: &str,
    reference: &HttpRouteRulesBackendRefs,
) -> Result<Backend, Problem> {
    let group = reference.group.as_deref().unwrap_or_default();
    let kind = reference.kind.as_deref().unwrap_or("Service");
    if !is_core(group) || kind != "Service" {
        return Err(Problem::new(
            reasons::INVALID_KIND,
            format!(
                "backendRef {} is a {kind} of group `{group}`; only Services of the core group are \
                 served",
                reference.name
            ),
        ));
    }
    let to = Name::new(reference.namespace.as_deref().unwrap_or(namespace), &reference.name);
    let grant = Reference {
        from_kind: "HTTPRoute",
        from_namespace: namespace,
        to_kind: "Service",
        to: &to,
    };
    if !grant.is_permitted(index) {
        return Err(Problem::new(reasons::REF_NOT_PERMITTED, grant.missing()));
    }
    let Some(service) = index.services.get(&to) else {
        return Err(not_found(format!("Service {to} does not exist")));
    };
    let Some(port) = reference.port else {
        return Err(not_found(format!("backendRef to Service {to} lacks its port")));
    };
    let protocol = protocol(index, &to, service, port)?;
    Ok(Backend { service: to, port, protocol })
}

/// The port of a Service by its number.
pub(crate) fn service_port(service: &Service, port: i32) -> Option<&ServicePort> {
    ports(service).iter().find(|p| p.port == port)
}

/// The DNS name that a Service of type ExternalName stands for.
pub(crate) fn external_name(service: &Service) -> Option<&str> {
    let spec = service.spec.as_ref()?;
    (spec.type_.as_deref() == Some("ExternalName")).then_some(())?;
    Some(spec.external_name.as_deref().unwrap_or_default())
}

fn protocol(
    index: &Index,
    name: &Name,
    service: &Service,
    port: i32,
) -> Result<BackendProtocol, Problem> {
    let external = external_name(service);
    if let Some(host) = external {
        check_external(index, name, host)?;
    }
    let Some(found) = service_port(service, port) else {
        // A Service of type ExternalName may do without ports.
        if external.is_some() && ports(service).is_empty() && (1..=65_535).contains(&port) {
            return Ok(BackendProtocol::Http1);
        }
        let known: Vec<_> = ports(service).iter().map(|p| p.port.to_string()).collect();
        return Err(not_found(format!(
            "Service {name} has no port {port}; it has {}",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        )));
    };
    let unsupported = |what: String| Err(Problem::new(reasons::UNSUPPORTED_PROTOCOL, what));
    let transport = found.protocol.as_deref().unwrap_or("TCP");
    if transport != "TCP" {
        return unsupported(format!("port {port} of Service {name} is for {transport}, not TCP"));
    }
    match found.app_protocol.as_deref() {
        None | Some("" | "http" | "kubernetes.io/ws") => Ok(BackendProtocol::Http1),
        Some("kubernetes.io/h2c") => Ok(BackendProtocol::H2c),
        Some(other) => unsupported(format!(
            "appProtocol {other} of port {port} of Service {name} is not served: there are http, \
             kubernetes.io/h2c and kubernetes.io/ws"
        )),
    }
}

fn check_external(index: &Index, name: &Name, host: &str) -> Result<(), Problem> {
    if index.settings().mode == Mode::Cluster {
        // CVE-2021-25740: it would lead past the network policies of the cluster.
        return Err(Problem::new(
            reasons::INVALID_KIND,
            format!("Service {name} is of type ExternalName, which is not served in a cluster"),
        ));
    }
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    if is_address || (hostname::is_valid(host) && !host.starts_with('*')) {
        return Ok(());
    }
    Err(not_found(format!("externalName `{host}` of Service {name} is no DNS name")))
}

fn ports(service: &Service) -> &[ServicePort] {
    service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default()
}

fn not_found(message: String) -> Problem {
    Problem::new(reasons::BACKEND_NOT_FOUND, message)
}
