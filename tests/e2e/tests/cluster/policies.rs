//! Policies of HTTPRoutes and of a Gateway's listener, from the API server to the pod.

use crate::objects::{filter, from_config_map, route, rule, seen};
use anyhow::{Context as _, Result, ensure};
use penstock_e2e::{Authority, Client, Identity, Site, edge, get};
use rustls::{
    AlertDescription,
    version::{TLS12, TLS13},
};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};

pub(crate) const ALL: &[super::Scenario] = &[
    ("a header policy edits what the pod gets, and the pod sees the client's address", headers),
    ("header, path and TLS policies of a route work together over HTTPS", https),
];

const NAMESPACE: &str = "e2e-policies";
const TLS: &str = "e2e-tls";
const HTTPS: u16 = 443;
/// The port of the listener that has a policy of its own.
const INNER: u16 = 8443;
const SHOP: &str = "a.shop.example";
/// A name of the route's that its TLS policy does not allow.
const OTHER_SHOP: &str = "b.shop.example";
const PLAIN: &str = "plain.example";
const INNER_NAME: &str = "inner.example";
const BILLING: &str = "billing.clients.example";

fn headers(site: &Site) -> Result<()> {
    site.namespace(NAMESPACE, &["on-node1", "on-node2"])?;
    for node in ["node1", "node2"] {
        let deployment = format!("deployment/on-{node}");
        let pinned = json!({"spec": {"template": {"spec": {"nodeName": node}}}}).to_string();
        site.kubectl(&["-n", NAMESPACE, "patch", &deployment, "-p", &pinned])?;
    }
    site.module(NAMESPACE, "header-rules")?;
    let config = "config: { request: [{ set: { x-stamp: one } }] }";
    let rules =
        ["node1", "node2"].map(|node| rule(&format!("/{node}"), &["stamp"], &format!("on-{node}")));
    site.apply(
        &[
            edge(NAMESPACE),
            filter(NAMESPACE, "stamp", &from_config_map("header-rules", config)),
            route(NAMESPACE, "echo", "edge", "echo.example", &rules),
        ]
        .concat(),
    )?;
    for node in ["node1", "node2"] {
        let deployment = format!("deployment/on-{node}");
        site.kubectl(&["-n", NAMESPACE, "rollout", "status", &deployment, "--timeout=60s"])?;
    }
    let v4 = site.gateway(NAMESPACE, "edge", 80)?;
    let v6 = SocketAddr::new(ipv6(site, NAMESPACE)?, 80);
    site.route(NAMESPACE, "echo")?;
    let (client4, client6) = site.cluster().client_address();
    // One node announces the address, so that one of the pods is on it and one is elsewhere.
    for node in ["node1", "node2"] {
        for (address, client) in [(v4, IpAddr::from(client4)), (v6, client6.into())] {
            let what = format!("a pod of {node} answers at {address}");
            let seen = site.eventually(&what, || {
                let seen = seen(&get(address, "echo.example", &format!("/{node}"))?)?;
                ensure!(node_of(site, NAMESPACE, &seen)? == node, "{seen}");
                Ok(seen)
            })?;
            ensure!(seen["headers"]["X-Stamp"][0] == "one", "{seen}");
            let forwarded = seen["headers"]["X-Forwarded-For"].as_array();
            ensure!(forwarded.is_some_and(|all| *all == [client.to_string()]), "{seen}");
        }
    }
    Ok(())
}

/// The IPv6 address of the Gateway.
fn ipv6(site: &Site, namespace: &str) -> Result<IpAddr> {
    site.eventually("the Gateway has an IPv6 address", || {
        let gateway = site.object(namespace, "gateway", "edge")?;
        let addresses = gateway["status"]["addresses"].as_array().context("no addresses")?;
        let mut addresses = addresses.iter().filter_map(|one| one["value"].as_str()?.parse().ok());
        addresses.find(IpAddr::is_ipv6).with_context(|| format!("{}", gateway["status"]))
    })
}

/// The node of the pod that answered.
fn node_of(site: &Site, namespace: &str, seen: &Value) -> Result<String> {
    let pod = seen["pod"].as_str().context("no pod's name")?;
    let pod = site.object(namespace, "pod", pod)?;
    Ok(pod["spec"]["nodeName"].as_str().context("no node")?.to_owned())
}

