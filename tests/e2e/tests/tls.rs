//! Decision 7: TLS policies of routes act at the handshake and cannot be walked round. The gateway is
//! a process, the policy is the one that ships, the clients are rustls.

use anyhow::{Context as _, Result, ensure};
use penstock_e2e::{
    Authority, Backend, Client, Gateway, Identity, filters_folder, free_address, penstock,
};
use rustls::{
    AlertDescription, HandshakeKind, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use std::{
    fmt::Write as _,
    net::SocketAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

const BOTH: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];
const BILLING: &str = "billing.clients.example";
const OPS: &str = "ops.clients.example";
/// Of the billing clients' policy, for the names where it must have one of these SANs.
const BILLING_ONLY: &str = "{ clientCertificate: require, allowedSans: [{ dns: billing.clients.example }], \
     attributes: { client: \"{san}\" } }";

/// A gateway with two Gateways in it: `edge`, TLS 1.2 unless a policy says more, and `hard`, TLS 1.3
/// and a policy of its own on its listener.
struct Site {
    /// Of servers.
    servers: Authority,
    /// Of clients: what `tls.frontend` trusts.
    clients: Authority,
    gateway: Gateway,
    edge: SocketAddr,
    hard: SocketAddr,
}

impl Site {
    fn start() -> Result<Self> {
        let (servers, clients) = (Authority::new("servers")?, Authority::new("clients")?);
        let (edge, hard) = (free_address(), free_address());
        let backend = Backend::start("app", Duration::ZERO)?;
        let files = [
            ("certificate.json", secret(&server(&servers)?)),
            ("anchors.json", anchors(&clients)),
            ("gateways.yaml", gateways(edge, hard)),
            ("filters.yaml", filters(BILLING_ONLY, 1)?),
            ("routes.yaml", routes()),
            ("backend.yaml", service(&backend)),
        ];
        let files = files.each_ref().map(|(name, content)| (*name, content.as_str()));
        let gateway = Gateway::start(&files, &["--workers", "2"])?;
        Ok(Self { servers, clients, gateway, edge, hard })
    }

    fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
    ) -> Result<Client> {
        Client::new(&self.servers, versions, identity)
    }

    /// The status of `GET path` where server name and Host are both `name`.
    async fn status(&self, client: &Client, name: &str, path: &str) -> Result<u16> {
        let answer = client.get(self.edge, name, name, path).await;
        Ok(answer.with_context(|| format!("{name}{path}"))?.0.status)
    }

    /// Waits until a change of `filters.yaml` is served: its edition is seen.
    async fn edition(&self, client: impl Fn() -> Result<Client>, edition: u32) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let (answer, ..) =
                client()?.get(self.edge, "plain.example", "plain.example", "/").await?;
            if answer.header("x-edition") == Some(&edition.to_string()) {
                return Ok(());
            }
            ensure!(Instant::now() < end, "the change does not arrive: {}", self.gateway.stderr());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn server(authority: &Authority) -> Result<Identity> {
    // A wildcard directly below a top-level domain is no name for webpki.
    let hosts = ["billing", "ops", "plain", "strict", "both", "younger", "misplaced", "broad"];
    let names = hosts.map(|host| format!("{host}.example"));
    let names = names.iter().map(String::as_str).chain(["*.names.example"]);
    authority.issue(&names.collect::<Vec<_>>())
}

fn secret(identity: &Identity) -> String {
    let (certificate, key) = (&identity.certificate_pem, &identity.key_pem);
    serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "name": "certificate" },
        "stringData": { "tls.crt": certificate, "tls.key": key },
    })
    .to_string()
}

fn anchors(authority: &Authority) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "anchors" },
        "data": { "ca.crt": authority.pem() },
    })
    .to_string()
}

