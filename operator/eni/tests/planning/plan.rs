//! What is planned, rule by rule.

use crate::fixture::{NOW, Vpc, addresses, attached, block, empty_node, secs_ago};
use penstock_config::address::{Epoch, Held, Unit};
use penstock_eni::{
    Action, Card, Fill, Limits, Node, ProblemReason, Release, ReleaseState, Settings, Time,
    Watermarks,
};

fn create(subnet: &str, fill: Fill, place: (u8, u8)) -> Action {
    let groups = ["sg-node".to_owned()].into();
    Action::Create { subnet: subnet.into(), groups, fill, place }
}

fn assign(interface: &str, fill: Fill) -> Action {
    Action::Assign { interface: interface.into(), fill }
}

#[test]
fn a_new_node_fills_its_first_interface_with_one_call() {
    let node = empty_node();
    assert_eq!(Vpc::new().actions(&node), [assign("eni-0", Fill::Addresses(8))]);
}

#[test]
fn a_node_whose_first_interface_is_left_alone_gets_a_second_one_with_all_addresses_in_one_call() {
    let mut node = empty_node();
    node.settings.first_interface_index = 1;
    assert_eq!(Vpc::new().actions(&node), [create("subnet-a", Fill::Addresses(8), (0, 1))]);
}

#[test]
fn what_does_not_fit_on_one_interface_goes_on_the_next_ones_at_once() {
    let mut node = empty_node();
    node.demand.pending = 20;
    assert_eq!(
        Vpc::new().actions(&node),
        [
            assign("eni-0", Fill::Addresses(9)),
            create("subnet-a", Fill::Addresses(9), (0, 1)),
            create("subnet-a", Fill::Addresses(2), (0, 2)),
        ]
    );
}

#[test]
fn an_instance_that_takes_no_more_says_how_many_addresses_are_missing_and_what_to_do() {
    let mut node = empty_node();
    node.demand.pending = 40;
    let plan = Vpc::new().plan(&node);
    assert_eq!(plan.actions.len(), 3);
    let problem = plan.problem.unwrap();
    assert_eq!(problem.reason, ProblemReason::InstanceFull);
    assert_eq!(problem.missing, 40 - 27);
    assert!(problem.message.contains("m5.large takes 3 interfaces"), "{}", problem.message);
}

#[test]
fn prefixes_are_asked_for_in_sixteens_and_single_addresses_where_the_subnet_has_none() {
    let mut node = empty_node();
    node.settings.prefixes = true;
    node.demand.pending = 20;
    let mut vpc = Vpc::new();
    assert_eq!(vpc.actions(&node), [assign("eni-0", Fill::Prefixes(2))]);
    // Fragmented: a new interface in a sibling subnet.
    vpc.subnet("subnet-a").fragmented_until = Some(Time(NOW.0 + 1));
    assert_eq!(vpc.actions(&node), [create("subnet-b", Fill::Prefixes(2), (0, 1))]);
    // All of them: single addresses.
    vpc.subnet("subnet-b").fragmented_until = Some(Time(NOW.0 + 1));
    let singles = [
        assign("eni-0", Fill::Addresses(9)),
        create("subnet-a", Fill::Addresses(9), (0, 1)),
        create("subnet-a", Fill::Addresses(2), (0, 2)),
    ];
    assert_eq!(vpc.actions(&node), singles);
    // And back to prefixes, beside the single ones, when they are worth a try again.
    vpc.subnet("subnet-a").fragmented_until = Some(NOW);
    node.enis.get_mut(&"eni-0".into()).unwrap().units = addresses(4..9);
    assert_eq!(vpc.actions(&node), [assign("eni-0", Fill::Prefixes(1))]);
}

#[test]
fn an_instance_that_is_not_nitro_gets_single_addresses_whatever_the_settings_say() {
    let mut node = empty_node();
    node.settings.prefixes = true;
    node.limits = Some(Limits::one_card(3, 10, false));
    assert_eq!(Vpc::new().actions(&node), [assign("eni-0", Fill::Addresses(8))]);
}

