//! Pulls from a registry (OCI distribution specification 1.1, "Pull").

use super::{
    cache::Cache,
    challenge::Challenge,
    credentials::Basic,
    http::{Answer, Client, Get},
    location::Location,
    manifest::{self, Descriptor, MANIFESTS, Target},
    reference::Reference,
};
use crate::Failure;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use penstock_gateway::FilterReason;
use rustls::ClientConfig;
use serde::Deserialize;
use std::sync::Arc;

/// Bytes that a manifest may have, the least that registries must allow.
const MANIFEST_LIMIT: u64 = 4 << 20;
/// Bytes that the answer of a token service may have.
const TOKEN_LIMIT: u64 = 64 << 10;

/// A registry, during one pull.
pub(crate) struct Registry<'a> {
    pub(crate) client: &'a Client,
    pub(crate) tls: &'a Arc<ClientConfig>,
    /// Without TLS.
    pub(crate) plain: bool,
    pub(crate) reference: &'a Reference,
    pub(crate) basic: Option<Basic>,
    /// What it accepted last.
    pub(crate) authorization: Option<HeaderValue>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registry<'_> {
    /// The component of the artifact, of at most `limit` bytes. What is in the cache is not
    /// fetched again; a tag is always asked for.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(crate) async fn pull(&mut self, cache: &Cache<'_>, limit: u64) -> Result<Bytes, Failure> {
        let mut wanted = self.reference.wanted().to_owned();
        // An index leads to a manifest, which leads to a layer.
        for _ in 0..2 {
            let manifest = self.manifest(&wanted, cache).await?;
            match manifest::target(&manifest).map_err(invalid)? {
                Target::Component(layer) => return self.layer(&layer, cache, limit).await,
                Target::Manifest(next) => wanted = next.digest,
            }
        }
        Err(invalid("its index leads to another index".to_owned()))
    }

    async fn manifest(&mut self, wanted: &str, cache: &Cache<'_>) -> Result<Bytes, Failure> {
        if let Some(known) = cache.get(wanted) {
            return Ok(known);
        }
        let path = format!("manifests/{wanted}");
        let manifest = self.get(&path, MANIFESTS, MANIFEST_LIMIT).await?;
        if wanted.starts_with("sha256:") {
            cache.put(wanted, &manifest)?;
        }
        Ok(manifest)
    }

    async fn layer(
        &mut self,
        layer: &Descriptor,
        cache: &Cache<'_>,
        limit: u64,
    ) -> Result<Bytes, Failure> {
        if layer.size > limit {
            return Err(Failure::new(
                FilterReason::TooLarge,
                format!(
                    "its layer has {} bytes, the limit is {limit}; build the module for release and \
                     strip it",
                    layer.size
                ),
            ));
        }
        if let Some(known) = cache.get(&layer.digest) {
            return Ok(known);
        }
        let content = self.get(&format!("blobs/{}", layer.digest), "*/*", limit).await?;
        cache.put(&layer.digest, &content)?;
        Ok(content)
    }

    async fn get(&mut self, path: &str, accept: &str, limit: u64) -> Result<Bytes, Failure> {
        let answer = self.ask(path, accept, limit).await?;
        if answer.status != 401 {
            return answer.content();
        }
        self.authorize(&answer.headers).await?;
        self.ask(path, accept, limit).await?.content()
    }

    async fn ask(&self, path: &str, accept: &str, limit: u64) -> Result<Answer, Failure> {
        let scheme = if self.plain { "http" } else { "https" };
        let (api, repository) = (self.reference.api(), &self.reference.repository);
        let at = Location::parse(&format!("{scheme}://{api}/v2/{repository}/{path}"))
            .ok_or_else(|| invalid("it is no address".to_owned()))?;
        let authorization = self.authorization.clone();
        self.client.get(Get { at, accept, authorization, tls: self.tls, limit }).await
    }

    /// Gets what the registry asks for.
    async fn authorize(&mut self, headers: &HeaderMap) -> Result<(), Failure> {
        let fields = headers.get_all(header::WWW_AUTHENTICATE).into_iter();
        let challenge = fields.filter_map(|v| v.to_str().ok()).find_map(Challenge::parse);
        let value = match challenge {
            Some(Challenge::Basic) => self.basic()?.header(),
            Some(Challenge::Bearer { realm, service, scope }) => {
                format!("Bearer {}", self.token(&realm, service, scope).await?)
            }
            None => {
                return Err(denied("the registry asks for neither a password nor a token"));
            }
        };
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| denied("the token or password cannot stand in a field"))?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(())
    }

    fn basic(&self) -> Result<&Basic, Failure> {
        self.basic.as_ref().ok_or_else(|| {
            denied(
                "the registry asks for a password; name a pull secret with an entry for it \
                 (spec.module.oci.pullSecretRef)",
            )
        })
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
    ) -> Result<String, Failure> {
        let scope =
            scope.unwrap_or_else(|| format!("repository:{}:pull", self.reference.repository));
        let join = if realm.contains('?') { '&' } else { '?' };
        let mut address = format!("{realm}{join}scope={}", encode(&scope));
        if let Some(service) = service {
            address.push_str(&format!("&service={}", encode(&service)));
        }
        let at =
            Location::parse(&address).filter(|at| at.secure != self.plain).ok_or_else(|| {
                denied("the registry sends for a token to what is no address of its own scheme")
            })?;
        let basic = self.basic.as_ref().map(Basic::header);
        let mut authorization = basic.and_then(|basic| HeaderValue::try_from(basic).ok());
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        let get = Get {
            at,
            accept: "application/json",
            authorization,
            tls: self.tls,
            limit: TOKEN_LIMIT,
        };
        let answer = self.client.get(get).await?.content()?;
        let token: Option<Token> = serde_json::from_slice(&answer).ok();
        token
            .and_then(|token| token.token.or(token.access_token))
            .filter(|token| !token.is_empty())
            .ok_or_else(|| denied("the token service gave no token"))
    }
}

fn denied(message: &str) -> Failure {
    Failure::new(FilterReason::AccessDenied, message)
}

fn invalid(message: String) -> Failure {
    let remedy = "push the component as a layer of type application/wasm, for example with oras";
    Failure::new(FilterReason::ModuleInvalid, format!("{message}; {remedy}"))
}

/// Percent-encodes a value of a query (RFC 3986, section 2.1).
fn encode(value: &str) -> String {
    value.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_query_are_encoded() {
        assert_eq!(encode("repository:a/b:pull"), "repository:a/b:pull");
        assert_eq!(encode("a b&c=ä"), "a%20b%26c%3D%C3%A4");
    }
}
