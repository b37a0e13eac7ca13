//! Services that bring clients to the proxies.

use super::writer::Writer;
use crate::{core::WriteError, names::FIELD_MANAGER};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use penstock_gateway::Name;
use penstock_resources::Kind;

/// Makes a Service as it should be, by server-side apply: what others wrote beside it stays.
pub(super) async fn apply(
    writer: &Writer,
    name: &Name,
    service: &Service,
) -> Result<Option<Box<Service>>, WriteError> {
    let api: Api<Service> = Api::namespaced(writer.client.clone(), &name.namespace);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let failed = |error: kube::Error| writer.failed(Kind::Service, name, &error);
    let spec = Service { status: None, ..service.clone() };
    let mut there =
        api.patch(&name.name, &parameters, &Patch::Apply(&spec)).await.map_err(failed)?;
    if service.status.is_some() {
        let status = Service { spec: None, ..service.clone() };
        let patch = Patch::Apply(&status);
        there = api.patch_status(&name.name, &parameters, &patch).await.map_err(failed)?;
    }
    writer.metrics.write(Kind::Service, "written");
    Ok(Some(Box::new(there)))
}

/// Deletes a Service.
pub(super) async fn delete(
    writer: &Writer,
    name: &Name,
) -> Result<Option<Box<Service>>, WriteError> {
    let api: Api<Service> = Api::namespaced(writer.client.clone(), &name.namespace);
    let deleted = api.delete(&name.name, &DeleteParams::default()).await;
    deleted.map_err(|error| writer.failed(Kind::Service, name, &error))?;
    writer.metrics.write(Kind::Service, "written");
    Ok(None)
}

/// The name of a Service.
pub(super) fn name_of(service: &Service) -> Name {
    let metadata = &service.metadata;
    Name::new(
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}
