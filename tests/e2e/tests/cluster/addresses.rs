//! How clients get to a Gateway: addresses of pools, and targets of load balancers.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use penstock_e2e::{Site, get};
use penstock_test_cluster::install;
use serde_json::Value;

pub(crate) const ALL: &[super::Scenario] = &[
    ("targets of a load balancer, pods and nodes, lead to the Gateway; health says where", targets),
    ("an exhausted pool is told, and an address that is asked for is given", pools),
];

/// Taint that no proxy tolerates.
const TAINT: &str = "e2e.penstock.dev/no-proxy";

fn gateway(namespace: &str, name: &str, more: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: {name}, namespace: {namespace}, labels: {{ e2e: {namespace} }} }}
spec:
  gatewayClassName: penstock
  listeners: [{{ name: http, port: 80, protocol: HTTP }}]
{more}
"
    )
}

fn targets(site: &Site) -> Result<()> {
    const NAMESPACE: &str = "e2e-targets";
    site.namespace(NAMESPACE, &["echo"])?;
    site.apply(&(gateway(NAMESPACE, "edge", "") + &super::route(NAMESPACE, "edge")))?;
    let address = site.gateway(NAMESPACE, "edge", 80)?;
    site.route(NAMESPACE, "echo")?;
    keeps_the_client(site, address)?;

    let service = service(site, NAMESPACE, "edge")?;
    let spec = &service["spec"];
    ensure!(spec["selector"]["app.kubernetes.io/name"] == "penstock-proxy", "{spec}");
    ensure!(spec["externalTrafficPolicy"] == "Local", "{spec}");
    let port = |value: &Value| {
        let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
        number.filter(|port| *port > 0).with_context(|| format!("no port: {spec}"))
    };
    let (target, node_port) =
        (port(&spec["ports"][0]["targetPort"])?, port(&spec["ports"][0]["nodePort"])?);
    let health = port(&spec["healthCheckNodePort"])?;

    // Targets of type `ip`: what the selector finds.
    let name = service["metadata"]["name"].as_str().context("no name")?;
    let found = endpoints(site, name)?;
    let pods = proxies(site)?;
    ensure!(found == pods && !pods.is_empty(), "{found:?} are targets, {pods:?} are proxies");
    for pod in pods {
        keeps_the_client(site, SocketAddr::new(pod, target))?;
    }
    // Targets of type `instance`, and their health check.
    let nodes = site.cluster().nodes();
    for node in &nodes {
        let (v4, v6) = node.uplink;
        keeps_the_client(site, (v4, node_port).into())?;
        keeps_the_client(site, (v6, node_port).into())?;
        site.eventually("the node is healthy", || healthy(node.uplink.0.into(), health, true))?;
    }
    // A node without a proxy says that it has none, and the others serve on.
    // The backend must not have to leave with the proxy.
    let pod = ["get", "pods", "-n", NAMESPACE, "-o", "jsonpath={.items[0].spec.nodeName}"];
    let busy = site.kubectl(&pod)?;
    let first = nodes.iter().find(|node| node.name() == busy.trim()).context("no node")?;
    let last = nodes.iter().find(|node| node.name() != busy.trim()).context("no other node")?;
    let taint = Taint::set(site, last.name())?;
    site.eventually("the node has no proxy", || healthy(last.uplink.0.into(), health, false))?;
    healthy(first.uplink.0.into(), health, true)?;
    keeps_the_client(site, (first.uplink.0, node_port).into())?;
    drop(taint);
    site.eventually("it has one again", || healthy(last.uplink.0.into(), health, true))?;
    site.eventually("it serves", || keeps_the_client(site, (last.uplink.0, node_port).into()))?;
    site.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]).map(drop)
}

/// The Gateway answers there, and the pod sees this client's address.
fn keeps_the_client(site: &Site, at: SocketAddr) -> Result<()> {
    let answer = get(at, "echo.example", "/").with_context(|| format!("at {at}"))?;
    ensure!(answer.status == 200, "at {at}: {answer:?}");
    let seen: Value = serde_json::from_str(&answer.body)?;
    let (v4, v6) = site.cluster().client_address();
    let client = if at.is_ipv4() { v4.to_string() } else { v6.to_string() };
    ensure!(seen["headers"]["X-Forwarded-For"][0] == client, "at {at}: {seen}");
    Ok(())
}

fn healthy(node: IpAddr, port: u16, expected: bool) -> Result<()> {
    let answer = get(SocketAddr::new(node, port), "node", "/healthz")?;
    ensure!((answer.status == 200) == expected, "{answer:?}");
    Ok(())
}

fn service(site: &Site, namespace: &str, gateway: &str) -> Result<Value> {
    let label = format!(
        "gateway.networking.k8s.io/gateway-name={gateway},penstock.dev/gateway-namespace={namespace}"
    );
    let all = ["get", "services", "-n", install::NAMESPACE, "-l", &label, "-o", "json"];
    let all: Value = serde_json::from_str(&site.kubectl(&all)?)?;
    match all["items"].as_array().map(Vec::as_slice) {
        Some([service]) => Ok(service.clone()),
        _ => anyhow::bail!("there is not one Service: {all}"),
    }
}

