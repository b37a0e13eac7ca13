//! Modules from a registry that is a real one, outside of the cluster.

use crate::objects::{edition, filter, programmed, refused, route, rule, seen};
use anyhow::{Context as _, Result, ensure};
use penstock_e2e::{Authority, Load, Shape, Site, edge, filters_folder, get};
use penstock_test_cluster::install::PLAIN_REGISTRY;
use penstock_test_registry::{PASSWORD, RegistryServer, USER, digest};
use serde_json::json;
use std::{fs, net::SocketAddr, path::Path, time::Duration};

pub(crate) const ALL: &[super::Scenario] = &[
    ("modules come from a registry and from the web, and from nowhere else", sources),
    ("a tag that moves is followed, and a registry that is away takes nothing", tags),
];

const SOURCES: &str = "e2e-sources";
const TAGS: &str = "e2e-tags";
const HOST: &str = "echo.example";
const REPOSITORY: &str = "team/stamp";

/// A configuration for `header-rules` by which requests say who handled them.
fn stamp(value: &str) -> String {
    format!("config: {{ request: [{{ set: {{ x-stamp: {value} }} }}] }}")
}

fn plain(folder: &Path) -> Result<RegistryServer> {
    let listen: SocketAddr = PLAIN_REGISTRY.parse()?;
    RegistryServer::plain(folder, listen, &listen.ip().to_string())
}

/// The registry that has a certificate of a private authority, and wants a password.
fn private(folder: &Path, authority: &Authority) -> Result<RegistryServer> {
    let ip = PLAIN_REGISTRY.parse::<SocketAddr>()?.ip();
    let identity = authority.issue(&[&ip.to_string()])?;
    let (certificate, key) = (&identity.certificate_pem, &identity.key_pem);
    RegistryServer::private(folder, SocketAddr::new(ip, 5001), &ip.to_string(), certificate, key)
}

/// The objects by which the private registry is reached: a pull secret and its authority.
fn access(registry: &str, authority: &Authority) -> String {
    let auths = json!({"auths": {registry: {"username": USER, "password": PASSWORD}}});
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": { "name": "pull", "namespace": SOURCES },
        "stringData": { ".dockerconfigjson": auths.to_string() },
    });
    let anchors = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "registry-ca", "namespace": SOURCES },
        "data": { "ca.crt": authority.pem() },
    });
    format!("{secret}\n---\n{anchors}")
}

