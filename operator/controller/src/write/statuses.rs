//! Statuses: read, merge, write, and only on a change.

use super::writer::Writer;
use crate::{
    core::{Observed, Status, StatusWrite, WriteError, merge_patch},
    names::FIELD_MANAGER,
    watch::resource,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use penstock_resources::{Kind, ObjectId};
use serde_json::{Value, json};

/// How often somebody else may be faster before it is tried again later.
const ATTEMPTS: usize = 5;

/// Merges a status into what is there and writes what changed.
///
/// The patch names the resource version that it was made for, so that the API server refuses it when
/// somebody else wrote meanwhile; it is then made anew from what is there.
pub(super) async fn write(writer: &Writer, write: StatusWrite) -> Result<Observed, WriteError> {
    let StatusWrite { id, mut observed, wanted } = write;
    let api = api(writer, &id);
    let parameters =
        PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
    for _ in 0..ATTEMPTS {
        let now = Time(writer.clock.now().wall);
        let Some(merged) = Status::merge(observed.status.as_ref(), &wanted, &now) else {
            writer.metrics.write(id.kind, "unchanged");
            return Ok(observed);
        };
        let Some(patch) = patch(&observed, &merged) else { return Err(WriteError::Refused) };
        match api.patch_status(&id.name, &parameters, &Patch::Merge(&patch)).await {
            Ok(object) => {
                writer.metrics.write(id.kind, "written");
                return Ok(Observed { status: Some(merged), ..of(&id, &object) });
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                writer.metrics.write(id.kind, "conflict");
                let object =
                    api.get(&id.name).await.map_err(|error| writer.failed(id.kind, &id, &error))?;
                let uid = std::mem::take(&mut observed.uid);
                observed = of(&id, &object);
                if observed.uid != uid {
                    // Deleted and made again: the watch tells.
                    return Err(WriteError::Gone);
                }
            }
            Err(error) => return Err(writer.failed(id.kind, &id, &error)),
        }
    }
    Err(WriteError::Refused)
}

fn api(writer: &Writer, id: &ObjectId) -> Api<DynamicObject> {
    let resource = resource(id.kind);
    match id.kind.namespaced() {
        true => Api::namespaced_with(writer.client.clone(), &id.namespace, &resource),
        false => Api::all_with(writer.client.clone(), &resource),
    }
}

fn patch(observed: &Observed, merged: &Status) -> Option<Value> {
    let to = merged.to_json().ok()?;
    let from = match &observed.status {
        Some(status) => status.to_json().ok()?,
        None => json!({}),
    };
    Some(json!({
        "metadata": {"uid": observed.uid, "resourceVersion": observed.resource_version},
        "status": merge_patch(&from, &to),
    }))
}

/// What the API server answered.
fn of(id: &ObjectId, object: &DynamicObject) -> Observed {
    let status = object.data.get("status").cloned();
    Observed {
        uid: object.metadata.uid.clone().unwrap_or_default(),
        resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
        status: status.and_then(|status| typed(id.kind, status)),
    }
}

fn typed(kind: Kind, status: Value) -> Option<Status> {
    use serde_json::from_value;
    Some(match kind {
        Kind::GatewayClass => Status::GatewayClass(from_value(status).ok()?),
        Kind::Gateway => Status::Gateway(from_value(status).ok()?),
        Kind::HttpRoute => Status::HttpRoute(from_value(status).ok()?),
        Kind::WasmFilter => Status::WasmFilter(from_value(status).ok()?),
        Kind::LoadBalancerPool => Status::LoadBalancerPool(from_value(status).ok()?),
        _ => return None,
    })
}