/// The ready endpoints of a Service, sorted.
fn endpoints(site: &Site, service: &str) -> Result<Vec<IpAddr>> {
    let label = format!("kubernetes.io/service-name={service}");
    let slices = ["get", "endpointslices", "-n", install::NAMESPACE, "-l", &label, "-o", "json"];
    let slices: Value = serde_json::from_str(&site.kubectl(&slices)?)?;
    let mut addresses = Vec::new();
    for slice in slices["items"].as_array().into_iter().flatten() {
        let all = slice["endpoints"].as_array().into_iter().flatten();
        for endpoint in all.filter(|endpoint| endpoint["conditions"]["ready"] == true) {
            addresses.push(endpoint["addresses"][0].as_str().context("no address")?.parse()?);
        }
    }
    addresses.sort();
    Ok(addresses)
}

/// The addresses of the proxies' pods, sorted.
fn proxies(site: &Site) -> Result<Vec<IpAddr>> {
    let query = "jsonpath={.items[*].status.podIPs[*].ip}";
    let label = "app.kubernetes.io/name=penstock-proxy";
    let found =
        site.kubectl(&["get", "pods", "-n", install::NAMESPACE, "-l", label, "-o", query])?;
    let mut addresses: Vec<IpAddr> =
        found.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    addresses.sort();
    Ok(addresses)
}

/// A node that proxies leave, until this is dropped.
struct Taint<'a>(&'a Site, String);

impl<'a> Taint<'a> {
    fn set(site: &'a Site, node: &str) -> Result<Self> {
        site.kubectl(&["taint", "node", node, &format!("{TAINT}=:NoExecute")])?;
        Ok(Self(site, node.to_owned()))
    }
}

impl Drop for Taint<'_> {
    fn drop(&mut self) {
        let _ = self.0.kubectl(&["taint", "node", &self.1, &format!("{TAINT}-")]);
    }
}

/// A pool of one address beside the one that all scenarios share, which must not take these Gateways.
const SMALL: &str = "
apiVersion: penstock.dev/v1alpha1
kind: LoadBalancerPool
metadata: { name: e2e-pools }
spec:
  gatewaySelector: { matchLabels: { e2e: e2e-pools } }
  ranges: [{ start: 10.88.0.210, stop: 10.88.0.211 }]
";
const NOT_THESE: &str = r#"{"spec":{"gatewaySelector":{"matchExpressions":[
    {"key":"e2e","operator":"NotIn","values":["e2e-pools"]}]}}}"#;

fn pools(site: &Site) -> Result<()> {
    const NAMESPACE: &str = "e2e-pools";
    site.namespace(NAMESPACE, &["echo"])?;
    let _pools = Pools::set(site)?;
    // An address that is asked for is given, though a lower one is free.
    let asked = "  addresses: [{ type: IPAddress, value: 10.88.0.211 }]";
    site.apply(&(gateway(NAMESPACE, "asks", asked) + &super::route(NAMESPACE, "asks")))?;
    let address = site.gateway(NAMESPACE, "asks", 80)?;
    ensure!(address.ip().to_string() == "10.88.0.211", "{address}");
    site.route(NAMESPACE, "echo")?;
    keeps_the_client(site, address)?;
    // The next gets what is left, and the last nothing.
    site.apply(&gateway(NAMESPACE, "second", ""))?;
    let address = site.gateway(NAMESPACE, "second", 80)?;
    ensure!(address.ip().to_string() == "10.88.0.210", "{address}");
    site.apply(&gateway(NAMESPACE, "third", ""))?;
    site.apply(&gateway(NAMESPACE, "takes", asked))?;
    let unprogrammed = |name: &str, reason: &str, message: &str| {
        site.eventually(&format!("Gateway {name} says why it has no address"), || {
            let gateway = site.object(NAMESPACE, "gateway", name)?;
            let conditions = gateway["status"]["conditions"].as_array().context("none")?;
            let condition = conditions.iter().find(|c| c["type"] == "Programmed");
            let condition = condition.context("no condition")?;
            let said = condition["message"].as_str().unwrap_or_default();
            let right = condition["status"] == "False" && condition["reason"] == reason;
            ensure!(right && said.contains(message), "{condition}");
            Ok(())
        })
    };
    unprogrammed("third", "AddressNotAssigned", "no LoadBalancerPool that selects the Gateway")?;
    unprogrammed("takes", "AddressNotUsable", "Gateway e2e-pools/asks has the address")?;
    let pool = site.object("", "loadbalancerpool", "e2e-pools")?;
    ensure!(pool["status"]["used"] == 2 && pool["status"]["free"] == "0", "{pool}");
    // What is given back goes to who waits.
    site.kubectl(&["-n", NAMESPACE, "delete", "gateway", "second"])?;
    let address = site.gateway(NAMESPACE, "third", 80)?;
    ensure!(address.ip().to_string() == "10.88.0.210", "{address}");
    site.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]).map(drop)
}

/// The pools as these Gateways need them, until this is dropped.
struct Pools<'a>(&'a Site);

impl<'a> Pools<'a> {
    fn set(site: &'a Site) -> Result<Self> {
        let this = Self(site);
        site.kubectl(&["patch", "loadbalancerpool", "lan", "--type=merge", "-p", NOT_THESE])?;
        site.apply(SMALL)?;
        Ok(this)
    }
}

impl Drop for Pools<'_> {
    fn drop(&mut self) {
        let _ = self.0.kubectl(&["delete", "loadbalancerpool", "e2e-pools", "--ignore-not-found"]);
        let any = r#"{"spec":{"gatewaySelector":null}}"#;
        let _ = self.0.kubectl(&["patch", "loadbalancerpool", "lan", "--type=merge", "-p", any]);
    }
}
