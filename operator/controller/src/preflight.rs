//! What the operator needs of the API server, looked at once at the start: what is missing is named
//! one by one.

use crate::{core::is_built_in, watch::plural};
use futures_util::{StreamExt as _, stream};
use k8s_openapi::{
    api::authorization::v1::{
        ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, api::PostParams};
use penstock_resources::{KINDS, Kind};

/// Questions at a time.
const AT_A_TIME: usize = 8;

/// Something that the operator does.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Need {
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    verb: &'static str,
    /// In the namespace of Penstock alone.
    own: bool,
}

/// What only some operators do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Does {
    /// Take the taint off nodes.
    pub(crate) untaints: bool,
    /// Look after addresses.
    pub(crate) addresses: bool,
}

/// Names everything that is missing. Nothing waits for it.
pub(crate) async fn look(client: Client, namespace: String, does: Does) {
    definitions(&client).await;
    let api: Api<SelfSubjectAccessReview> = Api::all(client);
    let questions = needs(does).into_iter().map(|need| ask(&api, &namespace, need));
    let missing = stream::iter(questions).buffer_unordered(AT_A_TIME);
    let missing: Vec<Need> = missing.filter_map(|need| async { need }).collect().await;
    for need in &missing {
        let resource = match need.subresource {
            "" => need.resource.to_owned(),
            subresource => format!("{}/{subresource}", need.resource),
        };
        tracing::error!(
            verb = need.verb,
            resource,
            group = need.group,
            namespace = if need.own { namespace.as_str() } else { "" },
            "this is not permitted: add it to the operator's role (the chart has it)"
        );
    }
    if missing.is_empty() {
        tracing::debug!("everything that the operator does is permitted");
    }
}

async fn definitions(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for kind in KINDS.into_iter().filter(|kind| !is_built_in(*kind)) {
        let name = format!("{}.{}", plural(kind), kind.group());
        match api.get_metadata_opt(&name).await {
            Ok(Some(_)) => {}
            Ok(None) => tracing::warn!(
                definition = name,
                "{kind} is not installed: it is left alone, and picked up when its definition \
                 appears (kubectl apply -f the CRDs of the release)"
            ),
            // Whether reading is permitted is asked below.
            Err(error) => tracing::debug!(definition = name, %error, "cannot look"),
        }
    }
}

async fn ask(api: &Api<SelfSubjectAccessReview>, namespace: &str, need: Need) -> Option<Need> {
    let attributes = ResourceAttributes {
        group: Some(need.group.to_owned()),
        resource: Some(need.resource.to_owned()),
        subresource: Some(need.subresource.to_owned()).filter(|s| !s.is_empty()),
        verb: Some(need.verb.to_owned()),
        namespace: need.own.then(|| namespace.to_owned()),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    match api.create(&PostParams::default(), &review).await {
        Ok(review) => {
            let allowed = review.status.is_some_and(|status| status.allowed);
            (!allowed).then_some(need)
        }
        Err(error) => {
            tracing::debug!(%error, "cannot ask what is permitted");
            None
        }
    }
}

/// Everything that the operator does.
fn needs(does: Does) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut add = |own, group, resource, subresource, verbs: &[&'static str]| {
        needs.extend(verbs.iter().map(|verb| Need { group, resource, subresource, verb, own }));
    };
    for kind in KINDS {
        add(false, kind.group(), plural(kind), "", &["get", "list", "watch"]);
    }
    let written = [
        Kind::GatewayClass,
        Kind::Gateway,
        Kind::HttpRoute,
        Kind::WasmFilter,
        Kind::LoadBalancerPool,
    ];
    for kind in written {
        add(false, kind.group(), plural(kind), "status", &["patch"]);
    }
    let definitions = "customresourcedefinitions";
    add(false, "apiextensions.k8s.io", definitions, "", &["get", "list", "watch"]);
    add(false, "authentication.k8s.io", "tokenreviews", "", &["create"]);
    add(false, "events.k8s.io", "events", "", &["create", "patch"]);
    add(true, "coordination.k8s.io", "leases", "", &["create", "get", "update"]);
    add(true, "", "secrets", "", &["create", "update"]);
    add(true, "", "configmaps", "", &["create", "patch"]);
    add(true, "", "services", "", &["create", "delete", "patch"]);
    add(true, "", "services", "status", &["patch"]);
    add(true, "discovery.k8s.io", "endpointslices", "", &["create", "patch"]);
    if does.untaints || does.addresses {
        add(false, "", "nodes", "", &["get", "list", "watch"]);
    }
    if does.untaints {
        add(false, "", "nodes", "", &["patch"]);
    }
    if does.addresses {
        add(false, "penstock.dev", "penstocknodes", "", &["create", "get", "patch"]);
        add(false, "penstock.dev", "penstocknodes", "status", &["patch"]);
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_and_watched_and_nothing_is_needed_twice() {
        let needs = needs(Does { untaints: true, addresses: true });
        for kind in KINDS {
            let watched = needs.iter().any(|n| n.resource == plural(kind) && n.verb == "watch");
            assert!(watched, "{kind}");
        }
        for (at, need) in needs.iter().enumerate() {
            assert!(!needs[at + 1..].contains(need), "{need:?}");
        }
    }
}
