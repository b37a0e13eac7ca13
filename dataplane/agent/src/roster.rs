//! Which sockets there are, which proxies accept on them, and what to do when that changes. Pure:
//! events in, actions out, in the order in which they must be done.
//!
//! What it guarantees, whatever order events come in:
//! - A socket gets new connections only while it is held, and from the moment a proxy first served
//!   until none has for the grace period: between two proxies connections wait, they are not refused.
//! - A socket is closed by the agent only after steering left it, so that what waits in it is still
//!   accepted by the proxies, which are told at the same time.
//! - As many sockets are steered to as the newest serving proxy has workers.

use penstock_handover::Socket;
use std::{collections::BTreeMap, net::IpAddr};

/// A conversation with a proxy, in the order in which they began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxyId(pub u64);

/// The most workers that a proxy may have: what one message of the handover can carry.
pub const MAX_WORKERS: usize = penstock_handover::MAX_SOCKETS;

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A proxy introduced itself.
    Hello {
        /// Which.
        proxy: ProxyId,
        /// Addresses of its pod.
        addresses: Vec<IpAddr>,
        /// How many sockets it wants.
        workers: usize,
        /// Sockets that it holds, proven to be transparent listening sockets of this node.
        holds: Vec<Socket>,
    },
    /// A proxy accepts on all sockets that it was given.
    Serving(ProxyId),
    /// A proxy drains, or has ended.
    Gone(ProxyId),
    /// [`Action::Make`] was done: the new sockets.
    Made(Vec<Socket>),
    /// No proxy has served for the grace period.
    Alone,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make this many sockets, then say [`Event::Made`].
    Make(usize),
    /// Keep the sockets that this proxy holds.
    Adopt(Vec<Socket>),
    /// Send all sockets, as they are listed, to the proxy.
    Give(ProxyId, Vec<Socket>),
    /// New connections go to these sockets, in this order, and to no other. None: traffic passes
    /// unchanged.
    Steer(Vec<Socket>),
    /// Addresses of the pods whose target ports are steered.
    Addresses(Vec<IpAddr>),
    /// Let go of these sockets.
    Close(Vec<Socket>),
    /// Nobody serves: say [`Event::Alone`] after the grace period, unless a proxy serves by then.
    Await,
    /// End the conversation and say why.
    Refuse(ProxyId, String),
}

#[derive(Clone, Debug)]
struct Member {
    addresses: Vec<IpAddr>,
    workers: usize,
    serving: bool,
}

/// What the agent knows.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    sockets: Vec<Socket>,
    members: BTreeMap<ProxyId, Member>,
    /// Being made.
    pending: usize,
    /// Unknown at first: an earlier agent's steering may still be in force.
    steered: Option<Vec<Socket>>,
    addresses: Option<Vec<IpAddr>>,
}

