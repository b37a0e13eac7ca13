//! What a machine makes of what happens, message by message. What follows from many of them is for the
//! simulation (`tests/eni`).

use crate::fixture::{NOW, Vpc, addresses, attached, empty_node};
use penstock_config::address::{Epoch, Held, NodeAddresses, Report, Unit, Verdict};
use penstock_eni::{
    Action, CONSISTENCY, CallId, Eni, Failure, Fill, Input, Limits, Machine, Output, Settings,
    Shared, Time, Watermarks,
};
use std::{collections::BTreeSet, time::Duration};

/// A machine that gives back what is idle for two seconds, and the VPC.
struct Rig {
    machine: Machine,
    shared: Shared,
    now: Time,
    told: NodeAddresses,
}

impl Rig {
    /// An interface with these units, and a leader that may have followed another one.
    fn new(units: BTreeSet<Unit>, took_over: Option<Time>) -> Self {
        let watermarks = Watermarks { pre_allocate: 1, ..Watermarks::default() };
        let release_delay = Duration::from_secs(2);
        let settings = Settings { watermarks, release: true, release_delay, ..Settings::default() };
        let machine = Machine::new(empty_node().instance, settings, 2, took_over, NOW);
        let mut rig =
            Self { machine, shared: Vpc::new().shared(), now: NOW, told: NodeAddresses::default() };
        rig.step(Input::Limits(Some(Limits::one_card(1, 10, true))));
        rig.report(Report::default());
        rig.described(Eni { owned: false, ..attached("eni-0", (0, 0), units) });
        rig
    }

    fn step(&mut self, input: Input) -> Vec<(CallId, Action)> {
        let outputs = self.machine.step(input, &mut self.shared, self.now);
        let mut calls = Vec::new();
        for output in outputs {
            match output {
                Output::Call(id, action) => calls.push((id, action)),
                Output::Tell(told) => self.told = told,
                Output::Describe | Output::Problem(_) => {}
            }
        }
        calls
    }

    fn described(&mut self, eni: Eni) -> Vec<(CallId, Action)> {
        self.step(Input::Described { begun: self.now, enis: vec![eni] })
    }

    fn report(&mut self, report: Report) -> Vec<(CallId, Action)> {
        self.step(Input::Reported(report))
    }

    fn wait(&mut self, duration: Duration) -> Vec<(CallId, Action)> {
        self.now = self.now + duration;
        self.step(Input::Tick)
    }

    fn proposed(&self, last: u8) -> Option<Epoch> {
        self.told.proposals.get(&held(last)).map(|proposal| proposal.epoch)
    }
}

fn held(last: u8) -> Held {
    Held::unit(&"eni-0".into(), addresses(last..last + 1).into_iter().next().unwrap())
}

fn answer(last: u8, epoch: Epoch, verdict: Verdict) -> Report {
    Report { verdicts: [(held(last), (epoch, verdict))].into(), ..Report::default() }
}

fn unassign(last: u8) -> Action {
    Action::Unassign { interface: "eni-0".into(), units: addresses(last..last + 1) }
}

#[test]
fn an_answer_to_an_earlier_proposal_counts_for_nothing() {
    let mut rig = Rig::new(addresses(5..7), None);
    rig.report(Report::default());
    rig.wait(Duration::from_secs(3));
    let first = rig.proposed(5).expect("one of two is more than enough");
    // A pod comes: it is withdrawn. The pod goes: it is proposed again.
    rig.report(Report { pending: 2, ..Report::default() });
    assert_eq!(rig.proposed(5), None);
    rig.report(Report::default());
    rig.wait(Duration::from_secs(3));
    let second = rig.proposed(5).expect("it is proposed again");
    assert!(second > first);
    assert_eq!(rig.report(answer(5, first, Verdict::Fenced)), []);
    let calls = rig.report(answer(5, second, Verdict::Fenced));
    assert_eq!(calls.into_iter().map(|(_, action)| action).collect::<Vec<_>>(), [unassign(5)]);
}

