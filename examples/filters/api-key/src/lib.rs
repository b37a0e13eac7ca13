//! An API-key check: a request with a known key goes on with the tenant's name, any other is
//! answered 401.

use std::collections::HashMap;

use penstock_filter::prelude::*;

/// The configuration: `spec.config` of a `WasmFilter`. Its JSON Schema is made from this type, and
/// what does not fit it is reported with the place where it is wrong.
#[config]
pub struct ApiKey {
    /// The tenant that each key belongs to.
    keys: HashMap<String, String>,
}

/// Checks the header `x-api-key`. A known key becomes the header `x-tenant`, so that the backend
/// never sees the key itself; without one the answer is 401.
#[header_policy]
impl ApiKey {
    // The function is the policy. What it reads are its parameters, what it may change is listed:
    // the gateway gives it nothing else and lets it touch nothing else. `Option` says that it wants
    // to be called also where the header is missing.
    #[writes("x-tenant", "x-api-key")]
    fn request(&self, #[header("x-api-key")] key: Option<&str>) -> Decision {
        match key.and_then(|key| self.keys.get(key)) {
            Some(tenant) => set("x-tenant", tenant).remove("x-api-key").into(),
            None => respond(401).text("a valid x-api-key is needed\n").into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> ApiKey {
        from_json(r#"{ "keys": { "k-1": "blue" } }"#).unwrap()
    }

    #[test]
    fn a_known_key_becomes_the_tenant() {
        let expected = set("x-tenant", "blue").remove("x-api-key").into();
        assert_eq!(policy().request(Some("k-1")), expected);
    }

    #[test]
    fn without_a_known_key_the_answer_is_401() {
        for key in [None, Some(""), Some("k-2")] {
            let Decision::Respond(response) = policy().request(key) else { panic!("{key:?}") };
            assert_eq!(response.status, 401);
        }
    }
}