#[test]
fn a_full_subnet_sends_new_interfaces_to_a_sibling_and_takes_what_is_left_of_all() {
    let mut node = empty_node();
    let mut vpc = Vpc::new();
    vpc.subnet("subnet-a").free = 3;
    assert_eq!(
        vpc.actions(&node),
        [assign("eni-0", Fill::Addresses(3)), create("subnet-b", Fill::Addresses(5), (0, 1))]
    );
    // Two interfaces of one plan do not get the same addresses.
    vpc.subnet("subnet-b").free = 8;
    node.demand.pending = 14;
    assert_eq!(
        vpc.actions(&node),
        [assign("eni-0", Fill::Addresses(3)), create("subnet-b", Fill::Addresses(7), (0, 1)),]
    );
    node.demand.pending = 0;
    vpc.subnet("subnet-b").free = 0;
    node.enis.get_mut(&"eni-0".into()).unwrap().units = addresses(4..7);
    vpc.subnet("subnet-a").free = 0;
    let plan = vpc.plan(&node);
    assert_eq!(plan.actions, []);
    let problem = plan.problem.unwrap();
    assert_eq!((problem.reason, problem.missing), (ProblemReason::NoSubnet, 5));
}

#[test]
fn what_is_on_its_way_is_not_asked_for_again() {
    let mut node = empty_node();
    node.running = vec![assign("eni-0", Fill::Addresses(8))];
    // The ninth waits for the call's answer, the tenth does not fit.
    for (pending, actions) in
        [(8, vec![]), (9, vec![]), (10, vec![create("subnet-a", Fill::Addresses(1), (0, 1))])]
    {
        node.demand.pending = pending;
        assert_eq!(Vpc::new().actions(&node), actions, "{pending} pods");
    }
}

#[test]
fn an_interface_that_was_made_is_attached_and_its_addresses_count_meanwhile() {
    let mut node = empty_node();
    let mut eni = attached("eni-1", (0, 1), addresses(20..28));
    eni.attachment = None;
    node.enis.insert(eni.id.clone(), eni);
    let attach = Action::Attach { interface: "eni-1".into(), place: (0, 1) };
    assert_eq!(Vpc::new().actions(&node), [attach]);
}

#[test]
fn an_interface_that_nothing_can_come_of_is_deleted() {
    let mut node = empty_node();
    let mut eni = attached("eni-3", (0, 1), addresses(20..28));
    eni.attachment = None;
    node.enis.insert(eni.id.clone(), eni);
    for (id, index) in [("eni-1", 1), ("eni-2", 2)] {
        node.enis.insert(id.into(), attached(id, (0, index), addresses(30..39)));
    }
    // The instance has no place for it.
    let delete = Action::Delete { interface: "eni-3".into() };
    assert_eq!(Vpc::new().actions(&node), std::slice::from_ref(&delete));
    // It has nothing any more: it was detached to be deleted.
    node.enis.remove(&"eni-2".into());
    node.enis.get_mut(&"eni-3".into()).unwrap().units.clear();
    assert_eq!(Vpc::new().actions(&node), [delete]);
}

#[test]
fn a_new_attachment_is_marked_to_end_with_the_instance_after_its_addresses_serve() {
    let mut node = empty_node();
    let mut eni = attached("eni-1", (0, 1), addresses(20..28));
    eni.attachment.as_mut().unwrap().delete_on_termination = false;
    node.enis.insert(eni.id.clone(), eni);
    let (interface, attachment) = ("eni-1".into(), "eni-attach-eni-1".into());
    let mark = Action::DeleteOnTermination { interface, attachment, delete: true };
    assert_eq!(Vpc::new().actions(&node), [mark]);
    node.settings.delete_on_termination = false;
    assert_eq!(Vpc::new().actions(&node), []);
}

#[test]
fn each_network_card_takes_as_many_interfaces_as_it_has_room_for() {
    let mut node = empty_node();
    let cards = [(0, Card { interfaces: 2 }), (1, Card { interfaces: 2 })].into();
    node.limits = Some(Limits { addresses: 3, interfaces: 4, cards, prefixes: false });
    node.demand.pending = 100;
    let places = Vpc::new().actions(&node).into_iter().filter_map(|action| match action {
        Action::Create { place, .. } => Some(place),
        _ => None,
    });
    assert_eq!(places.collect::<Vec<_>>(), [(0, 1), (1, 1), (1, 2)]);
}

