//! The Service that brings clients to the proxies for one Gateway.
//!
//! It lives in the namespace of the proxies, since a selector (and a cloud controller that sends to
//! pod addresses) finds pods of its own namespace alone. So it has no owner reference: whoever writes
//! Services deletes those that are labelled with a Gateway and no longer wanted.

use super::address::Address;
use crate::Name;
use k8s_openapi::api::core::v1::{
    LoadBalancerIngress, LoadBalancerStatus, Service, ServicePort, ServiceSpec, ServiceStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use penstock_resources::gateway_api::Gateway;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Label of what is made for a Gateway (GEP-1762).
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
/// Label of the class of that Gateway (GEP-1762).
const GATEWAY_CLASS_NAME: &str = "gateway.networking.k8s.io/gateway-class-name";
/// Label of the namespace of that Gateway.
const GATEWAY_NAMESPACE: &str = "penstock.dev/gateway-namespace";
/// Label of what Penstock made and may delete.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "penstock");
/// Label of the proxies' pods.
const PROXIES: (&str, &str) = ("app.kubernetes.io/name", "penstock-proxy");
/// Annotation that says that the addresses come from pools: set once, it stays, so that an address
/// that is left over from a pool is never taken for one that a cloud gave.
const POOLED: (&str, &str) = ("penstock.dev/addresses", "pool");
/// Annotation with the node that announces the addresses of pools: another replica that comes to lead
/// knows by it where they are.
const ANNOUNCED_BY: &str = "penstock.dev/announced-by";
/// Annotation with a hash of everything that was written, to see what is no longer wanted.
const CONTENT: &str = "penstock.dev/content";
/// Class of the Services whose addresses come from pools, so that cloud controllers leave them
/// alone. A Service has it from its creation or never (the API server refuses to add it).
const POOL_CLASS: &str = "penstock.dev/load-balancer-pool";
/// Annotations of a Gateway that are meant for the controller of its load balancer.
const CONTROLLER_ANNOTATIONS: &str = "service.beta.kubernetes.io/";
/// Longest name of a Service (RFC 1035 label).
const MAX_NAME: usize = 63;

/// A port of the Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    /// As clients dial it.
    pub(crate) port: u16,
    pub(crate) target_port: u16,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
}

/// Where the addresses come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Pools; these are all.
    Pools(Vec<IpAddr>),
    /// A cloud controller, which may be asked for one.
    Cloud(Option<IpAddr>),
}

/// Name of the Service of a Gateway: `penstock-`, namespace and name as far as they fit, and a hash
/// of both, since the two alone could be read in several ways.
pub(super) fn name_of(gateway: &Name, namespace: &str) -> Name {
    let hash = hex(&Sha256::digest(gateway.to_string())[..4]);
    let words = format!("penstock-{}-{}", gateway.namespace, gateway.name).replace('.', "-");
    let words = words.get(..MAX_NAME - hash.len() - 1).unwrap_or(&words);
    Name::new(namespace, format!("{}-{hash}", words.trim_end_matches('-')))
}

/// Whether the addresses of a Service come from pools.
pub(super) fn is_pooled(service: &Service) -> bool {
    has(service.metadata.annotations.as_ref(), POOLED) || class_of(service) == Some(POOL_CLASS)
}

/// The node that announces the addresses of a Service.
pub(super) fn announced_by(service: &Service) -> Option<&str> {
    let node = service.metadata.annotations.as_ref()?.get(ANNOUNCED_BY)?;
    Some(node).filter(|node| !node.is_empty()).map(String::as_str)
}

fn class_of(service: &Service) -> Option<&str> {
    service.spec.as_ref()?.load_balancer_class.as_deref()
}

/// Whether a label or annotation is there.
fn has(map: Option<&BTreeMap<String, String>>, (key, value): (&str, &str)) -> bool {
    map.and_then(|map| map.get(key)).is_some_and(|found| found == value)
}

/// The addresses that a load balancer has for a Service.
pub(super) fn ingress(service: &Service) -> Vec<Address> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|status| status.ingress.as_deref()).unwrap_or_default();
    let address = |ingress: &LoadBalancerIngress| match (&ingress.ip, &ingress.hostname) {
        (Some(ip), _) => ip.parse().ok().map(Address::Ip),
        (None, Some(name)) => Some(Address::Hostname(name.clone())),
        (None, None) => None,
    };
    ingress.iter().filter_map(address).collect()
}

/// The port of a Service that clients dial.
pub(super) fn port_of(service: &Service, port: u16) -> Option<&ServicePort> {
    let ports = service.spec.as_ref()?.ports.as_deref()?;
    ports.iter().find(|found| found.port == i32::from(port))
}

/// The target port that a Service says for a port.
pub(super) fn held_target_port(service: &Service, port: u16) -> Option<u16> {
    match port_of(service, port)?.target_port.as_ref()? {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(_) => None,
    }
}

