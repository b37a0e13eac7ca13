//! The endpoints of a backend, from EndpointSlices.

use crate::Index;
use crate::backend::{Backend, external_name, service_port};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use penstock_config as config;

/// How fit an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fitness {
    /// It serves, and is about to end: for want of better.
    Ending,
    Ready,
}

/// One address with what decides on its use.
struct Candidate {
    fitness: Fitness,
    family: String,
    endpoint: config::Endpoint,
}

/// Where requests for a backend can go. Ready endpoints, or, when there are none, those that still
/// serve while they terminate (KEP-1669). Of a Service with two address families those of the first
/// family that has any.
pub(crate) fn translate(index: &Index, backend: &Backend) -> config::Endpoints {
    let service = index.services.get(&backend.service).map(AsRef::as_ref);
    let endpoints = match service {
        Some(service) => match external_name(service) {
            Some(host) => external(host, backend.port),
            None => from_slices(index, backend, service),
        },
        None => Vec::new(),
    };
    config::Endpoints { backend: backend.key(), endpoints }
}

fn external(host: &str, port: i32) -> Vec<config::Endpoint> {
    let port = u32::try_from(port).unwrap_or(0);
    vec![config::Endpoint { host: crate::hostname::normalize(host), port }]
}

fn from_slices(index: &Index, backend: &Backend, service: &Service) -> Vec<config::Endpoint> {
    let Some(port) = service_port(service, backend.port) else { return Vec::new() };
    let slices = index.slices_of(&backend.service);
    let mut candidates: Vec<_> = slices.flat_map(|slice| candidates(slice, port)).collect();
    let best = candidates.iter().map(|c| c.fitness).max();
    candidates.retain(|c| Some(c.fitness) == best);
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_deref());
    let preferred = families.unwrap_or_default();
    let preferred = preferred.iter().find(|f| candidates.iter().any(|c| c.family == **f));
    if let Some(family) = preferred {
        candidates.retain(|c| c.family == *family);
    }
    let mut endpoints: Vec<_> = candidates.into_iter().map(|c| c.endpoint).collect();
    endpoints.sort();
    endpoints.dedup();
    endpoints
}

fn candidates(slice: &EndpointSlice, port: &ServicePort) -> Vec<Candidate> {
    let Some(number) = number(slice, port) else { return Vec::new() };
    let endpoints = slice.endpoints.iter().flatten();
    endpoints
        .filter_map(|endpoint| Some((fitness(endpoint)?, endpoint)))
        .flat_map(|(fitness, endpoint)| {
            endpoint.addresses.iter().map(move |address| Candidate {
                fitness,
                family: slice.address_type.clone(),
                endpoint: config::Endpoint { host: address.clone(), port: number },
            })
        })
        .collect()
}

/// The port of the slice that has the name of the Service's port. A port without a number is "all
/// ports", so that the Service says which.
fn number(slice: &EndpointSlice, port: &ServicePort) -> Option<u32> {
    let name = port.name.as_deref().unwrap_or_default();
    let mut ports = slice.ports.iter().flatten();
    let found = ports.find(|p| {
        p.name.as_deref().unwrap_or_default() == name
            && p.protocol.as_deref().unwrap_or("TCP") == "TCP"
    })?;
    let number = found.port.unwrap_or(match port.target_port {
        Some(IntOrString::Int(target)) => target,
        _ => port.port,
    });
    u32::try_from(number).ok().filter(|n| (1..=65_535).contains(n))
}

/// `None`: no request may go there. What a slice does not say counts as ready and serving.
fn fitness(endpoint: &Endpoint) -> Option<Fitness> {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let serving = conditions.and_then(|c| c.serving).unwrap_or(ready);
    let terminating = conditions.and_then(|c| c.terminating).unwrap_or(false);
    match (ready, serving, terminating) {
        (true, _, _) => Some(Fitness::Ready),
        (false, true, true) => Some(Fitness::Ending),
        _ => None,
    }
}