#[test]
fn interfaces_with_the_excluded_tags_and_those_before_the_first_index_are_left_alone() {
    let mut node = empty_node();
    let mut eni = attached("eni-1", (0, 1), addresses(20..28));
    eni.tags.insert("use".into(), "storage".into());
    node.enis.insert(eni.id.clone(), eni);
    assert_eq!(node.available(), 8);
    node.settings.exclude_interface_tags = [("use".to_owned(), "storage".to_owned())].into();
    assert_eq!(node.available(), 0);
    node.settings.exclude_interface_tags.clear();
    node.settings.first_interface_index = 2;
    assert_eq!(node.available(), 0);
}

#[test]
fn primary_addresses_are_for_pods_only_where_the_settings_say_so_and_never_the_nodes_own() {
    let mut node = empty_node();
    node.enis.insert("eni-1".into(), attached("eni-1", (0, 1), addresses(20..22)));
    assert_eq!(node.available(), 2);
    node.settings.use_primary_address = true;
    assert_eq!(node.available(), 3);
}

#[test]
fn max_allocate_is_never_passed_not_even_by_a_prefix() {
    let mut node = empty_node();
    node.settings.prefixes = true;
    node.settings.watermarks.max_allocate = Some(20);
    node.demand.pending = 30;
    assert_eq!(Vpc::new().actions(&node), [assign("eni-0", Fill::Prefixes(1))]);
    node.enis.get_mut(&"eni-0".into()).unwrap().units = [block(1)].into();
    assert_eq!(Vpc::new().actions(&node), [assign("eni-0", Fill::Addresses(4))]);
}

#[test]
fn an_unknown_instance_type_is_named_and_nothing_is_done() {
    let mut node = empty_node();
    node.limits = None;
    let plan = Vpc::new().plan(&node);
    assert_eq!(plan.actions, []);
    let problem = plan.problem.unwrap();
    assert_eq!((problem.reason, problem.missing), (ProblemReason::UnknownInstanceType, 8));
    assert!(problem.message.contains("\"m5.large\""), "{}", problem.message);
}

#[test]
fn security_groups_that_do_not_exist_stop_new_interfaces_and_nothing_else() {
    let mut node = empty_node();
    node.settings.security_groups = ["sg-9".to_owned()].into();
    node.demand.pending = 20;
    let plan = Vpc::new().plan(&node);
    assert_eq!(plan.actions, [assign("eni-0", Fill::Addresses(9))]);
    assert_eq!(plan.problem.unwrap().reason, ProblemReason::NoSecurityGroups);
}

/// A node that has twenty addresses, none in use for ten minutes.
fn idle_node() -> Node {
    let mut node = empty_node();
    let marks = Watermarks { pre_allocate: 4, ..Watermarks::default() };
    node.settings = Settings { release: true, watermarks: marks, ..Settings::default() };
    node.enis.get_mut(&"eni-0".into()).unwrap().units = addresses(4..8);
    let mut eni = attached("eni-1", (0, 1), addresses(20..22));
    eni.units.insert(block(2));
    node.enis.insert(eni.id.clone(), eni);
    crate::fixture::report(&mut node, &[], secs_ago(600));
    node
}

fn propose(interface: &str, unit: Unit) -> Action {
    Action::Propose(Held::unit(&interface.into(), unit))
}

#[test]
fn what_is_idle_long_enough_and_more_than_needed_is_proposed_from_the_emptiest_interface() {
    let node = idle_node();
    let mut expected: Vec<_> = addresses(20..22).into_iter().map(|u| propose("eni-1", u)).collect();
    expected.push(propose("eni-1", block(2)));
    assert_eq!(Vpc::new().actions(&node), expected);
    let mut not_asked = node.clone();
    not_asked.settings.release = false;
    assert_eq!(Vpc::new().actions(&not_asked), []);
}

#[test]
fn nothing_that_is_in_use_or_was_lately_is_proposed() {
    let mut node = idle_node();
    let in_use = Held::unit(&"eni-1".into(), block(2));
    crate::fixture::report(&mut node, &[(in_use.clone(), 1)], secs_ago(300));
    let singles: Vec<_> = Vpc::new().actions(&node);
    assert!(!singles.contains(&Action::Propose(in_use.clone())), "{singles:?}");
    crate::fixture::report(&mut node, &[], secs_ago(179));
    let soon = Vpc::new().actions(&node);
    assert!(!soon.contains(&Action::Propose(in_use)), "{soon:?}");
}

