//! Who a node process is: the API server examines its token.

use futures_util::future::BoxFuture;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};
use penstock_stream::{AuthError, Authenticate, Identity, Role};
use std::collections::BTreeMap;

/// For whom a token has to be issued.
pub const AUDIENCE: &str = "penstock-stream";

/// What the API server says of a projected ServiceAccount token (KEP-4193).
const NODE: &str = "authentication.kubernetes.io/node-name";
const POD: &str = "authentication.kubernetes.io/pod-name";

/// ServiceAccounts that play a role, in the namespace of Penstock.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// The namespace.
    pub namespace: String,
    /// The ServiceAccount of the proxies.
    pub proxy: String,
    /// The ServiceAccount of the agents.
    pub agent: String,
}

/// Has the API server examine tokens (TokenReview).
#[derive(Clone)]
pub struct TokenReviews {
    api: Api<TokenReview>,
    accounts: Accounts,
}

impl TokenReviews {
    /// Knows these accounts.
    pub fn new(client: Client, accounts: Accounts) -> Self {
        Self { api: Api::all(client), accounts }
    }

    async fn review(&self, token: &str) -> Result<Identity, AuthError> {
        let review = TokenReview {
            spec: TokenReviewSpec { audiences: Some(vec![AUDIENCE.into()]), token: token.into() },
            ..TokenReview::default()
        };
        let reviewed = self.api.create(&PostParams::default(), &review).await;
        let reviewed = reviewed.map_err(|error| AuthError::Unavailable(error.to_string()))?;
        identity(reviewed.status.unwrap_or_default(), &self.accounts)
    }
}

impl Authenticate for TokenReviews {
    fn authenticate<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Identity, AuthError>> {
        Box::pin(self.review(token))
    }
}

/// What an examined token proves.
fn identity(status: TokenReviewStatus, accounts: &Accounts) -> Result<Identity, AuthError> {
    let invalid = |message: &str| AuthError::Invalid(message.to_owned());
    if let Some(error) = status.error.filter(|error| !error.is_empty()) {
        return Err(AuthError::Invalid(format!(
            "the API server does not accept the token: {error}"
        )));
    }
    if status.authenticated != Some(true) {
        return Err(invalid("the API server does not accept the token"));
    }
    // A server that knows no audiences says none: the token may be meant for anybody.
    if !status.audiences.iter().flatten().any(|audience| audience == AUDIENCE) {
        return Err(AuthError::Invalid(format!(
            "the token is for another audience: project one with audience {AUDIENCE}"
        )));
    }
    let user = status.user.unwrap_or_default();
    let account = user.username.as_deref().and_then(|name| {
        let (namespace, name) = name.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        Some((namespace.to_owned(), name.to_owned()))
    });
    let Some((namespace, name)) = account else {
        return Err(invalid("the token is not of a ServiceAccount"));
    };
    let role = match name.as_str() {
        _ if namespace != accounts.namespace => None,
        name if name == accounts.proxy => Some(Role::Proxy),
        name if name == accounts.agent => Some(Role::Agent),
        _ => None,
    };
    let Some(role) = role else {
        return Err(AuthError::Invalid(format!(
            "ServiceAccount {namespace}/{name} is neither the proxies' nor the agents'"
        )));
    };
    let extra = user.extra.unwrap_or_default();
    let bound = |key| one(&extra, key);
    let (Some(node), Some(pod)) = (bound(NODE), bound(POD)) else {
        return Err(invalid(
            "the token is not bound to a pod on a node: mount a projected token, do not create one",
        ));
    };
    Ok(Identity { node, pod, service_account: format!("{namespace}/{name}"), role })
}

fn one(extra: &BTreeMap<String, Vec<String>>, key: &str) -> Option<String> {
    match extra.get(key)?.as_slice() {
        [value] if !value.is_empty() => Some(value.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn accounts() -> Accounts {
        Accounts { namespace: "p".into(), proxy: "penstock-proxy".into(), agent: "a".into() }
    }

    fn status(change: impl Fn(&mut Value)) -> TokenReviewStatus {
        let mut status = json!({
            "authenticated": true,
            "audiences": ["penstock-stream"],
            "user": {
                "username": "system:serviceaccount:p:penstock-proxy",
                "extra": {NODE: ["node-1"], POD: ["proxy-x"]},
            },
        });
        change(&mut status);
        serde_json::from_value(status).expect("a status")
    }

    #[test]
    fn a_projected_token_of_a_known_account_proves_node_and_pod() {
        let identity = |change: fn(&mut Value)| identity(status(change), &accounts());
        let proxy = identity(|_| {}).expect("valid");
        assert_eq!((proxy.node.as_str(), proxy.pod.as_str()), ("node-1", "proxy-x"));
        assert_eq!((proxy.role, proxy.service_account.as_str()), (Role::Proxy, "p/penstock-proxy"));
        let agent = |s: &mut Value| s["user"]["username"] = json!("system:serviceaccount:p:a");
        assert_eq!(identity(agent).expect("valid").role, Role::Agent);
    }

    #[test]
    fn any_other_token_proves_nothing_and_the_error_says_why() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str); 8] = [
            (|s| s["authenticated"] = json!(false), "does not accept"),
            (|s| s["error"] = json!("token expired"), "token expired"),
            (|s| s["audiences"] = json!(["https://kubernetes"]), "another audience"),
            (|s| s["audiences"] = json!([]), "another audience"),
            (|s| s["user"]["username"] = json!("alice"), "not of a ServiceAccount"),
            (|s| s["user"]["username"] = json!("system:serviceaccount:q:a"), "q/a is neither"),
            (|s| s["user"]["extra"][NODE] = json!([]), "not bound to a pod on a node"),
            (|s| s["user"]["extra"][POD] = json!(["a", "b"]), "not bound to a pod on a node"),
        ];
        for (change, says) in cases {
            match identity(status(change), &accounts()) {
                Err(AuthError::Invalid(message)) => assert!(message.contains(says), "{message}"),
                other => panic!("{says}: {other:?}"),
            }
        }
    }
}
