//! Which nodes can announce addresses.

use penstock_stream::{NodeView, Role, SILENCE};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// How long connections wait on a node for its next proxy: its agent keeps the sockets that long.
const BETWEEN_PROXIES: Duration = Duration::from_secs(15);

/// How long a token that could not be examined speaks for all nodes: longer than they wait between two
/// attempts.
const BLIND: Duration = Duration::from_secs(10);

/// Whether the silence of nodes means nothing: they are turned away, because nobody can examine tokens,
/// or were just now. `unexamined` is when one was.
pub(crate) fn blind(unexamined: Option<Instant>, now: Instant) -> bool {
    unexamined.is_some_and(|at| now.saturating_duration_since(at) < BLIND)
}

/// The nodes whose agent and whose proxy are ready, or that are only between two of one kind: an address
/// that moved would break the connections that it has.
#[derive(Debug, Default)]
pub(crate) struct Announcers {
    /// When both were last seen ready.
    ready: BTreeMap<String, Instant>,
}

impl Announcers {
    /// Those nodes by now.
    ///
    /// A node without an agent steers as before, and only its next agent could stop it from answering
    /// for an address; so it stays for as long as a proxy is ready. One without a proxy stays while its
    /// agent keeps connections waiting. One that is silent altogether is gone, unless all are `blind`
    /// (see [`blind`]).
    pub(crate) fn look(
        &mut self,
        views: &[NodeView],
        blind: bool,
        now: Instant,
    ) -> BTreeSet<String> {
        let of = |role, ready: bool| -> BTreeSet<&String> {
            let alive = views.iter().filter(|v| now.saturating_duration_since(v.heard) < SILENCE);
            let of_role = alive.filter(|v| v.identity.role == role && (v.joined || !ready));
            of_role.map(|view| &view.identity.node).collect()
        };
        let (agents, proxies) = (of(Role::Agent, true), of(Role::Proxy, true));
        let lives = of(Role::Agent, false);
        self.ready.retain(|node, since| {
            let between = now.saturating_duration_since(*since) < BETWEEN_PROXIES;
            blind || proxies.contains(node) || (between && lives.contains(node))
        });
        for node in agents.intersection(&proxies) {
            self.ready.insert((*node).clone(), now);
        }
        self.ready.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_stream::Identity;

    /// Views of agent and proxy of a node: `None` where it has said goodbye, else whether it joined and
    /// when it was heard of.
    fn views(said: [Option<(bool, Instant)>; 2]) -> Vec<NodeView> {
        let roles = [Role::Agent, Role::Proxy];
        let view = |(role, said): (Role, Option<(bool, Instant)>)| {
            let (joined, heard) = said?;
            let identity = Identity {
                node: "n".into(),
                pod: format!("{role}"),
                service_account: String::new(),
                role,
            };
            Some(NodeView {
                identity,
                engine: String::new(),
                target: String::new(),
                version: None,
                refused: Vec::new(),
                joined,
                heard,
                connected: true,
            })
        };
        roles.into_iter().zip(said).filter_map(view).collect()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_node_announces_from_when_agent_and_proxy_are_ready() {
        let (mut announcers, now) = (Announcers::default(), Instant::now());
        let (ready, not) = (Some((true, now)), Some((false, now)));
        for said in [[None, ready], [ready, None], [not, ready], [ready, not]] {
            assert!(announcers.look(&views(said), false, now).is_empty(), "{said:?}");
        }
        assert_eq!(
            announcers.look(&views([ready, ready]), false, now),
            BTreeSet::from(["n".into()])
        );
    }

    #[test]
    fn it_stays_between_two_agents_for_as_long_as_a_proxy_serves() {
        let (mut announcers, now) = (Announcers::default(), Instant::now());
        announcers.look(&views([Some((true, now)), Some((true, now))]), false, now);
        let later = now + seconds(600);
        let (ready, not) = (Some((true, later)), Some((false, later)));
        assert!(!announcers.look(&views([None, ready]), false, later).is_empty());
        assert!(!announcers.look(&views([not, ready]), false, later).is_empty());
        assert!(announcers.look(&views([None, None]), false, later).is_empty());
    }

    #[test]
    fn it_stays_between_two_proxies_for_as_long_as_connections_wait() {
        let (mut announcers, now) = (Announcers::default(), Instant::now());
        announcers.look(&views([Some((true, now)), Some((true, now))]), false, now);
        let soon = now + seconds(14);
        assert!(!announcers.look(&views([Some((true, soon)), None]), false, soon).is_empty());
        let late = now + seconds(15);
        assert!(announcers.look(&views([Some((true, late)), None]), false, late).is_empty());
    }

    #[test]
    fn nobody_leaves_while_nobody_can_prove_who_they_are() {
        let (mut announcers, now) = (Announcers::default(), Instant::now());
        announcers.look(&views([Some((true, now)), Some((true, now))]), false, now);
        let later = now + seconds(60);
        assert!(!announcers.look(&[], blind(Some(later - seconds(9)), later), later).is_empty());
        assert!(announcers.look(&[], blind(Some(later - BLIND), later), later).is_empty());
        assert!(!blind(None, later));
    }

    #[test]
    fn a_node_that_is_silent_leaves_when_the_serving_set_does() {
        let (mut announcers, now) = (Announcers::default(), Instant::now());
        let views = views([Some((true, now)), Some((true, now))]);
        assert!(!announcers.look(&views, false, now + seconds(4)).is_empty());
        assert!(announcers.look(&views, false, now + SILENCE).is_empty());
    }
}