impl Roster {
    /// What follows from an event.
    pub fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Hello { proxy, addresses, workers, holds } => {
                self.hello(proxy, addresses, workers, holds, &mut actions);
            }
            Event::Made(sockets) => {
                self.pending = 0;
                self.sockets.extend(sockets);
                self.give_all(&mut actions);
            }
            Event::Serving(proxy) => {
                if let Some(member) = self.members.get_mut(&proxy) {
                    member.serving = true;
                    self.settle(&mut actions);
                }
            }
            Event::Gone(proxy) => self.gone(proxy, &mut actions),
            Event::Alone => {
                if self.newest_serving().is_none() {
                    self.steer(Vec::new(), &mut actions);
                    self.set_addresses(Vec::new(), &mut actions);
                }
            }
        }
        actions
    }

    fn hello(
        &mut self,
        proxy: ProxyId,
        addresses: Vec<IpAddr>,
        workers: usize,
        holds: Vec<Socket>,
        actions: &mut Vec<Action>,
    ) {
        if workers == 0 || workers > MAX_WORKERS {
            let why = format!("{workers} workers; a proxy has 1 to {MAX_WORKERS}");
            actions.push(Action::Refuse(proxy, why));
            return;
        }
        self.members.insert(proxy, Member { addresses, workers, serving: false });
        // Until this agent steers, an earlier agent's steering is in force, to what older proxies hold:
        // a newer proxy may have introduced itself before them.
        let unknown = |name: &Socket| !self.sockets.contains(name);
        let holds: Vec<Socket> = holds.into_iter().filter(unknown).collect();
        let (held, adopts) = (holds.len(), self.steered.is_none() && !holds.is_empty());
        if adopts {
            self.sockets.splice(0..0, holds.iter().copied());
            actions.push(Action::Adopt(holds));
        }
        let missing = workers.saturating_sub(self.sockets.len() + self.pending);
        if missing > 0 {
            self.pending += missing;
            actions.push(Action::Make(missing));
        }
        match self.pending {
            0 if adopts => {
                // What was made for the newer one and is too much was never steered to.
                let surplus =
                    self.sockets.split_off(self.wanted().max(held).min(self.sockets.len()));
                self.give_all(actions);
                if !surplus.is_empty() {
                    actions.push(Action::Close(surplus));
                }
            }
            0 => actions.push(Action::Give(proxy, self.sockets.clone())),
            _ => {}
        }
    }

    fn gone(&mut self, proxy: ProxyId, actions: &mut Vec<Action>) {
        let Some(member) = self.members.remove(&proxy) else { return };
        match self.newest_serving() {
            Some(_) => self.settle(actions),
            None if member.serving => actions.push(Action::Await),
            None => {}
        }
    }

    /// Brings steering and the number of sockets to what the newest serving proxy wants.
    fn settle(&mut self, actions: &mut Vec<Action>) {
        let Some((_, newest)) = self.newest_serving() else { return };
        let workers = newest.workers;
        let mut addresses: Vec<IpAddr> = self
            .members
            .values()
            .filter(|member| member.serving)
            .flat_map(|member| member.addresses.iter().copied())
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        let wanted = self.wanted();
        let steered = self.sockets.iter().take(workers).copied().collect();
        // First, so that an agent that begins anew never steers by a part of what it will steer by.
        self.set_addresses(addresses, actions);
        self.steer(steered, actions);
        if self.sockets.len() > wanted {
            let surplus = self.sockets.split_off(wanted);
            self.give_all(actions);
            actions.push(Action::Close(surplus));
        }
    }

    /// How many sockets there have to be: a proxy on its way may want more than the one that serves.
    fn wanted(&self) -> usize {
        self.members.values().map(|member| member.workers).max().unwrap_or_default()
    }

    fn give_all(&self, actions: &mut Vec<Action>) {
        for proxy in self.members.keys() {
            actions.push(Action::Give(*proxy, self.sockets.clone()));
        }
    }

    fn steer(&mut self, sockets: Vec<Socket>, actions: &mut Vec<Action>) {
        if self.steered.as_ref() != Some(&sockets) {
            self.steered = Some(sockets.clone());
            actions.push(Action::Steer(sockets));
        }
    }

    fn set_addresses(&mut self, addresses: Vec<IpAddr>, actions: &mut Vec<Action>) {
        if self.addresses.as_ref() != Some(&addresses) {
            self.addresses = Some(addresses.clone());
            actions.push(Action::Addresses(addresses));
        }
    }

    fn newest_serving(&self) -> Option<(&ProxyId, &Member)> {
        self.members.iter().rev().find(|(_, member)| member.serving)
    }

    /// Whether a proxy serves.
    pub fn served(&self) -> bool {
        self.newest_serving().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIRST: ProxyId = ProxyId(1);
    const SECOND: ProxyId = ProxyId(2);

    fn sockets(ports: impl IntoIterator<Item = u16>) -> Vec<Socket> {
        ports.into_iter().map(|port| Socket { port }).collect()
    }

    fn hello(proxy: ProxyId, workers: usize, holds: Vec<Socket>) -> Event {
        let addresses = vec![IpAddr::from([10, 0, 0, proxy.0 as u8])];
        Event::Hello { proxy, addresses, workers, holds }
    }

    /// A roster with a first proxy of so many workers, serving.
    fn served_by(workers: u16) -> Roster {
        let mut roster = Roster::default();
        roster.handle(hello(FIRST, workers.into(), vec![]));
        roster.handle(Event::Made(sockets(1..=workers)));
        roster.handle(Event::Serving(FIRST));
        roster
    }

    #[test]
    fn the_first_proxy_gets_a_socket_for_each_worker_and_traffic_once_it_serves() {
        let mut roster = Roster::default();
        assert_eq!(roster.handle(hello(FIRST, 2, vec![])), [Action::Make(2)]);
        let made = roster.handle(Event::Made(sockets([1, 2])));
        assert_eq!(made, [Action::Give(FIRST, sockets([1, 2]))]);
        let serving = roster.handle(Event::Serving(FIRST));
        let addresses = vec![IpAddr::from([10, 0, 0, 1])];
        assert_eq!(serving, [Action::Addresses(addresses), Action::Steer(sockets([1, 2]))]);
    }

    #[test]
    fn an_upgraded_proxy_takes_over_the_same_sockets_while_the_old_one_drains() {
        let mut roster = served_by(2);
        let given = roster.handle(hello(SECOND, 2, vec![]));
        assert_eq!(given, [Action::Give(SECOND, sockets([1, 2]))]);
        let both = vec![IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        assert_eq!(roster.handle(Event::Serving(SECOND)), [Action::Addresses(both)]);
        let left = vec![IpAddr::from([10, 0, 0, 2])];
        assert_eq!(roster.handle(Event::Gone(FIRST)), [Action::Addresses(left)]);
    }

    #[test]
    fn a_restarted_agent_gets_its_sockets_back() {
        let mut roster = Roster::default();
        let actions = roster.handle(hello(FIRST, 2, sockets([7, 8])));
        let back = sockets([7, 8]);
        assert_eq!(actions, [Action::Adopt(back.clone()), Action::Give(FIRST, back.clone())]);
        let actions = roster.handle(Event::Serving(FIRST));
        assert_eq!(actions[1], Action::Steer(back));
    }

    #[test]
    fn what_an_older_proxy_holds_is_steered_to_though_a_newer_one_came_back_first() {
        let mut roster = Roster::default();
        roster.handle(hello(SECOND, 2, vec![]));
        roster.handle(Event::Made(sockets([8, 9])));
        let actions = roster.handle(hello(FIRST, 1, sockets([1])));
        let given = [FIRST, SECOND].map(|proxy| Action::Give(proxy, sockets([1, 8])));
        assert_eq!(actions[0], Action::Adopt(sockets([1])));
        assert_eq!(actions[1..3], given);
        assert_eq!(actions[3], Action::Close(sockets([9])), "two are wanted");
        let actions = roster.handle(Event::Serving(FIRST));
        assert_eq!(actions[1], Action::Steer(sockets([1])), "as before");
        let actions = roster.handle(Event::Serving(SECOND));
        assert_eq!(actions[1], Action::Steer(sockets([1, 8])));
    }

    #[test]
    fn sockets_that_a_second_proxy_holds_are_not_adopted_beside_the_first_ones() {
        let mut roster = served_by(1);
        let actions = roster.handle(hello(SECOND, 1, sockets([9])));
        assert_eq!(actions, [Action::Give(SECOND, sockets([1]))]);
    }

    #[test]
    fn more_workers_get_more_sockets_and_the_old_proxy_accepts_on_them_too() {
        let mut roster = served_by(1);
        assert_eq!(roster.handle(hello(SECOND, 3, vec![])), [Action::Make(2)]);
        let made = roster.handle(Event::Made(sockets([2, 3])));
        let all = sockets([1, 2, 3]);
        assert_eq!(made, [Action::Give(FIRST, all.clone()), Action::Give(SECOND, all.clone())]);
        assert_eq!(roster.handle(Event::Serving(SECOND))[1], Action::Steer(all));
    }

    #[test]
    fn surplus_sockets_are_left_before_they_are_closed() {
        let mut roster = served_by(3);
        roster.handle(hello(SECOND, 1, vec![]));
        let actions = roster.handle(Event::Serving(SECOND));
        assert_eq!(actions[1], Action::Steer(sockets([1])));
        assert!(!actions.iter().any(|a| matches!(a, Action::Close(_))), "the old one serves still");
        let actions = roster.handle(Event::Gone(FIRST));
        let close = Action::Close(sockets([2, 3]));
        assert_eq!(actions[1..], [Action::Give(SECOND, sockets([1])), close]);
    }

    #[test]
    fn between_two_proxies_connections_wait_and_after_the_grace_period_traffic_passes() {
        let mut roster = served_by(1);
        assert_eq!(roster.handle(Event::Gone(FIRST)), [Action::Await]);
        let actions = roster.handle(Event::Alone);
        assert_eq!(actions, [Action::Steer(vec![]), Action::Addresses(vec![])]);
        roster.handle(hello(SECOND, 1, vec![]));
        assert_eq!(roster.handle(Event::Serving(SECOND))[1], Action::Steer(sockets([1])));
        assert_eq!(roster.handle(Event::Alone), [], "somebody serves again");
    }

    #[test]
    fn what_an_earlier_agent_steered_stays_until_a_proxy_serves_or_none_comes() {
        let mut roster = Roster::default();
        assert_eq!(roster.handle(Event::Alone), [Action::Steer(vec![]), Action::Addresses(vec![])]);
        let mut roster = Roster::default();
        let actions = roster.handle(hello(FIRST, 1, sockets([7])));
        assert!(!actions.iter().any(|action| matches!(action, Action::Steer(_))), "{actions:?}");
    }

    #[test]
    fn sockets_for_a_proxy_that_never_served_are_closed_when_it_goes() {
        let mut roster = served_by(1);
        roster.handle(hello(SECOND, 2, vec![]));
        roster.handle(Event::Made(sockets([2])));
        let actions = roster.handle(Event::Gone(SECOND));
        assert_eq!(actions, [Action::Give(FIRST, sockets([1])), Action::Close(sockets([2]))]);
    }

    #[test]
    fn a_proxy_without_workers_or_with_too_many_is_refused_by_name() {
        let mut roster = Roster::default();
        for workers in [0, MAX_WORKERS + 1] {
            let actions = roster.handle(hello(FIRST, workers, vec![]));
            assert!(matches!(&actions[..], [Action::Refuse(FIRST, _)]), "{actions:?}");
        }
    }

    #[derive(Clone, Debug)]
    enum Input {
        Hello(u64, usize),
        Serving(u64),
        Gone(u64),
        Alone,
    }

    fn input() -> impl Strategy<Value = Input> {
        prop_oneof![
            (0..4u64, 1..5usize).prop_map(|(proxy, workers)| Input::Hello(proxy, workers)),
            (0..4u64).prop_map(Input::Serving),
            (0..4u64).prop_map(Input::Gone),
            Just(Input::Alone),
        ]
    }

    proptest! {
        /// Nothing is steered to a socket that is closed, nothing closed that is steered to, and
        /// whoever serves was given every socket that is steered to.
        #[test]
        fn no_connection_ever_goes_where_nobody_accepts(inputs in prop::collection::vec(input(), 1..60)) {
            let mut roster = Roster::default();
            let (mut next, mut open, mut steered) = (1u16, Vec::<Socket>::new(), Vec::<Socket>::new());
            let mut given: BTreeMap<ProxyId, Vec<Socket>> = BTreeMap::new();
            let mut serving = std::collections::BTreeSet::new();
            for input in inputs {
                let event = match input {
                    Input::Hello(proxy, _) | Input::Serving(proxy) if serving.contains(&ProxyId(proxy)) => continue,
                    Input::Hello(proxy, workers) => hello(ProxyId(proxy), workers, vec![]),
                    Input::Serving(proxy) if given.contains_key(&ProxyId(proxy)) => {
                        serving.insert(ProxyId(proxy));
                        Event::Serving(ProxyId(proxy))
                    }
                    Input::Serving(_) => continue,
                    Input::Gone(proxy) => {
                        serving.remove(&ProxyId(proxy));
                        given.remove(&ProxyId(proxy));
                        Event::Gone(ProxyId(proxy))
                    }
                    Input::Alone => Event::Alone,
                };
                let mut queue = std::collections::VecDeque::from(roster.handle(event));
                while let Some(action) = queue.pop_front() {
                    match action {
                        Action::Make(count) => {
                            let made = sockets(next..next + count as u16);
                            next += count as u16;
                            open.extend(made.iter().copied());
                            queue.extend(roster.handle(Event::Made(made)));
                        }
                        Action::Give(proxy, all) => {
                            prop_assert!(all.iter().all(|socket| open.contains(socket)));
                            given.insert(proxy, all);
                        }
                        Action::Steer(to) => {
                            prop_assert!(to.iter().all(|socket| open.contains(socket)));
                            steered = to;
                        }
                        Action::Close(sockets) => {
                            prop_assert!(sockets.iter().all(|socket| !steered.contains(socket)));
                            open.retain(|socket| !sockets.contains(socket));
                        }
                        Action::Adopt(_) | Action::Addresses(_) | Action::Await | Action::Refuse(..) => {}
                    }
                }
                prop_assert_eq!(roster.served(), !serving.is_empty());
                for proxy in &serving {
                    prop_assert!(steered.iter().all(|socket| given[proxy].contains(socket)));
                    prop_assert!(!steered.is_empty());
                }
            }
        }
    }
}