fn sources(site: &Site) -> Result<()> {
    site.namespace(SOURCES, &["echo"])?;
    let folder = tempfile::tempdir()?;
    let module = fs::read(filters_folder()?.join("header-rules.wasm"))?;
    let (sum, authority) = (digest(&module), Authority::new("registry")?);
    let open = plain(folder.path())?;
    let manifest = open.push(REPOSITORY, "v1", &module)?;
    let closed = private(folder.path(), &authority)?;
    site.apply(&access(&closed.host, &authority))?;

    let (open, closed) = (&open.host, &closed.host);
    let hex = sum.trim_start_matches("sha256:");
    let blob = format!("http://{open}/v2/{REPOSITORY}/blobs/{sum}");
    let (pull, ca) = ("pullSecretRef: { name: pull }", "caRef: { name: registry-ca }");
    let good = [
        ("digest", format!("oci: {{ image: '{open}/{REPOSITORY}@{manifest}' }}")),
        ("tag", format!("oci: {{ image: '{open}/{REPOSITORY}:v1' }}")),
        ("web", format!("http: {{ url: '{blob}', sha256: {hex} }}")),
        ("private", format!("oci: {{ image: '{closed}/{REPOSITORY}:v1', {pull}, {ca} }}")),
    ];
    // What is known of a namespace is not asked for again, whatever the address: so nobody has this.
    let nowhere = "f".repeat(64);
    let unresolved = |reason, part| ("ResolvedRefs", reason, part);
    let bad = [
        (
            "other-sum",
            format!("http: {{ url: '{blob}', sha256: {nowhere} }}"),
            unresolved("DigestMismatch", "nothing of it is used"),
        ),
        (
            "no-password",
            format!("oci: {{ image: '{closed}/{REPOSITORY}:v1', {ca} }}"),
            unresolved("AccessDenied", "name a pull secret"),
        ),
        (
            "no-authority",
            format!("oci: {{ image: '{closed}/{REPOSITORY}:v1', {pull} }}"),
            unresolved("FetchFailed", "name it with caRef"),
        ),
        (
            "no-tag",
            format!("oci: {{ image: '{open}/{REPOSITORY}:v2' }}"),
            unresolved("ModuleNotFound", "push the module"),
        ),
        (
            "metadata",
            format!("http: {{ url: 'http://169.254.169.254/latest', sha256: {nowhere} }}"),
            unresolved("UnsupportedSource", "link-local"),
        ),
        (
            "operator-itself",
            format!("http: {{ url: 'http://127.0.0.1:9090/config', sha256: {nowhere} }}"),
            unresolved("UnsupportedSource", "address of the network"),
        ),
    ];
    let names = good.iter().map(|(name, _)| *name).chain(bad.iter().map(|(name, ..)| *name));
    let rules = names.map(|name| rule(&format!("/{name}"), &[name], "echo")).collect::<Vec<_>>();
    let filters = good
        .iter()
        .map(|(name, module)| (*name, module))
        .chain(bad.iter().map(|(name, module, _)| (*name, module)))
        .map(|(name, module)| {
            filter(SOURCES, name, &format!("{{ module: {{ {module} }}, {} }}", stamp(name)))
        })
        .collect::<String>();
    site.apply(&(edge(SOURCES) + &filters + &route(SOURCES, "echo", "edge", HOST, &rules)))?;
    let address = site.gateway(SOURCES, "edge", 80)?;
    for (name, _) in &good {
        programmed(site, SOURCES, name, &sum)?;
        let seen = seen(&get(address, HOST, &format!("/{name}"))?)?;
        ensure!(seen["headers"]["X-Stamp"][0] == *name, "{seen}");
    }
    for (name, _, status) in bad {
        refused(site, SOURCES, name, status)?;
        let answer = get(address, HOST, &format!("/{name}"))?;
        ensure!(answer.status == 500, "{name}: {answer:?}");
    }
    Ok(())
}

fn tags(site: &Site) -> Result<()> {
    site.namespace(TAGS, &["echo"])?;
    let folder = tempfile::tempdir()?;
    let first = fs::read(filters_folder()?.join("header-rules.wasm"))?;
    let second = edition(&first, 2);
    let mut registry = plain(folder.path())?;
    registry.push(REPOSITORY, "stable", &first)?;
    let of_tag = |value: &str| {
        let image = format!("{PLAIN_REGISTRY}/{REPOSITORY}:stable");
        let spec = format!("{{ module: {{ oci: {{ image: '{image}' }} }}, {} }}", stamp(value));
        filter(TAGS, "stamp", &spec)
    };
    let route = route(TAGS, "echo", "edge", HOST, &[rule("/", &["stamp"], "echo")]);
    site.apply(&(edge(TAGS) + &of_tag("one") + &route))?;
    let address = site.gateway(TAGS, "edge", 80)?;
    let stamped = |value: &str| {
        let seen = seen(&get(address, HOST, "/")?)?;
        ensure!(seen["headers"]["X-Stamp"][0] == value, "{seen}");
        Ok(())
    };
    programmed(site, TAGS, "stamp", &digest(&first))?;
    site.eventually("the tag's first module serves", || stamped("one"))?;

    let shape = Shape { http1: 14, http2: 2, streams: 8, pause: Duration::ZERO };
    let load = Load::start(address, HOST, "/", shape)?;
    registry.push(REPOSITORY, "stable", &second)?;
    programmed(site, TAGS, "stamp", &digest(&second)).context("the tag has moved")?;
    stamped("one")?;

    // Away: what serves goes on, and a change waits for the registry and takes nothing with it.
    registry.stop();
    site.apply(&of_tag("two"))?;
    refused(site, TAGS, "stamp", ("ResolvedRefs", "FetchFailed", "cannot connect"))?;
    stamped("one")?;
    registry.start_again()?;
    site.eventually("the change is served", || stamped("two"))?;
    programmed(site, TAGS, "stamp", &digest(&second))?;
    let tally = load.stop()?;
    let failed = tally.failures.len();
    ensure!(failed == 0, "{failed} requests failed, for example {:?}", tally.failures.first());
    Ok(())
}