fn gateways(edge: SocketAddr, hard: SocketAddr) -> String {
    let mut text = String::from(
        "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: penstock }
spec: { controllerName: penstock.dev/gateway-controller }
",
    );
    for (name, port, default) in [("edge", edge.port(), "broad"), ("hard", hard.port(), "strict")] {
        let _ = write!(
            text,
            "---
apiVersion: penstock.dev/v1alpha1
kind: GatewayConfig
metadata: {{ name: {name} }}
spec:
  tls:
    profiles:
    - {{ name: broad, minVersion: \"1.2\" }}
    - {{ name: strict, minVersion: \"1.3\" }}
    defaultProfile: {default}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: {name} }}
spec:
  gatewayClassName: penstock
  infrastructure:
    parametersRef: {{ group: penstock.dev, kind: GatewayConfig, name: {name} }}
  tls:
    frontend:
      default:
        validation:
          caCertificateRefs: [{{ group: \"\", kind: ConfigMap, name: anchors }}]
  listeners:
  - name: https
    port: {port}
    protocol: HTTPS
    tls:
      certificateRefs: [{{ name: certificate }}]
      options: {{ penstock.dev/client-validation: OnDemand }}
"
        );
    }
    text
}

/// The policies; `edition` is shown by every answer of plain.example.
fn filters(billing: &str, edition: u32) -> Result<String> {
    let dist = filters_folder()?;
    let target =
        "  targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: hard }]\n";
    let edition = format!("{{ response: [{{ set: {{ x-edition: \"{edition}\" }} }}] }}");
    let mut text = String::new();
    for (name, module, config, more) in [
        ("billing", "tls-policy", billing, ""),
        (
            "ops",
            "tls-policy",
            "{ clientCertificate: require, allowedSans: [{ dns: ops.clients.example }] }",
            "",
        ),
        ("names", "tls-policy", "{ allowedNames: [a.names.example] }", ""),
        ("strict", "tls-policy", "{ profile: strict }", ""),
        ("broad", "tls-policy", "{ profile: broad }", ""),
        ("own", "tls-policy", "{ allowedNames: [broad.example] }", target),
        ("who", "header-rules", "{ request: [{ set: { x-client: \"{attribute.client}\" } }] }", ""),
        ("edition", "header-rules", &edition, ""),
    ] {
        let module = dist.join(module).with_extension("wasm");
        let _ = write!(
            text,
            "---
apiVersion: penstock.dev/v1alpha1
kind: WasmFilter
metadata: {{ name: {name} }}
spec:
  module: {{ file: {{ path: {} }} }}
  config: {config}
{more}",
            module.display()
        );
    }
    Ok(text)
}

fn routes() -> String {
    [
        route("edge", "billing", "billing.example", "/", &["billing", "who"], &[]),
        route("edge", "ops", "ops.example", "/", &["ops"], &[]),
        route("edge", "plain", "plain.example", "/", &["edition"], &[]),
        route("edge", "names", "\"*.names.example\"", "/", &["names"], &[]),
        route("edge", "strict", "strict.example", "/", &["strict"], &[]),
        // Files have no creation time: the first by name is the older one.
        route("edge", "a-older", "both.example", "/a", &["billing"], &[]),
        route("edge", "b-younger", "both.example, younger.example", "/b", &["ops"], &[]),
        route("edge", "misplaced", "misplaced.example", "/", &[], &["billing"]),
        route("hard", "broad", "broad.example", "/", &["broad"], &[]),
    ]
    .concat()
}

fn route(
    gateway: &str,
    name: &str,
    hosts: &str,
    path: &str,
    filters: &[&str],
    at_backend: &[&str],
) -> String {
    let references = |filters: &[&str]| {
        let reference = |filter: &&str| {
            format!(
                "{{ type: ExtensionRef, \
                 extensionRef: {{ group: penstock.dev, kind: WasmFilter, name: {filter} }} }}"
            )
        };
        filters.iter().map(reference).collect::<Vec<_>>().join(", ")
    };
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name} }}
spec:
  parentRefs: [{{ name: {gateway} }}]
  hostnames: [{hosts}]
  rules:
  - matches: [{{ path: {{ type: PathPrefix, value: {path} }} }}]
    filters: [{}]
    backendRefs: [{{ name: app, port: 80, filters: [{}] }}]
",
        references(filters),
        references(at_backend)
    )
}

fn service(backend: &Backend) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{ name: app, namespace: default }}
spec: {{ ports: [{{ name: http, port: 80 }}] }}
---
{}",
        backend.endpoint_slice("default", "app")
    )
}

