//! A Gateway under load while something fails.

use anyhow::{Result, ensure};
use penstock_e2e::{Load, Shape, Site, Steady, Tally, edge, get};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// 26 requests in flight, on both versions of HTTP: each waits at the backend for a while.
const SHAPE: Shape = Shape { http1: 10, http2: 2, streams: 8, pause: Duration::ZERO };
const SLOW: &str = "/?delay=60ms";
/// Requests in flight that a scenario must have had.
const IN_FLIGHT: usize = 20;
const HOST: &str = "echo.example";

/// A Gateway with a backend on every node.
pub(crate) struct World<'s> {
    pub(crate) site: &'s Site,
    pub(crate) namespace: &'static str,
    pub(crate) address: SocketAddr,
}

/// Load, and a watch that no condition flaps.
pub(crate) struct Watched<'s> {
    load: Load,
    steady: Steady<'s>,
}

impl<'s> World<'s> {
    /// Makes it in a namespace of its own.
    pub(crate) fn new(site: &'s Site, namespace: &'static str) -> Result<Self> {
        site.namespace(namespace, &["echo"])?;
        site.apply(&edge(namespace))?;
        let mut world = Self { site, namespace, address: SocketAddr::from(([0; 4], 0)) };
        world.round("begin", "")?;
        world.address = site.gateway(namespace, "edge", 80)?;
        site.route(namespace, "echo")?;
        site.eventually("it is served", || world.serves("begin"))?;
        Ok(world)
    }

    /// Changes the route: the backend sees this name in `x-round`. `filter` is one more filter, or
    /// empty.
    pub(crate) fn round(&self, name: &str, filter: &str) -> Result<()> {
        let namespace = self.namespace;
        let stamp = format!(
            "{{ type: RequestHeaderModifier, requestHeaderModifier: {{ set: [{{ name: x-round, value: {name} }}] }} }}"
        );
        let comma = if filter.is_empty() { "" } else { ", " };
        self.site.apply(&format!(
            "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: echo, namespace: {namespace} }}
spec:
  parentRefs: [{{ name: edge }}]
  rules:
    - filters: [{stamp}{comma}{filter}]
      backendRefs: [{{ name: echo, port: 80 }}]
"
        ))
    }

    /// Whether a request meets that round of the route.
    pub(crate) fn serves(&self, round: &str) -> Result<()> {
        let answer = get(self.address, HOST, "/")?;
        let seen = answer.body.contains(&format!("\"X-Round\": [\n   \"{round}\""))
            || answer.body.contains(&format!("\"X-Round\":[\"{round}\"]"));
        ensure!(answer.status == 200 && seen, "{answer:?}");
        Ok(())
    }

    /// Makes a change and gives the time until it is served.
    pub(crate) fn change(&self, round: &str) -> Result<Duration> {
        let begin = Instant::now();
        self.round(round, "")?;
        self.site.eventually(&format!("round {round} is served"), || self.serves(round))?;
        Ok(begin.elapsed())
    }

    /// The node that answers for the address.
    pub(crate) fn announcer(&self) -> Result<String> {
        self.site.announcer(self.address.ip())
    }

    /// Begins to send requests and to watch the Gateway.
    pub(crate) fn watched(&self) -> Result<Watched<'s>> {
        let steady = Steady::watch(self.site, self.namespace, "edge")?;
        let load = Load::start(self.address, HOST, SLOW, SHAPE)?;
        self.site.eventually("requests are in flight", || {
            ensure!(load.in_flight() >= IN_FLIGHT && load.answered() > 0);
            Ok(())
        })?;
        Ok(Watched { load, steady })
    }
}

impl Watched<'_> {
    /// Ends both; no more requests were lost than were in flight at a time, all others answered, and
    /// `Programmed` never fell. Gives how many were lost.
    pub(crate) fn end_after_loss(self) -> Result<usize> {
        let tally = self.load.stop()?;
        let (answered, lost) = (tally.answered, tally.failures.len());
        let most = SHAPE.http1 + SHAPE.http2 * SHAPE.streams;
        ensure!(lost <= most && answered > most, "{answered} answered, {:?}", tally.failures);
        self.steady.end()?;
        Ok(lost)
    }

    /// Ends both; no request has failed, and `Programmed` never fell.
    pub(crate) fn end(self) -> Result<Tally> {
        let tally = self.load.stop()?;
        let (answered, longest) = (tally.answered, tally.percentile(1.0));
        println!("  {answered} requests were answered, the slowest in {longest:.1?}");
        ensure!(tally.failures.is_empty(), "{} failed: {:?}", tally.failures.len(), tally.failures);
        self.steady.end()?;
        Ok(tally)
    }
}