/// The Service that there should be. `ports` is not empty.
pub(super) fn desired(
    name: &Name,
    (gateway_name, gateway): (&Name, &Gateway),
    existing: Option<&Service>,
    ports: &[Port],
    source: &Source,
    announced_by: Option<&str>,
) -> Service {
    let pooled = matches!(source, Source::Pools(_));
    let class = match existing {
        Some(existing) => class_of(existing).map(str::to_owned),
        None => pooled.then(|| POOL_CLASS.to_owned()),
    };
    let mut annotations = annotations(gateway);
    if pooled {
        annotations.insert(POOLED.0.to_owned(), POOLED.1.to_owned());
    }
    if let Some(node) = announced_by {
        annotations.insert(ANNOUNCED_BY.to_owned(), node.to_owned());
    }
    let mut service = Service {
        metadata: ObjectMeta {
            name: Some(name.name.clone()),
            namespace: Some(name.namespace.clone()),
            labels: Some(labels(gateway_name, gateway)),
            ..ObjectMeta::default()
        },
        spec: Some(spec(ports, source, class)),
        status: None,
    };
    service.status = match source {
        Source::Pools(ips) => Some(status(ips)),
        Source::Cloud(_) => None,
    };
    annotations.insert(CONTENT.to_owned(), content(&service, &annotations));
    service.metadata.annotations = Some(annotations);
    service
}

/// Client addresses are kept (`externalTrafficPolicy: Local`), and the health check port that comes
/// with it is answered well by the nodes that have a ready proxy alone.
fn spec(ports: &[Port], source: &Source, class: Option<String>) -> ServiceSpec {
    let port = |port: &Port| ServicePort {
        name: Some(format!("{}-{}", port.scheme, port.port)),
        port: port.port.into(),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(port.target_port.into())),
        ..ServicePort::default()
    };
    let asked = match source {
        Source::Cloud(asked) => asked.map(|ip| ip.to_string()),
        Source::Pools(_) => None,
    };
    ServiceSpec {
        type_: Some("LoadBalancer".to_owned()),
        selector: Some([(PROXIES.0.to_owned(), PROXIES.1.to_owned())].into()),
        ports: Some(ports.iter().map(port).collect()),
        external_traffic_policy: Some("Local".to_owned()),
        ip_family_policy: Some("PreferDualStack".to_owned()),
        load_balancer_class: class,
        load_balancer_ip: asked,
        ..ServiceSpec::default()
    }
}

fn status(ips: &[IpAddr]) -> ServiceStatus {
    let ingress = |ip: &IpAddr| LoadBalancerIngress {
        ip: Some(ip.to_string()),
        ip_mode: Some("VIP".to_owned()),
        ..LoadBalancerIngress::default()
    };
    let ingress: Vec<_> = ips.iter().map(ingress).collect();
    let ingress = (!ingress.is_empty()).then_some(ingress);
    ServiceStatus { conditions: None, load_balancer: Some(LoadBalancerStatus { ingress }) }
}

/// What the Gateway's owner wants to be there, and our own, which nobody replaces.
fn labels(name: &Name, gateway: &Gateway) -> BTreeMap<String, String> {
    let infrastructure = gateway.spec.infrastructure.as_ref();
    let mut labels = infrastructure.and_then(|i| i.labels.clone()).unwrap_or_default();
    labels.extend(
        [
            MANAGED_BY,
            (GATEWAY_NAME, &label(&name.name)),
            (GATEWAY_CLASS_NAME, &label(&gateway.spec.gateway_class_name)),
            (GATEWAY_NAMESPACE, &name.namespace),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    labels
}

fn annotations(gateway: &Gateway) -> BTreeMap<String, String> {
    let own = gateway.metadata.annotations.iter().flatten();
    let own = own.filter(|(key, _)| key.starts_with(CONTROLLER_ANNOTATIONS));
    let infrastructure = gateway.spec.infrastructure.as_ref();
    let wanted = infrastructure.and_then(|i| i.annotations.as_ref()).into_iter().flatten();
    own.chain(wanted).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// A name as the value of a label, which is shorter than a name may be.
fn label(name: &str) -> String {
    match name.get(..MAX_NAME) {
        Some(_) if name.len() > MAX_NAME => {
            let hash = hex(&Sha256::digest(name)[..4]);
            format!("{}-{hash}", &name[..MAX_NAME - hash.len() - 1])
        }
        _ => name.to_owned(),
    }
}

fn content(service: &Service, annotations: &BTreeMap<String, String>) -> String {
    // Maps are ordered, so that equal content has equal text.
    let text = json!([service, annotations]).to_string();
    hex(&Sha256::digest(text)[..8])
}

/// Whether a Service that is there has the content that is wanted, and nobody has changed it since.
/// What the API server and others add is no difference. A status counts where one is wanted.
pub fn is_in_place(there: &Service, wanted: &Service) -> bool {
    let content = |service: &Service| service.metadata.annotations.as_ref()?.get(CONTENT).cloned();
    let selector = |service: &Service| service.spec.as_ref()?.selector.clone();
    let parts = |service: &Service| {
        let metadata = &service.metadata;
        let status = service.status.as_ref().filter(|_| wanted.status.is_some());
        json!([service.spec, metadata.labels, metadata.annotations, status])
    };
    content(there) == content(wanted)
        && selector(there) == selector(wanted)
        && covers(&parts(there), &parts(wanted))
}

/// Whether everything that is wanted is there.
fn covers(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| there.get(key).is_some_and(|found| covers(found, value))),
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len() && there.iter().zip(wanted).all(|(t, w)| covers(t, w))
        }
        (there, wanted) => there == wanted,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