#[tokio::test]
async fn decision_7_a_policy_of_a_route_acts_at_the_handshake() -> Result<()> {
    let site = Site::start()?;
    let (billing, ops) = (site.clients.issue(&[BILLING])?, site.clients.issue(&[OPS])?);
    let stranger = Authority::new("strangers")?.issue(&[BILLING])?;
    for versions in BOTH {
        let nobody = site.client(versions, None)?;
        let alert = nobody.alert(site.edge, "billing.example").await?;
        ensure!(alert == AlertDescription::CertificateRequired, "without certificate: {alert:?}");
        let alert = site.client(versions, Some(&ops))?.alert(site.edge, "billing.example").await?;
        ensure!(alert == AlertDescription::AccessDenied, "another SAN: {alert:?}");
        let alert = site.client(versions, Some(&stranger))?;
        let alert = alert.alert(site.edge, "billing.example").await?;
        ensure!(alert == AlertDescription::UnknownCA, "another authority: {alert:?}");

        let client = site.client(versions, Some(&billing))?;
        let (answer, ..) = client.get(site.edge, "billing.example", "billing.example", "/").await?;
        ensure!(answer.status == 200, "the right SAN: {answer:?}");
        let seen = answer.header("x-client");
        ensure!(seen == Some(&format!("dns:{BILLING}")), "later policies see who: {answer:?}");
        ensure!(site.status(&nobody, "plain.example", "/").await? == 200, "other names ask nobody");
    }
    let nobody = site.client(&[&TLS13], None)?;
    let status = site.status(&nobody, "misplaced.example", "/").await?;
    ensure!(status == 500, "a TLS policy at a backendRef is refused, not skipped: {status}");
    Ok(())
}

