//! Listeners that stand in each other's way.
//!
//! The Gateway API v1.6.1 (`GatewaySpec.listeners`): listeners are distinct by port, protocol and
//! hostname (HTTP, HTTPS, TLS) or by port (TCP, UDP); on one port, HTTP, "HTTPS or TLS" and TCP
//! exclude each other. "If 2 Listeners match all of those criteria", or exclude each other, "then
//! the Listeners are conflicted", and none of them is accepted.

use super::listener::ListenerView;
use crate::condition::Problem;
use crate::{Name, hostname};
use penstock_resources::conditions::reasons;
use std::collections::BTreeMap;

/// What cannot share a port with another one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Transport {
    Plain,
    Tls,
    Tcp,
}

impl Transport {
    fn of(protocol: &str) -> Option<Self> {
        match protocol {
            "HTTP" => Some(Transport::Plain),
            "HTTPS" | "TLS" => Some(Transport::Tls),
            "TCP" => Some(Transport::Tcp),
            // UDP has ports of its own, other protocols are nobody's.
            _ => None,
        }
    }
}

/// Finds the conflicts among the listeners of one Gateway.
pub(super) fn find(listeners: &mut [ListenerView<'_>]) {
    let conflicts: Vec<_> = (0..listeners.len()).map(|at| conflict(listeners, at)).collect();
    for (listener, conflict) in listeners.iter_mut().zip(conflicts) {
        listener.conflict = conflict;
    }
}

fn conflict(listeners: &[ListenerView<'_>], at: usize) -> Option<Problem> {
    let this = &listeners[at];
    let transport = Transport::of(&this.spec.protocol)?;
    let others = listeners.iter().enumerate().filter(|(other, _)| *other != at);
    let on_port = others.map(|(_, l)| l).filter(|l| l.spec.port == this.spec.port);
    let mut hostname_conflict = None;
    for other in on_port {
        let Some(theirs) = Transport::of(&other.spec.protocol) else { continue };
        if theirs != transport {
            return Some(Problem::new(
                reasons::PROTOCOL_CONFLICT,
                format!(
                    "listener {} speaks {} on the same port {}",
                    other.spec.name, other.spec.protocol, this.spec.port
                ),
            ));
        }
        if other.spec.protocol == this.spec.protocol
            && (other.hostname == this.hostname || transport == Transport::Tcp)
        {
            hostname_conflict.get_or_insert_with(|| {
                Problem::new(
                    reasons::HOSTNAME_CONFLICT,
                    format!(
                        "listener {} has the same port, protocol and hostname",
                        other.spec.name
                    ),
                )
            });
        }
    }
    hostname_conflict
}

/// Says which listeners have TLS names in common on one port, so that a client may reuse the
/// connection of one for the other (GEP-3567).
pub(super) fn find_overlaps(listeners: &mut [ListenerView<'_>]) {
    let overlaps: Vec<_> = (0..listeners.len()).map(|at| overlap(listeners, at)).collect();
    for (listener, overlap) in listeners.iter_mut().zip(overlaps) {
        listener.overlap = overlap;
    }
}

fn overlap(listeners: &[ListenerView<'_>], at: usize) -> Option<Problem> {
    let this = &listeners[at];
    let shares_port = |other: &&ListenerView<'_>| {
        other.has_tls() && other.is_valid() && other.spec.port == this.spec.port
    };
    if !this.has_tls() || !this.is_valid() {
        return None;
    }
    let others = listeners.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, l)| l);
    let others: Vec<_> = others.filter(shares_port).collect();
    // "If a controller supports checking for both possible reasons and finds that both are true, it
    // SHOULD set the "OverlappingCertificates" Reason."
    for other in &others {
        if let Some((ours, theirs)) = common_name(this, other) {
            let message = format!(
                "the certificate is for {ours}, that of listener {} for {theirs}: requests for the \
                 other listener's names on one connection are answered 421",
                other.spec.name
            );
            return Some(Problem::new(reasons::OVERLAPPING_CERTIFICATES, message));
        }
    }
    let other =
        others.iter().find(|l| hostname::intersect(&this.hostname, &l.hostname).is_some())?;
    Some(Problem::new(
        reasons::OVERLAPPING_HOSTNAMES,
        format!("hostname overlaps with that of listener {}", other.spec.name),
    ))
}

fn common_name<'a>(
    this: &'a ListenerView<'_>,
    other: &'a ListenerView<'_>,
) -> Option<(&'a str, &'a str)> {
    let names = |l: &'a ListenerView<'_>| l.certificates.iter().flat_map(|c| &c.names);
    names(this).find_map(|ours| {
        let theirs = names(other).find(|theirs| hostname::intersect(ours, theirs).is_some())?;
        Some((ours.as_str(), theirs.as_str()))
    })
}

/// The ports of one machine, which all Gateways share: the older Gateway has what it asked for
/// first.
#[derive(Debug, Default)]
pub(super) struct SharedPorts {
    ports: BTreeMap<i32, (Transport, BTreeMap<String, Name>)>,
}

impl SharedPorts {
    /// Takes the port and hostname for a listener.
    ///
    /// # Errors
    /// `PortUnavailable` when a listener of another Gateway has it.
    pub(super) fn take(
        &mut self,
        gateway: &Name,
        listener: &ListenerView<'_>,
    ) -> Result<(), Problem> {
        let Some(transport) = Transport::of(&listener.spec.protocol) else { return Ok(()) };
        let port = listener.spec.port;
        let (theirs, hostnames) =
            self.ports.entry(port).or_insert_with(|| (transport, BTreeMap::new()));
        let owner = if *theirs == transport {
            hostnames.get(&listener.hostname)
        } else {
            hostnames.values().next()
        };
        if let Some(owner) = owner {
            let what = if *theirs == transport { "with this hostname" } else { "otherwise" };
            return Err(Problem::new(
                reasons::PORT_UNAVAILABLE,
                format!("Gateway {owner} uses port {port} {what}: all Gateways share one machine"),
            ));
        }
        hostnames.insert(listener.hostname.clone(), gateway.clone());
        Ok(())
    }
}
