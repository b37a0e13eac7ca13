//! Pull secrets: Secrets of type `kubernetes.io/dockerconfigjson`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Key of the configuration in a Secret.
const KEY: &str = ".dockerconfigjson";

/// User name and password, as a field value has them: base64 of `user:password`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Basic(String);

impl Basic {
    /// The field value of `Authorization`.
    pub(crate) fn header(&self) -> String {
        format!("Basic {}", self.0)
    }
}

impl std::fmt::Debug for Basic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Basic(..)")
    }
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    username: Option<String>,
    password: Option<String>,
    auth: Option<String>,
}

/// Who to be at a registry, by a pull secret. `None`: the Secret says nothing about it.
///
/// # Errors
/// What is wrong with the Secret, without anything of its content.
pub(crate) fn of(secret: &Secret, registry: &str) -> Result<Option<Basic>, String> {
    let data = secret.data.as_ref().and_then(|data| data.get(KEY));
    let Some(ByteString(config)) = data else {
        return Err(format!(
            "it has no key {KEY}; create it with `kubectl create secret docker-registry`"
        ));
    };
    // A message of the JSON reader could quote a password.
    let config: Config = serde_json::from_slice(config)
        .map_err(|_| format!("{KEY} is not the JSON that `docker login` writes"))?;
    let entry = config.auths.into_iter().find(|(key, _)| host(key) == canonical(registry));
    let Some((_, auth)) = entry else { return Ok(None) };
    let basic = match auth {
        Auth { auth: Some(auth), .. } if !auth.is_empty() => {
            let decoded = STANDARD.decode(&auth).unwrap_or_default();
            if !decoded.contains(&b':') {
                return Err(format!("auth of {registry} is not base64 of user:password"));
            }
            auth
        }
        Auth { username: Some(user), password: Some(password), .. } => {
            STANDARD.encode(format!("{user}:{password}"))
        }
        _ => return Err(format!("the entry of {registry} has no user name and password")),
    };
    Ok(Some(Basic(basic)))
}

/// The registry of a key, which may be written as an address.
fn host(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    canonical(key.split('/').next().unwrap_or_default())
}

/// Docker Hub goes by several names.
fn canonical(registry: &str) -> &str {
    match registry {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn secret(key: &str, content: &Value) -> Secret {
        let content = ByteString(content.to_string().into_bytes());
        Secret { data: Some([(key.to_owned(), content)].into()), ..Secret::default() }
    }

    #[test]
    fn the_entry_of_the_registry_is_taken_however_it_is_written() {
        let auth = STANDARD.encode("a:b:c");
        let config = secret(
            KEY,
            &json!({"auths": {
                "r.example:5000": {"auth": auth},
                "https://index.docker.io/v1/": {"username": "a", "password": "b:c"},
                "empty.example": {"auth": "", "username": "a", "password": "b:c"},
            }}),
        );
        for registry in ["r.example:5000", "docker.io", "empty.example"] {
            let basic = of(&config, registry).expect("a config").expect("an entry");
            assert_eq!(basic.header(), format!("Basic {auth}"), "{registry}");
            assert!(!format!("{basic:?}").contains(&auth));
        }
        for registry in ["r.example", "5000", "evil-r.example:5000"] {
            assert_eq!(of(&config, registry), Ok(None));
        }
    }

    #[test]
    fn a_broken_secret_says_what_is_wrong_and_nothing_of_what_it_holds() {
        let entry = |auth: Value| secret(KEY, &json!({"auths": {"r": auth}}));
        for (secret, cause) in [
            (Secret::default(), "has no key"),
            (secret("config.json", &json!({})), "has no key"),
            (secret(KEY, &json!("s3cret")), "not the JSON"),
            (entry(json!({"auth": "s3cret"})), "not base64"),
            (entry(json!({"username": "s3cret"})), "no user name and password"),
        ] {
            let error = of(&secret, "r").expect_err("refused");
            assert!(error.contains(cause) && !error.contains("s3cret"), "{error}");
        }
    }
}
