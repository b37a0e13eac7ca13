//! The last good generation of a WasmFilter serves on while a later one is refused.

use crate::fixture::{Seen, World, filter, route, steps};
use penstock_config::{Key, Kind, OnFailure, OpaqueValues, PolicyKind};
use penstock_gateway::FilterReason;
use penstock_resources::Kind as Object;

const USE: &str = "rules: [{filters: [{type: ExtensionRef, extensionRef: {group: penstock.dev, \
                   kind: WasmFilter, name: one}}], backendRefs: [{name: a, port: 80}]}]";

/// The filter `one` of generation 4 is served.
fn serving(spec: &str) -> World {
    World::new(&[&filter("one", spec), &route("r", USE)])
        .ready("one", PolicyKind::Headers)
        .confirmed()
}

/// The filter as generation 5.
fn next(spec: &str) -> String {
    filter("one", spec).replace("generation: 4", "generation: 5")
}

fn changed(mut world: World, spec: &str) -> World {
    world.add(&next(spec));
    world
}

/// What nodes are told of the filter: nothing where it answers 500.
fn served(seen: &Seen) -> Option<(u64, String)> {
    let told = !seen.keys(Kind::Filter).is_empty();
    let policy = steps(&seen.only_rule().filters) == ["policy default/one"];
    assert_eq!(told, policy, "the rule uses what nodes are told");
    assert_eq!(seen.route("r", "ResolvedRefs") == "True ResolvedRefs", told);
    told.then(|| seen.filter("default/one"))
        .map(|filter| (filter.generation, filter.config_json.clone()))
}

