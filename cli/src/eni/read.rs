//! Reads what is said of addresses.

use super::{operator::OPERATOR, seen::Seen};
use crate::cluster::{Failure, Place, Reader};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    ResourceExt as _,
    core::{ApiResource, GroupVersionKind},
};

/// Reads what `penstock eni status` needs.
///
/// # Errors
/// When the API server cannot be reached, does not know who asks, or fails. What is not permitted is
/// no error: it is part of what was read.
pub(crate) async fn status(reader: &mut Reader<'_>) -> Result<Seen, Failure> {
    let mut seen = common(reader).await?;
    let waits = Place { fields: "status.phase=Pending", ..Place::default() };
    seen.pending = reader.list_in(&waits).await?;
    let refused = Place { fields: "reason=FailedCreatePodSandBox", ..Place::default() };
    seen.events = reader.list_in(&refused).await?;
    // They only say more about what is said anyway.
    reader.denied.retain(|denied| denied.resource != "events");
    seen.denied.clone_from(&reader.denied);
    Ok(seen)
}

/// Reads what `penstock eni preflight` needs.
///
/// # Errors
/// As [`status`].
pub(crate) async fn preflight(reader: &mut Reader<'_>) -> Result<Seen, Failure> {
    let mut seen = common(reader).await?;
    let kind = GroupVersionKind::gvk("crd.k8s.amazonaws.com", "v1alpha1", "ENIConfig");
    let kind = ApiResource::from_gvk(&kind);
    let found = reader.list_if_defined(&kind, &Place::default()).await?;
    seen.eni_configs = found.unwrap_or_default();
    seen.denied.clone_from(&reader.denied);
    Ok(seen)
}

async fn common(reader: &mut Reader<'_>) -> Result<Seen, Failure> {
    let (now, kubernetes) = reader.clock().await?;
    let mut seen = Seen { now, kubernetes, ..Seen::default() };
    seen.server.clone_from(&reader.connection.server);
    let place = Place { labels: "app.kubernetes.io/part-of=penstock", ..Place::default() };
    let deployments: Vec<Deployment> = reader.list_in(&place).await?;
    seen.operator = deployments.into_iter().find(|found| found.name_any() == OPERATOR);
    seen.nodes = reader.list(&Place::default()).await?;
    seen.published = reader.list_if_defined(&(), &Place::default()).await?;
    seen.sets = reader.list_in(&Place::default()).await?;
    Ok(seen)
}