#[test]
fn what_an_earlier_leader_had_fenced_is_brought_to_its_end_when_that_ones_call_cannot_come() {
    let mut rig = Rig::new(addresses(5..6), None);
    // There is room for nothing else.
    rig.step(Input::Limits(Some(Limits::one_card(1, 2, true))));
    let old = Epoch { term: 1, count: 9 };
    rig.report(answer(5, old, Verdict::Fenced));
    let epoch = rig.proposed(5).expect("the new leader takes it over");
    assert!(epoch > old);
    let calls = rig.report(answer(5, epoch, Verdict::Fenced));
    assert!(!calls.iter().any(|(_, action)| *action == unassign(5)), "{calls:?}");
    // Not even pods that wait bring it back.
    rig.report(Report { pending: 5, ..answer(5, epoch, Verdict::Fenced) });
    assert_eq!(rig.proposed(5), Some(epoch));
    let calls = rig.wait(CONSISTENCY);
    assert_eq!(calls.into_iter().map(|(_, action)| action).collect::<Vec<_>>(), [unassign(5)]);
}

#[test]
fn an_interface_whose_call_was_not_answered_is_left_alone_until_a_description_can_show_it() {
    let mut rig = Rig::new(BTreeSet::new(), None);
    // The call was made as soon as the interface was known.
    let id = CallId { term: 2, count: 1 };
    assert_eq!(rig.step(Input::Done(id, Err(Failure::no_answer()))), []);
    let empty = || Eni { owned: false, ..attached("eni-0", (0, 0), BTreeSet::new()) };
    rig.wait(CONSISTENCY - Duration::from_secs(1));
    assert_eq!(rig.described(empty()), [], "it may still take effect");
    rig.wait(Duration::from_secs(1));
    let calls = rig.described(empty());
    let assign = Action::Assign { interface: "eni-0".into(), fill: Fill::Addresses(1) };
    assert_eq!(calls.into_iter().map(|(_, action)| action).collect::<Vec<_>>(), [assign]);
}

#[test]
fn a_leader_that_follows_another_one_believes_the_node_until_descriptions_show_all_of_that_ones_calls()
 {
    let mut rig = Rig::new(addresses(5..7), Some(NOW));
    let units = |rig: &Rig| rig.told.interfaces.values().flat_map(|i| i.units.clone()).count();
    assert_eq!(units(&rig), 0, "the node was not told of them: they may be given back by now");
    let shown = || Eni { owned: false, ..attached("eni-0", (0, 0), addresses(5..7)) };
    rig.wait(CONSISTENCY);
    rig.described(shown());
    assert_eq!(units(&rig), 2);
}

#[test]
fn a_call_that_makes_an_interface_is_repeated_with_the_same_id_when_it_was_not_answered() {
    let mut rig = Rig::new(addresses(5..6), None);
    let limits = Some(Limits::one_card(2, 2, true));
    let mut calls = rig.step(Input::Limits(limits));
    calls.extend(rig.report(Report { pending: 2, ..Report::default() }));
    let [(id, create @ Action::Create { .. })] = calls.as_slice() else { panic!("{calls:?}") };
    rig.step(Input::Done(*id, Err(Failure::no_answer())));
    let again = rig.wait(Duration::from_secs(10));
    assert_eq!(again, [(*id, create.clone())]);
}

#[test]
fn a_node_that_was_told_more_than_this_machine_ever_said_is_told_all_anew() {
    let mut rig = Rig::new(addresses(10..12), None);
    let before = rig.told.clone();
    // What was on its way to an earlier instance of the node's name.
    let seen = Epoch { term: 2, count: before.epoch.count + 20 };
    rig.report(Report { seen, ..Report::default() });
    assert!(rig.told.epoch > seen, "{:?}", rig.told.epoch);
    assert_eq!(rig.told.interfaces, before.interfaces);
    // An earlier leader's word is older in any case.
    let told = rig.told.clone();
    rig.report(Report { seen: Epoch { term: 1, count: 900 }, ..Report::default() });
    assert_eq!(rig.told, told);
}