#[test]
fn whatever_a_change_is_refused_for_the_last_good_generation_serves_on() {
    for (reason, accepted, resolved) in [
        (FilterReason::ModuleNotFound, "Unknown Pending", "False ModuleNotFound"),
        (FilterReason::FetchFailed, "Unknown Pending", "False FetchFailed"),
        (FilterReason::AccessDenied, "Unknown Pending", "False AccessDenied"),
        (FilterReason::DigestMismatch, "Unknown Pending", "False DigestMismatch"),
        (FilterReason::UnsupportedSource, "Unknown Pending", "False UnsupportedSource"),
        (FilterReason::ModuleInvalid, "False ModuleInvalid", "True ResolvedRefs"),
        (FilterReason::WrongWorld, "False WrongWorld", "True ResolvedRefs"),
        (FilterReason::TooLarge, "False TooLarge", "True ResolvedRefs"),
        (FilterReason::CapabilityDenied, "False CapabilityDenied", "True ResolvedRefs"),
        (FilterReason::InvalidConfig, "False InvalidConfig", "True ResolvedRefs"),
    ] {
        let before = serving(", config: {a: 1}");
        let state = before.translate().state;
        let world = changed(before, ", config: {a: 2}").failed("one", reason);
        let seen = world.translate();
        assert_eq!(served(&seen), Some((4, r#"{"a":1}"#.into())), "{reason:?}");
        assert!(state.diff(&seen.state).is_empty(), "nodes are told nothing");
        let seen = seen.confirm(&[]);
        assert_eq!(seen.wasm("one", "Accepted"), accepted, "{reason:?}");
        assert_eq!(seen.wasm("one", "ResolvedRefs"), resolved, "{reason:?}");
        assert_eq!(seen.wasm("one", "Programmed"), "False LastGoodServes", "{reason:?}");
        let message = format!(
            "generation 5 is refused: {reason:?} it is; generation 4 (module sha256:one) serves on"
        );
        assert_eq!(seen.wasm_message("one", "Programmed"), message);
        let where_ = if resolved.starts_with("False") { "ResolvedRefs" } else { "Accepted" };
        assert_eq!(seen.wasm_message("one", where_), message);
        let status = seen.wasm_status("one");
        assert_eq!(status.digest.as_deref(), Some("sha256:one"), "what is in use");
        assert_eq!(status.plan.as_ref().map(|plan| plan.reads.len()), Some(1));
        assert_eq!(status.conditions[0].observed_generation, Some(5));
    }
}

#[test]
fn without_a_good_generation_a_refused_one_answers_500() {
    let world = || World::new(&[&filter("one", ""), &route("r", USE)]);
    let never = world().failed("one", FilterReason::ModuleInvalid);
    assert_eq!(served(&never.translate()), None);
    assert_eq!(never.translate().wasm("one", "Programmed"), "False Invalid");
    let unconfirmed = world().ready("one", PolicyKind::Headers);
    let unconfirmed = unconfirmed.failed("one", FilterReason::ModuleInvalid);
    assert_eq!(served(&unconfirmed.translate()), None, "it was found good, but never served");
}

#[test]
fn a_module_that_changed_alone_is_said_to_be_refused() {
    let world = serving("").failed("one", FilterReason::ModuleInvalid);
    let seen = world.translate();
    assert_eq!(served(&seen), Some((4, "null".into())));
    assert_eq!(
        seen.wasm_message("one", "Accepted"),
        "what is there now is refused: ModuleInvalid it is; generation 4 (module sha256:one) \
         serves on"
    );
}

#[test]
fn all_of_a_generation_serves_on_but_for_what_the_host_alone_obeys() {
    let spec = ", config: {a: 1}, grants: [log], onFailure: Open, opaqueValues: Lossy, \
                limits: {memory: 1Mi, deadline: 20ms, maxInvocations: 9}";
    let later = ", config: {a: 2}, grants: [clock, log], limits: {memory: 2Mi, deadline: 1ms}";
    let world = changed(serving(spec), later).failed("one", FilterReason::InvalidConfig);
    let seen = world.translate();
    let one = seen.filter("default/one");
    assert_eq!(one.config_json, r#"{"a":1}"#);
    assert_eq!(one.grants, ["log"], "nothing new is granted to it");
    assert_eq!((one.memory_bytes, one.deadline_us, one.max_invocations), (1 << 20, 20_000, 9));
    assert_eq!((one.on_failure(), one.opaque_values()), (OnFailure::Closed, OpaqueValues::Reject));
    let limits = changed(serving(spec), ", grants: [log], limits: {memory: lots}");
    assert_eq!(served(&limits.translate()), Some((4, r#"{"a":1}"#.into())), "limits are refused");
}

/// Security: the grants of the last good generation do not outlive their withdrawal.
#[test]
fn a_generation_whose_grant_was_withdrawn_does_not_serve_on() {
    for reason in [FilterReason::CapabilityDenied, FilterReason::ModuleInvalid] {
        let world = changed(serving(", grants: [clock, log]"), ", grants: [clock]");
        let seen = world.failed("one", reason).translate();
        assert_eq!(served(&seen), None, "{reason:?}");
        assert_eq!(seen.wasm("one", "Programmed"), "False Invalid");
        let message = seen.wasm_message("one", "Accepted");
        assert!(
            message.ends_with("does not serve on: spec.grants no longer lists log, which it has")
        );
        assert!(seen.route_message("r", "ResolvedRefs").contains("no longer lists log"));
    }
    let world = changed(serving(", grants: [clock, log]"), ", grants: [clock]");
    let again = changed(
        world.failed("one", FilterReason::CapabilityDenied),
        ", grants: [clock, log], config: {a: 2}",
    );
    let seen = again.failed("one", FilterReason::InvalidConfig).translate();
    assert_eq!(served(&seen), Some((4, "null".into())), "it is granted again");
}

#[test]
fn while_a_change_is_looked_at_nothing_of_it_is_in_force() {
    let world = changed(serving(", grants: [log]"), ", config: {a: 2}");
    let seen = world.translate().confirm(&[]);
    assert_eq!(served(&seen), Some((4, "null".into())));
    assert_eq!(seen.wasm("one", "Accepted"), "Unknown Pending");
    assert_eq!(seen.wasm("one", "Programmed"), "False LastGoodServes");
    assert_eq!(
        seen.wasm_message("one", "Programmed"),
        "the module has not been looked at yet; generation 4 (module sha256:one) serves on"
    );
}

#[test]
fn the_next_good_generation_takes_over() {
    let world = changed(serving(""), ", config: {a: 2}").failed("one", FilterReason::InvalidConfig);
    let mut world = changed(world, ", config: {a: 3}");
    world.set_ready("one", PolicyKind::Headers);
    let seen = world.translate();
    assert_eq!(served(&seen), Some((5, r#"{"a":3}"#.into())));
    assert_eq!(seen.confirm(&[]).wasm("one", "Programmed"), "True Programmed");
    let world = world.confirmed().failed("one", FilterReason::ModuleNotFound);
    assert_eq!(served(&world.translate()), Some((5, r#"{"a":3}"#.into())), "it is the last good");
}

#[test]
fn a_filter_that_was_deleted_or_made_anew_has_no_last_good_generation() {
    let mut world = serving("");
    world.remove(Object::WasmFilter, "default", "one");
    assert_eq!(served(&world.translate()), None);
    world.add(&filter("one", ""));
    let world = world.failed("one", FilterReason::ModuleInvalid);
    assert_eq!(served(&world.translate()), None, "deleted and made again");

    let with_uid =
        |uid: &str| filter("one", "").replace("{name: one,", &format!("{{name: one, uid: {uid},"));
    let mut world = World::new(&[&with_uid("u1"), &route("r", USE)])
        .ready("one", PolicyKind::Headers)
        .confirmed();
    world.add(&with_uid("u2"));
    let seen = world.translate();
    assert_eq!(served(&seen), None, "made anew between two looks");
    assert_eq!(seen.wasm("one", "Accepted"), "Unknown Pending");
}

/// An operator that starts anew knows of a last good generation what the nodes report.
#[test]
fn what_nodes_report_is_the_last_good_generation() {
    let reported = serving(", config: {a: 1}").translate().filter("default/one").clone();
    let mut world = World::new(&[&next(", config: {a: 2}"), &route("r", USE)]);
    assert!(world.index.set_last_good(&reported));
    assert!(!world.index.set_last_good(&reported), "nothing new");
    let absent = penstock_config::Filter { name: "default/two".into(), ..reported.clone() };
    assert!(!world.index.set_last_good(&absent), "there is no such filter");
    assert_eq!(world.index.last_good_modules().collect::<Vec<_>>(), ["sha256:one"]);
    let world = world.failed("one", FilterReason::InvalidConfig);
    let seen = world.translate();
    assert_eq!(served(&seen), Some((4, r#"{"a":1}"#.into())));
    let status = seen.wasm_status("one");
    assert_eq!((status.digest.as_deref(), &status.plan), (Some("sha256:one"), &None));
}

/// What was found out about another module is not said of the one that serves on.
#[test]
fn a_summary_is_of_the_module_that_serves() {
    let served = serving("").translate().filter("default/one").clone();
    let older = penstock_config::Filter { module: "sha256:older".into(), ..served.clone() };
    let fail = |world: World| world.failed("one", FilterReason::ModuleInvalid).translate();
    let reads = |seen: &Seen| seen.wasm_status("one").plan.as_ref().map(|plan| plan.reads.len());

    let mut world = serving("");
    assert!(world.index.set_last_good(&older));
    assert_eq!(reads(&fail(world)), None, "what is known is of a module that does not serve");

    let mut world = serving("").failed("one", FilterReason::ModuleInvalid);
    let later = penstock_config::Filter { generation: 9, ..served };
    assert!(world.index.set_last_good(&later));
    assert_eq!(reads(&world.translate()), Some(1), "the same module as before");
    assert!(world.index.set_last_good(&older));
    assert_eq!(reads(&world.translate()), None, "another, of which nobody knows anything");
}

/// A node can find out what the operator could not: its own policy serves on then.
#[test]
fn what_nodes_keep_is_said_of_the_filter_alone() {
    let mut world = changed(serving(""), ", config: {a: 2}");
    world.set_ready("one", PolicyKind::Headers);
    let key = Key::new(Kind::Filter, "default/one");
    let refused = [(key.clone(), "ModuleInvalid", "it traps; generation 4 serves on")];
    let seen = world.translate().confirm_keeping(&refused, std::slice::from_ref(&key));
    assert_eq!(seen.wasm("one", "Accepted"), "False ModuleInvalid");
    assert_eq!(seen.wasm("one", "Programmed"), "False LastGoodServes");
    assert_eq!(seen.wasm_message("one", "Programmed"), "it traps; generation 4 serves on");
    assert_eq!(seen.route("r", "ResolvedRefs"), "True ResolvedRefs");
    let seen = world.translate().confirm(&refused);
    assert_eq!(seen.wasm("one", "Programmed"), "False Invalid");
    assert_eq!(seen.route("r", "ResolvedRefs"), "False InvalidFilter");
}