fn https(site: &Site) -> Result<()> {
    let (servers, clients) = (Authority::new("servers")?, Authority::new("clients")?);
    let server = servers.issue(&["*.shop.example", PLAIN, INNER_NAME])?;
    site.namespace(TLS, &["echo"])?;
    for module in ["header-rules", "path-rewrite", "tls-policy"] {
        site.module(TLS, module)?;
    }
    site.apply(&certificates(&server, &clients))?;
    site.apply(&tls_gateway())?;
    site.apply(&tls_filters())?;
    let inner = "edge, sectionName: inner";
    site.apply(
        &[
            route(
                TLS,
                "shop",
                "edge, sectionName: https",
                "\"*.shop.example\"",
                &[rule("/old", &["workloads", "who", "moved"], "echo")],
            ),
            route(TLS, "plain", "edge", PLAIN, &[rule("/", &[], "echo")]),
            route(TLS, "inner", inner, INNER_NAME, &[rule("/", &[], "echo")]),
        ]
        .concat(),
    )?;
    let https = site.gateway(TLS, "edge", HTTPS)?;
    let inner = SocketAddr::new(https.ip(), INNER);
    for name in ["shop", "plain", "inner"] {
        site.route(TLS, name)?;
    }
    let billing = clients.issue(&[BILLING])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // The first handshake may come before the nodes have what the statuses confirmed last.
    let client = Client::new(&servers, &[&TLS13], Some(&billing))?;
    let answer = site.eventually("a client with a certificate is let in", || {
        let got = runtime.block_on(client.get(https, SHOP, SHOP, "/old/cart?n=1"))?;
        seen(&got.0)
    })?;
    ensure!(answer["path"] == "/new/cart?n=1", "the path policy acts: {answer}");
    let who = &answer["headers"]["X-Client"][0];
    ensure!(*who == format!("dns:{BILLING}"), "what the TLS policy found out: {answer}");
    let forwarded = &answer["headers"]["X-Forwarded-For"][0];
    ensure!(*forwarded == site.cluster().client_address().0.to_string(), "{answer}");
    ensure!(answer["headers"]["X-Forwarded-Proto"][0] == "https", "{answer}");
    runtime.block_on(refusals(&servers, &billing, https, inner))
}

/// Who is turned away, with which alert, and that others are not.
async fn refusals(
    servers: &Authority,
    billing: &Identity,
    https: SocketAddr,
    inner: SocketAddr,
) -> Result<()> {
    let foreign = Authority::new("foreign")?.issue(&[BILLING])?;
    let welcome = Client::new(servers, &[&TLS13], Some(billing))?;
    let nobody = Client::new(servers, &[&TLS13], None)?;
    let old = Client::new(servers, &[&TLS12], Some(billing))?;
    let stranger = Client::new(servers, &[&TLS13], Some(&foreign))?;
    let any = Client::new(servers, &[&TLS12, &TLS13], None)?;
    for (client, address, name, expected) in [
        (&nobody, https, SHOP, AlertDescription::CertificateRequired),
        (&old, https, SHOP, AlertDescription::ProtocolVersion),
        (&stranger, https, SHOP, AlertDescription::UnknownCA),
        (&welcome, https, OTHER_SHOP, AlertDescription::UnrecognisedName),
        // By the listener's own policy, whatever the routes say.
        (&any, inner, PLAIN, AlertDescription::UnrecognisedName),
    ] {
        let alert = client.alert(address, name).await?;
        ensure!(alert == expected, "{name}: {alert:?} instead of {expected:?}");
    }
    for (client, address, name) in
        [(&nobody, https, PLAIN), (&old, https, PLAIN), (&any, inner, INNER_NAME)]
    {
        let (answer, ..) = client.get(address, name, name, "/").await?;
        seen(&answer).with_context(|| format!("{name} has no such policy"))?;
    }
    Ok(())
}

fn certificates(server: &Identity, clients: &Authority) -> String {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "name": "certificate", "namespace": TLS },
        "stringData": { "tls.crt": server.certificate_pem, "tls.key": server.key_pem },
    });
    let anchors = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "anchors", "namespace": TLS },
        "data": { "ca.crt": clients.pem() },
    });
    format!("{secret}\n---\n{anchors}")
}

fn tls_gateway() -> String {
    let listener = |name: &str, port: u16| {
        format!(
            "
    - name: {name}
      port: {port}
      protocol: HTTPS
      tls:
        certificateRefs: [{{ name: certificate }}]
        options: {{ penstock.dev/client-validation: OnDemand }}"
        )
    };
    format!(
        "
apiVersion: penstock.dev/v1alpha1
kind: GatewayConfig
metadata: {{ name: edge, namespace: {TLS} }}
spec:
  tls:
    profiles:
      - {{ name: broad, minVersion: '1.2' }}
      - {{ name: strict, minVersion: '1.3' }}
    defaultProfile: broad
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: edge, namespace: {TLS} }}
spec:
  gatewayClassName: penstock
  infrastructure:
    parametersRef: {{ group: penstock.dev, kind: GatewayConfig, name: edge }}
  tls:
    frontend:
      default:
        validation:
          caCertificateRefs: [{{ group: '', kind: ConfigMap, name: anchors }}]
  listeners:{}{}
",
        listener("https", HTTPS),
        listener("inner", INNER)
    )
}

fn tls_filters() -> String {
    let workloads = format!(
        "config: {{ allowedNames: [{SHOP}], profile: strict, clientCertificate: require, \
         attributes: {{ client: '{{san}}' }} }}"
    );
    let who = "config: { request: [{ set: { x-client: '{attribute.client}' } }] }";
    let moved =
        "config: { rules: [{ match: { prefix: /old }, rewrite: { path: '/new{match.rest}' } }] }";
    let inner = format!(
        "config: {{ allowedNames: [{INNER_NAME}] }}, targetRefs: [{{ group: \
         gateway.networking.k8s.io, kind: Gateway, name: edge, sectionName: inner }}]"
    );
    [
        filter(TLS, "workloads", &from_config_map("tls-policy", &workloads)),
        filter(TLS, "who", &from_config_map("header-rules", who)),
        filter(TLS, "moved", &from_config_map("path-rewrite", moved)),
        filter(TLS, "inner", &from_config_map("tls-policy", &inner)),
    ]
    .concat()
}