#[tokio::test]
async fn decision_7_no_request_comes_in_by_a_connection_for_another_name() -> Result<()> {
    let site = Site::start()?;
    let billing = site.clients.issue(&[BILLING])?;
    let client = site.client(&[&TLS13], Some(&billing))?;

    // The certificate is good for all of these names, so a browser would use one connection.
    let mut coalesced = client.http2(site.edge, "billing.example").await?;
    for (host, status) in [
        ("billing.example", 200),
        ("ops.example", 421),
        ("strict.example", 421),
        ("plain.example", 200),
        ("billing.example", 200),
    ] {
        let answer = coalesced.get(host, "/").await?;
        ensure!(answer.status == status, "{host} on billing's connection: {answer:?}");
    }
    let mut plain = client.http2(site.edge, "plain.example").await?;
    for (host, status) in
        [("billing.example", 421), ("a.names.example", 421), ("plain.example", 200)]
    {
        let answer = plain.get(host, "/").await?;
        ensure!(answer.status == status, "{host} on plain's connection: {answer:?}");
    }
    for versions in BOTH {
        let client = site.client(versions, Some(&billing))?;
        for host in ["billing.example", "BILLING.example:443"] {
            let (answer, ..) = client.get(site.edge, "plain.example", host, "/").await?;
            ensure!(answer.status == 421, "a foreign Host by HTTP/1.1, {host}: {answer:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn decision_7_no_session_outlives_its_policy() -> Result<()> {
    let site = Site::start()?;
    let (billing, ops) = (site.clients.issue(&[BILLING])?, site.clients.issue(&[OPS])?);
    let clients: Vec<Client> =
        BOTH.iter().map(|v| site.client(v, Some(&billing))).collect::<Result<_>>()?;
    let handshake = async |client: &Client| {
        let (answer, kind, _) =
            client.get(site.edge, "billing.example", "billing.example", "/").await?;
        ensure!(answer.status == 200, "{answer:?}");
        anyhow::Ok(kind)
    };
    for client in &clients {
        ensure!(handshake(client).await? != HandshakeKind::Resumed, "the first");
        ensure!(handshake(client).await? == HandshakeKind::Resumed, "the same policy resumes");
    }
    let mut open = clients[1].http2(site.edge, "billing.example").await?;
    ensure!(open.get("billing.example", "/").await?.status == 200, "before the change");
    let mut other = clients[1].http2(site.edge, "plain.example").await?;
    ensure!(other.get("plain.example", "/").await?.status == 200, "before the change");

    // Still good for this client, but another version.
    let more = BILLING_ONLY.replace("allowedSans: [", "allowedSans: [{ dns: more.example }, ");
    site.gateway.write("filters.yaml", &filters(&more, 2)?)?;
    site.gateway.reload()?;
    site.edition(|| site.client(&[&TLS13], None), 2).await?;
    for client in &clients {
        ensure!(handshake(client).await? != HandshakeKind::Resumed, "another version: in full");
        ensure!(handshake(client).await? == HandshakeKind::Resumed, "and from then on as before");
    }
    // The open connection satisfied the old version only: it is told to go, and a request that comes
    // before it knows is not served. Others stay.
    let end = Instant::now() + Duration::from_secs(10);
    while let Ok(answer) = open.get("billing.example", "/").await {
        ensure!(answer.status == 421, "by the old version's connection: {answer:?}");
        ensure!(Instant::now() < end, "the old version's connection stays");
    }
    ensure!(other.get("plain.example", "/").await?.status == 200, "it has no policy that changed");

    // No longer good for it: a session does not help.
    let closed = BILLING_ONLY.replace(BILLING, OPS);
    site.gateway.write("filters.yaml", &filters(&closed, 3)?)?;
    site.gateway.reload()?;
    site.edition(|| site.client(&[&TLS13], None), 3).await?;
    for (client, versions) in clients.iter().zip(BOTH) {
        let alert = client.alert(site.edge, "billing.example").await?;
        ensure!(alert == AlertDescription::AccessDenied, "judged again: {alert:?}");
        let welcome = site.client(versions, Some(&ops))?;
        let status = site.status(&welcome, "billing.example", "/").await?;
        ensure!(status == 200, "the new policy is in force");
    }
    Ok(())
}

#[tokio::test]
async fn decision_7_a_policy_that_is_new_on_a_name_ends_the_connections_from_before() -> Result<()>
{
    let site = Site::start()?;
    let billing = site.clients.issue(&[BILLING])?;
    let client = site.client(&[&TLS13], Some(&billing))?;
    let (edge, plain) = (site.edge, "plain.example");
    let mut before = [client.http1(edge, plain).await?, client.http2(edge, plain).await?];
    let mut other = [
        client.http1(edge, "billing.example").await?,
        client.http2(edge, "billing.example").await?,
    ];
    for (connections, name) in [(&mut before, plain), (&mut other, "billing.example")] {
        for connection in connections {
            ensure!(connection.get(name, "/").await?.status == 200, "{name} before the change");
        }
    }

    // By an ExtensionRef of the route: a policy that these clients would satisfy.
    let route_of = |filters: &[&str]| route("edge", "plain", plain, "/", filters, &[]);
    let changed = routes().replace(&route_of(&["edition"]), &route_of(&["strict", "edition"]));
    ensure!(changed != routes(), "the route is found");
    site.gateway.write("routes.yaml", &changed)?;
    site.gateway.reload()?;
    for connection in &before {
        connection.ended().await.context("no policy judged it, and its name has one now")?;
    }
    for connection in &mut other {
        let answer =
            connection.get("billing.example", "/").await.context("its name is the same")?;
        ensure!(answer.status == 200, "{answer:?}");
    }
    ensure!(site.status(&client, plain, "/").await? == 200, "a new connection is judged");
    let alert = site.client(&[&TLS12], None)?.alert(edge, plain).await?;
    ensure!(alert == AlertDescription::ProtocolVersion, "and not every one let in: {alert:?}");

    // By targetRefs: for all names of the listener.
    let late = "---
apiVersion: penstock.dev/v1alpha1
kind: WasmFilter
metadata: { name: late }
spec:
  config: { allowedNames: [billing.example] }
  targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }]
  module: { file: { path: ";
    let module = filters_folder()?.join("tls-policy.wasm");
    let late = format!("{}{late}{} }} }}\n", filters(BILLING_ONLY, 1)?, module.display());
    site.gateway.write("filters.yaml", &late)?;
    site.gateway.reload()?;
    for connection in &other {
        connection.ended().await.context("its listener has a policy more")?;
    }
    ensure!(site.status(&client, "billing.example", "/").await? == 200, "judged by both");
    let alert = client.alert(edge, plain).await?;
    ensure!(alert == AlertDescription::UnrecognisedName, "not on the listener's list: {alert:?}");
    Ok(())
}

#[tokio::test]
async fn decision_7_names_and_versions_are_only_ever_tightened() -> Result<()> {
    let site = Site::start()?;
    let [old, new] = [site.client(BOTH[0], None)?, site.client(BOTH[1], None)?];
    for client in [&old, &new] {
        ensure!(site.status(client, "a.names.example", "/").await? == 200, "on the list");
        let alert = client.alert(site.edge, "b.names.example").await?;
        ensure!(alert == AlertDescription::UnrecognisedName, "not on the list: {alert:?}");
        ensure!(site.status(client, "plain.example", "/").await? == 200, "another route's name");
    }
    let alert = old.alert(site.edge, "strict.example").await?;
    ensure!(alert == AlertDescription::ProtocolVersion, "TLS 1.2 under strict: {alert:?}");
    ensure!(site.status(&new, "strict.example", "/").await? == 200, "TLS 1.3 under strict");

    // The Gateway `hard` says TLS 1.3; its route's policy asks for less.
    let alert = old.alert(site.hard, "broad.example").await?;
    ensure!(alert == AlertDescription::ProtocolVersion, "a route cannot lower it: {alert:?}");
    let (answer, ..) = new.get(site.hard, "broad.example", "broad.example", "/").await?;
    ensure!(answer.status == 200, "{answer:?}");
    // A policy on the listener itself, by targetRefs, is in force for all names and for none.
    let alert = new.alert(site.hard, "plain.example").await?;
    ensure!(alert == AlertDescription::UnrecognisedName, "not on the listener's list: {alert:?}");
    let nameless = Client::nameless(&site.servers, BOTH[1])?;
    let alert = nameless.alert(site.hard, "broad.example").await?;
    ensure!(alert == AlertDescription::UnrecognisedName, "no server name at all: {alert:?}");
    Ok(())
}

#[tokio::test]
async fn decision_7_of_two_routes_that_disagree_the_older_wins() -> Result<()> {
    let site = Site::start()?;
    let (billing, ops) = (site.clients.issue(&[BILLING])?, site.clients.issue(&[OPS])?);
    let client = site.client(&[&TLS13], Some(&billing))?;
    ensure!(site.status(&client, "both.example", "/a").await? == 200, "the older route's policy");
    ensure!(site.status(&client, "both.example", "/b").await? == 500, "the other answers 500");
    let client = site.client(&[&TLS13], Some(&ops))?;
    let alert = client.alert(site.edge, "both.example").await?;
    ensure!(alert == AlertDescription::AccessDenied, "its policy is not in force: {alert:?}");
    let status = site.status(&client, "younger.example", "/b").await?;
    ensure!(status == 200, "but is on the name that only it has: {status}");

    let mut check = Command::new(penstock()?);
    check.args(["check", "-o", "json", "-f"]).arg(site.gateway.folder());
    let output = check.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(1), "{:?} {text}", output.status);
    let message =
        text.lines().find(|line| line.contains("disagrees")).context("no such message")?;
    ensure!(message.contains("default/a-older") && text.contains("Conflicted"), "{text}");
    Ok(())
}

/// What a load saw.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    requests: AtomicUsize,
    handshakes: AtomicUsize,
}

#[tokio::test]
async fn a_certificate_is_rotated_under_load_and_no_connection_drops() -> Result<()> {
    const ROTATIONS: usize = 5;
    let site = Site::start()?;
    let client = site.client(&[&TLS13], None)?;
    let seen = Arc::new(Seen::default());
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..3 {
        // One connection from the first certificate to the last: a request that fails ends it.
        let mut connection = client.http2(site.edge, "plain.example").await?;
        let seen = Arc::clone(&seen);
        load.spawn(async move {
            while !seen.stop.load(Relaxed) {
                let answer = connection.get("plain.example", "/").await.context("lived on")?;
                ensure!(answer.status == 200, "{answer:?}");
                seen.requests.fetch_add(1, Relaxed);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            anyhow::Ok(())
        });
    }
    for versions in BOTH {
        let (client, seen, edge) = (site.client(versions, None)?, Arc::clone(&seen), site.edge);
        load.spawn(async move {
            while !seen.stop.load(Relaxed) {
                let (answer, ..) =
                    client.get(edge, "plain.example", "plain.example", "/").await.context("new")?;
                ensure!(answer.status == 200, "{answer:?}");
                seen.handshakes.fetch_add(1, Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            anyhow::Ok(())
        });
    }
    for rotation in 1..=ROTATIONS {
        let identity = server(&site.servers)?;
        site.gateway.write("certificate.json", &secret(&identity))?;
        site.gateway.reload()?;
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            // Without a session from before: one that is resumed shows no certificate.
            let fresh = site.client(&[&TLS13], None)?;
            let (_, _, leaf) = fresh.get(site.edge, "plain.example", "plain.example", "/").await?;
            if leaf == identity.leaf {
                break;
            }
            ensure!(Instant::now() < end, "rotation {rotation}: {}", site.gateway.stderr());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Some more under the new one.
        let (requests, more) = (seen.requests.load(Relaxed), Instant::now());
        while seen.requests.load(Relaxed) < requests + 100 {
            ensure!(more.elapsed() < Duration::from_secs(20), "the load stands still");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    seen.stop.store(true, Relaxed);
    while let Some(done) = load.join_next().await {
        done??;
    }
    let (requests, handshakes) = (seen.requests.load(Relaxed), seen.handshakes.load(Relaxed));
    ensure!(handshakes > ROTATIONS, "only {handshakes} new connections");
    println!("{ROTATIONS} rotations, {requests} requests on 3 connections, {handshakes} new ones");
    Ok(())
}
