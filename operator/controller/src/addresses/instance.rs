//! Which EC2 instance a Node is.

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;
use penstock_eni::Instance;

/// Label of the instance type, set by the cloud controller.
const TYPE: &str = "node.kubernetes.io/instance-type";

/// Label of the zone, set by the cloud controller.
const ZONE: &str = "topology.kubernetes.io/zone";

/// The instance that a Node is, from its provider id (`aws:///ZONE/i-...`) and its labels. `None` for
/// a Node that is none, or that the cloud controller has not marked yet. An agent is not asked: a node
/// could claim to be another one.
pub(super) fn instance(node: &Node) -> Option<Instance> {
    let spec = node.spec.as_ref()?;
    let id = spec.provider_id.as_deref()?.strip_prefix("aws://")?;
    let (zone, id) = id.trim_start_matches('/').split_once('/')?;
    let label = |key: &str| node.labels().get(key).filter(|value| !value.is_empty()).cloned();
    if !id.starts_with("i-") {
        return None;
    }
    Some(Instance {
        id: id.to_owned(),
        kind: label(TYPE)?,
        zone: label(ZONE).unwrap_or_else(|| zone.to_owned()),
        ..Instance::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(provider_id: &str, labels: &[(&str, &str)]) -> Option<Instance> {
        let labels: std::collections::BTreeMap<_, _> = labels.iter().copied().collect();
        let node = json!({"metadata": {"labels": labels}, "spec": {"providerID": provider_id}});
        instance(&serde_json::from_value(node).unwrap())
    }

    #[test]
    fn an_instance_is_known_by_the_nodes_provider_id_and_labels() {
        let kind = (TYPE, "m5.large");
        let found = node("aws:///eu-central-1a/i-0123", &[kind]).unwrap();
        assert_eq!((found.id.as_str(), found.kind.as_str()), ("i-0123", "m5.large"));
        assert_eq!(found.zone, "eu-central-1a");
        let found = node("aws:///x/i-0123", &[kind, (ZONE, "eu-central-1b")]).unwrap();
        assert_eq!(found.zone, "eu-central-1b");
        for other in ["", "gce://p/z/i-1", "aws:///zone", "aws:///zone/fargate-ip-10-0-0-1"] {
            assert_eq!(node(other, &[kind]), None, "{other}");
        }
        assert_eq!(node("aws:///eu-central-1a/i-0123", &[]), None, "its type is not known yet");
    }
}
