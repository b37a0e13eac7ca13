//! Modules from web servers.

use crate::{
    fixture::{LIMIT, assert_failed, fetch, fetch_with, fetcher, filter},
    web_server::{Reply, WebServer, answer},
};
use penstock_filter_host::digest;
use penstock_gateway::FilterReason;
use penstock_modules::{Access, FetchOptions, Fetcher};
use penstock_resources::WasmFilter;
use serde_json::json;
use std::time::{Duration, Instant};

const MODULE: &[u8] = b"a module";

fn at(url: &str) -> WasmFilter {
    let sum = digest(MODULE);
    filter(json!({"http": {"url": url, "sha256": sum.trim_start_matches("sha256:")}}))
}

#[test]
fn a_module_is_fetched_once_and_kept_by_its_digest() {
    let server = WebServer::start(|_| answer("200 OK", "", MODULE));
    let fetcher = fetcher("");
    let filter = at(&format!("http://{}/a/m.wasm?v=1", server.address));
    for _ in 0..2 {
        assert_eq!(fetch(&fetcher, &filter).expect("a module"), MODULE);
    }
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].starts_with("get /a/m.wasm?v=1 http/1.1\n"), "{seen:?}");
}

#[test]
fn what_a_server_answers_instead_of_the_module_has_a_reason_and_a_remedy() {
    let redirect = |to: &str| answer("302 Found", &format!("location: {to}\r\n"), b"");
    let server = WebServer::start(move |head| match head.split(' ').nth(1).unwrap_or_default() {
        "/other" => answer("200 OK", "", b"another module"),
        "/404" => answer("404 Not Found", "", b"s3cret"),
        "/403" => answer("403 Forbidden", "", b""),
        "/503" => answer("503 Service Unavailable", "", b""),
        "/large" => answer("200 OK", "", &vec![0; LIMIT + 1]),
        "/endless" => Reply::Raw([&b"HTTP/1.1 200 OK\r\n\r\n"[..], &vec![0; LIMIT * 2]].concat()),
        "/cut" => Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort".to_vec()),
        "/none" => Reply::Raw(Vec::new()),
        "/noise" => Reply::Raw(b"\0\0\0\0\r\n\r\n".to_vec()),
        "/loop" => redirect("/loop"),
        "/https" => redirect("https://127.0.0.1/m.wasm"),
        "/file" => redirect("file:///etc/passwd"),
        "/metadata" => redirect("http://169.254.169.254/latest/meta-data/"),
        _ => answer("418 I'm a teapot", "", b""),
    });
    let fetcher = fetcher("");
    for (path, reason, part) in [
        ("/other", FilterReason::DigestMismatch, "nothing of it is used"),
        ("/404", FilterReason::ModuleNotFound, "correct the name"),
        ("/403", FilterReason::AccessDenied, "pull secret"),
        ("/503", FilterReason::FetchFailed, "asked again"),
        ("/teapot", FilterReason::FetchFailed, "418"),
        ("/large", FilterReason::TooLarge, "strip it"),
        ("/endless", FilterReason::TooLarge, "strip it"),
        ("/cut", FilterReason::FetchFailed, "broke"),
        ("/none", FilterReason::FetchFailed, "broke"),
        ("/noise", FilterReason::FetchFailed, "broke"),
        ("/loop", FilterReason::UnsupportedSource, "more than 5 times"),
        ("/https", FilterReason::UnsupportedSource, "no http address"),
        ("/file", FilterReason::UnsupportedSource, "no http address"),
        ("/metadata", FilterReason::UnsupportedSource, "link-local"),
    ] {
        let url = format!("http://{}{path}", server.address);
        assert_failed(fetch(&fetcher, &at(&url)), reason, part);
    }
}

#[test]
fn a_server_that_stalls_or_drips_is_left_in_time_and_asked_again_later() {
    let server = WebServer::start(|head| match head.split(' ').nth(1).unwrap_or_default() {
        "/silent" => Reply::Stall(Vec::new()),
        "/stops" => Reply::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort".to_vec()),
        _ => Reply::Drip,
    });
    let fetcher = fetcher("");
    for (path, part) in [
        ("/silent", "did not begin an answer within 500ms"),
        ("/stops", "stopped in its answer within 500ms"),
        ("/drips", "did not end its answer within 2s"),
    ] {
        let began = Instant::now();
        let url = format!("http://{}{path}", server.address);
        assert_failed(fetch(&fetcher, &at(&url)), FilterReason::FetchFailed, part);
        assert!(began.elapsed() < Duration::from_secs(5), "{path}");
    }
}

#[test]
fn a_redirect_of_the_same_scheme_is_followed() {
    let server = WebServer::start(|head| match head.split(' ').nth(1).unwrap_or_default() {
        "/a/latest" => answer("307 Temporary Redirect", "location: v1\r\n", b""),
        "/a/v1" => answer("200 OK", "", MODULE),
        _ => answer("404 Not Found", "", b""),
    });
    let url = format!("http://{}/a/latest", server.address);
    assert_eq!(fetch(&fetcher(""), &at(&url)).expect("a module"), MODULE);
}

#[test]
fn nobody_who_writes_a_filter_reaches_what_only_the_operator_can() {
    let server = WebServer::start(|_| answer("200 OK", "", MODULE));
    let fetcher = Fetcher::new(FetchOptions::default()).expect("a fetcher");
    for host in ["127.0.0.1", "localhost", "0.0.0.0"] {
        let url = format!("http://{host}:{}/m.wasm", server.address.port());
        let result = fetch(&fetcher, &at(&url));
        assert_failed(result, FilterReason::UnsupportedSource, "address of the network");
    }
    assert!(server.seen().is_empty());
}

#[test]
fn a_ca_that_is_named_must_be_there_and_readable() {
    let sum = digest(MODULE).replace("sha256:", "");
    let source = json!({"url": "https://127.0.0.1:1/", "sha256": sum, "caRef": {"name": "ca"}});
    let filter = filter(json!({"http": source}));
    let fetcher = fetcher("");
    let result = fetch(&fetcher, &filter);
    assert_failed(result, FilterReason::AccessDenied, "ConfigMap ca, which does not exist");
    for content in ["{}", r#"{"ca.crt": ""}"#, r#"{"ca.crt": "text"}"#] {
        let map =
            json!({"data": serde_json::from_str::<serde_json::Value>(content).expect("JSON")});
        let map = serde_json::from_value(map).expect("a ConfigMap");
        let access = Access { authorities: Some(map), ..Access::default() };
        let result = fetch_with(&fetcher, &filter, &access);
        assert_failed(result, FilterReason::AccessDenied, "put PEM certificates under ca.crt");
    }
}
