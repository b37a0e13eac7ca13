//! Registries that send their clients for a token, and elsewhere for the content.

use crate::{
    fixture::{assert_failed, fetch, fetch_with, fetcher, filter, image, pull_secret},
    web_server::{Reply, WebServer, answer},
};
use penstock_filter_host::digest;
use penstock_gateway::FilterReason;
use penstock_modules::Access;
use serde_json::json;
use std::net::SocketAddr;

const MODULE: &[u8] = b"a module";

fn manifest() -> String {
    let layer =
        json!({"mediaType": "application/wasm", "digest": digest(MODULE), "size": MODULE.len()});
    json!({"schemaVersion": 2, "layers": [layer]}).to_string()
}

/// A registry whose token service is at `realm`, and whose content is at `store`.
fn registry(realm: String, store: Option<SocketAddr>) -> WebServer {
    WebServer::start(move |head| {
        if !head.contains("authorization: bearer t0ken") {
            let challenge =
                format!("www-authenticate: Bearer realm=\"{realm}\",service=\"r s\"\r\n");
            return answer("401 Unauthorized", &challenge, b"");
        }
        match (head.contains("/manifests/"), store) {
            (true, _) => answer("200 OK", "", manifest().as_bytes()),
            (false, Some(store)) => {
                let to = format!("location: http://{store}/content?signature=x\r\n");
                answer("307 Temporary Redirect", &to, b"")
            }
            (false, None) => answer("200 OK", "", MODULE),
        }
    })
}

/// Gives a token to whoever has the password.
fn tokens() -> WebServer {
    WebServer::start(|head| match head.contains("authorization: basic") {
        true => answer("200 OK", "", br#"{"token": "t0ken"}"#),
        false => answer("401 Unauthorized", "", b""),
    })
}

#[test]
fn a_token_is_got_with_the_pull_secret_and_shown_to_the_registry_alone() {
    let (tokens, store) = (tokens(), WebServer::start(|_| answer("200 OK", "", MODULE)));
    let registry = registry(format!("http://{}/token", tokens.address), Some(store.address));
    let host = registry.address.to_string();
    let fetcher = fetcher(&host);
    let source = json!({"image": format!("{host}/a/b:v1"), "pullSecretRef": {"name": "s"}});
    let named = filter(json!({"oci": source}));
    assert_failed(fetch(&fetcher, &named), FilterReason::AccessDenied, "Secret s, which does not");
    let secret = pull_secret(&host, "a", "s3cret");
    let access = Access { pull_secret: Some(secret), ..Access::default() };
    assert_eq!(fetch_with(&fetcher, &named, &access).expect("a module"), MODULE);

    let asked = tokens.seen().join("\n");
    assert!(asked.contains("get /token?scope=repository:a/b:pull&service=r%20s "), "{asked}");
    let stored = store.seen().join("\n");
    assert!(stored.contains("get /content?signature=x"), "{stored}");
    assert!(!stored.contains("authorization"), "{stored}");
    let shown = registry.seen().join("\n");
    assert!(shown.contains("bearer t0ken") && !shown.contains("basic"), "{shown}");
}

#[test]
fn without_the_secret_or_with_a_token_service_that_cannot_be_trusted_access_is_denied() {
    let tokens = tokens();
    let wrong = WebServer::start(|_| answer("200 OK", "", br#"{"token": ""}"#));
    let noise = WebServer::start(|_| Reply::Raw(b"HTTP/1.1 200 OK\r\n\r\n<html>".to_vec()));
    for (realm, part) in [
        (format!("http://{}/token", tokens.address), "401"),
        (format!("http://{}/token", wrong.address), "no token"),
        (format!("http://{}/token", noise.address), "no token"),
        ("https://127.0.0.1:1/".to_owned(), "own scheme"),
        ("/token".to_owned(), "own scheme"),
    ] {
        let registry = registry(realm, None);
        let host = registry.address.to_string();
        let result = fetch(&fetcher(&host), &image(&format!("{host}/a:v1")));
        assert_failed(result, FilterReason::AccessDenied, part);
    }
}

#[test]
fn a_manifest_that_is_not_the_one_that_was_asked_for_is_refused() {
    let server = WebServer::start(|_| answer("200 OK", "", manifest().as_bytes()));
    let host = server.address.to_string();
    let other = format!("{host}/a@sha256:{}", "0".repeat(64));
    let result = fetch(&fetcher(&host), &image(&other));
    assert_failed(result, FilterReason::DigestMismatch, "nothing of it is used");
}
