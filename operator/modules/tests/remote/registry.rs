//! Modules from a real registry.

use crate::fixture::{
    assert_failed, fetch, fetch_with, fetcher, filter, image, plain, private, pull_secret, push,
};
use k8s_openapi::api::core::v1::ConfigMap;
use penstock_filter_host::digest;
use penstock_gateway::FilterReason;
use penstock_modules::Access;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use std::fs;

#[test]
fn a_tag_is_followed_and_a_digest_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let registry = plain(folder.path());
    let (host, fetcher) = (&registry.host, fetcher(&registry.host));
    let first = push(&registry, "team/filter", "v1", b"one");
    let (tag, pinned) = (format!("{host}/team/filter:v1"), format!("{host}/team/filter@{first}"));
    assert_eq!(fetch(&fetcher, &image(&tag)).expect("a module"), &b"one"[..]);
    assert_eq!(fetch(&fetcher, &image(&pinned)).expect("a module"), &b"one"[..]);

    push(&registry, "team/filter", "v1", b"two");
    assert_eq!(fetch(&fetcher, &image(&tag)).expect("a module"), &b"two"[..]);
    let both = format!("{host}/team/filter:v1@{first}");
    for fetcher in [&fetcher, &self::fetcher(host)] {
        assert_eq!(fetch(fetcher, &image(&pinned)).expect("a module"), &b"one"[..]);
        assert_eq!(fetch(fetcher, &image(&both)).expect("a module"), &b"one"[..]);
    }
}

#[test]
fn what_a_registry_does_not_have_says_so_and_what_it_changed_is_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let registry = plain(folder.path());
    let (host, fetcher) = (&registry.host, fetcher(&registry.host));
    push(&registry, "a", "v1", b"one");
    for missing in ["a:v2", "b:v1", &format!("a@sha256:{}", "0".repeat(64))] {
        let result = fetch(&fetcher, &image(&format!("{host}/{missing}")));
        assert_failed(result, FilterReason::ModuleNotFound, "push the module");
    }
    push(&registry, "a", "large", &vec![0; crate::fixture::LIMIT + 1]);
    let result = fetch(&fetcher, &image(&format!("{host}/a:large")));
    assert_failed(result, FilterReason::TooLarge, "strip it");

    fs::write(registry.file_of(&digest(b"one")), b"0ne").expect("its storage");
    let result = fetch(&fetcher, &image(&format!("{host}/a:v1")));
    assert_failed(result, FilterReason::DigestMismatch, "nothing of it is used");
}

#[test]
fn a_registry_that_stalls_or_is_away_is_left_in_time_and_asked_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut registry = plain(folder.path());
    let fetcher = fetcher(&registry.host);
    push(&registry, "a", "v1", b"one");
    let filter = image(&format!("{}/a:v1", registry.host));

    registry.freeze(true).expect("it runs");
    assert_failed(fetch(&fetcher, &filter), FilterReason::FetchFailed, "within 500ms");
    registry.freeze(false).expect("it runs");
    assert_eq!(fetch(&fetcher, &filter).expect("a module"), &b"one"[..]);

    registry.stop();
    assert_failed(fetch(&fetcher, &filter), FilterReason::FetchFailed, "cannot connect");
    registry.start_again().expect("a registry");
    assert_eq!(fetch(&fetcher, &filter).expect("a module"), &b"one"[..]);
}

/// A CA, and a certificate of it for `localhost` with its key: all PEM.
fn authority() -> (String, String, String) {
    let key = || KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = key();
    let ca = params.self_signed(&ca_key).expect("a certificate").pem();
    let issuer = Issuer::new(params, ca_key);
    let leaf_key = key();
    let leaf = CertificateParams::new(["localhost".to_owned()]).expect("parameters");
    let leaf = leaf.signed_by(&leaf_key, &issuer).expect("a certificate");
    (ca, leaf.pem(), leaf_key.serialize_pem())
}

#[test]
fn a_private_registry_wants_its_ca_and_a_pull_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ca, certificate, key) = authority();
    push(&plain(folder.path()), "a", "v1", b"one");
    let registry = private(folder.path(), &certificate, &key);
    let (host, fetcher) = (&registry.host, fetcher(""));
    let source = json!({
        "image": format!("{host}/a:v1"), "pullSecretRef": {"name": "s"}, "caRef": {"name": "ca"},
    });
    let named = filter(json!({"oci": source}));
    let authorities =
        ConfigMap { data: Some([("ca.crt".to_owned(), ca)].into()), ..ConfigMap::default() };
    let access = |user, password| Access {
        pull_secret: Some(pull_secret(host, user, password)),
        authorities: Some(authorities.clone()),
    };
    let module = fetch_with(&fetcher, &named, &access("a", "s3cret"));
    assert_eq!(module.expect("a module"), &b"one"[..]);

    let result = fetch(&fetcher, &image(&format!("{host}/a:v1")));
    assert_failed(result, FilterReason::FetchFailed, "name it with caRef");
    for (user, password) in [("a", "s3cret!"), ("b", "s3cret")] {
        let result = fetch_with(&fetcher, &named, &access(user, password));
        assert_failed(result, FilterReason::AccessDenied, "pull secret");
    }
    let elsewhere = Access {
        pull_secret: Some(pull_secret("other.example", "a", "s3cret")),
        ..access("a", "s3cret")
    };
    let result = fetch_with(&fetcher, &named, &elsewhere);
    assert_failed(result, FilterReason::AccessDenied, "an entry for it");
}