#[test]
fn a_prefix_that_is_needed_in_part_stays() {
    let mut node = idle_node();
    node.settings.watermarks.pre_allocate = 10;
    let proposed = Vpc::new().actions(&node);
    assert!(!proposed.contains(&propose("eni-1", block(2))), "{proposed:?}");
    assert_eq!(proposed.len(), 6, "all single addresses: {proposed:?}");
}

fn released(node: &mut Node, unit: Unit, state: ReleaseState, adopted: Option<Time>) {
    let release = Release { epoch: Epoch { term: 1, count: 1 }, state, adopted };
    node.releases.insert(Held::unit(&"eni-1".into(), unit), release);
}

#[test]
fn only_what_the_node_has_fenced_is_unassigned_all_of_an_interface_in_one_call() {
    let mut node = idle_node();
    released(&mut node, block(2), ReleaseState::Proposed, None);
    for unit in addresses(20..22) {
        released(&mut node, unit, ReleaseState::Fenced, None);
    }
    let unassign = Action::Unassign { interface: "eni-1".into(), units: addresses(20..22) };
    assert_eq!(Vpc::new().actions(&node), [unassign]);
}

#[test]
fn what_an_earlier_leader_had_fenced_waits_until_that_leaders_call_cannot_come_any_more() {
    let mut node = idle_node();
    released(&mut node, block(2), ReleaseState::Fenced, Some(secs_ago(19)));
    let unassign = Action::Unassign { interface: "eni-1".into(), units: [block(2)].into() };
    assert!(!Vpc::new().actions(&node).contains(&unassign));
    released(&mut node, block(2), ReleaseState::Fenced, Some(secs_ago(20)));
    assert!(Vpc::new().actions(&node).contains(&unassign));
}

#[test]
fn what_is_needed_again_is_withdrawn_before_any_call_is_made() {
    let mut node = idle_node();
    released(&mut node, block(2), ReleaseState::Fenced, None);
    node.demand.pending = 12;
    let withdraw = Action::Withdraw(Held::unit(&"eni-1".into(), block(2)));
    assert_eq!(Vpc::new().actions(&node), [withdraw]);
}

#[test]
fn what_is_refused_is_withdrawn_and_what_a_call_may_have_taken_never_is() {
    let mut node = idle_node();
    released(&mut node, block(2), ReleaseState::Refused, None);
    let withdraw = Action::Withdraw(Held::unit(&"eni-1".into(), block(2)));
    assert!(Vpc::new().actions(&node).contains(&withdraw));
    for (state, adopted) in [(ReleaseState::Giving, None), (ReleaseState::Fenced, Some(NOW))] {
        released(&mut node, block(2), state, adopted);
        node.demand.pending = 12;
        let actions = Vpc::new().actions(&node);
        assert!(!actions.contains(&withdraw), "{actions:?}");
    }
}

#[test]
fn an_interface_that_has_nothing_left_is_given_back_unless_the_instance_began_with_it() {
    let mut node = idle_node();
    for id in ["eni-0", "eni-1"] {
        node.enis.get_mut(&id.into()).unwrap().units.clear();
    }
    node.settings.watermarks.pre_allocate = 0;
    crate::fixture::report(&mut node, &[], secs_ago(600));
    let held = Held::interface(&"eni-1".into());
    assert_eq!(Vpc::new().actions(&node), [Action::Propose(held.clone())]);
    let epoch = Epoch { term: 1, count: 1 };
    let release = Release { epoch, state: ReleaseState::Fenced, adopted: None };
    node.releases.insert(held, release);
    let (interface, attachment) = ("eni-1".into(), "eni-attach-eni-1".into());
    assert_eq!(Vpc::new().actions(&node), [Action::Detach { interface, attachment }]);
}

#[test]
fn an_interface_with_a_call_on_the_way_or_a_pause_gets_no_second_one() {
    let mut node = empty_node();
    node.settings.watermarks.max_allocate = Some(9);
    node.paused.insert("eni-0".into(), Time(NOW.0 + 1));
    assert_eq!(Vpc::new().actions(&node), [create("subnet-a", Fill::Addresses(8), (0, 1))]);
    node.paused.insert("eni-0".into(), NOW);
    assert_eq!(Vpc::new().actions(&node), [assign("eni-0", Fill::Addresses(8))]);
    node.paused.insert("eni-0".into(), Time(NOW.0 + 1));
    node.no_create_until = Some(Time(NOW.0 + 1));
    assert_eq!(Vpc::new().actions(&node), []);
}
