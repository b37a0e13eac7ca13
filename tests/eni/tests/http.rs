//! The same over HTTP, through the SDK that the operator uses.

use penstock_ec2::{IAM_ACTIONS, LOOKS};
use penstock_eni::{
    Action, Card, Denied, Eni, Failure, Fill, Home, Limits, Outcome, Reason, Seen, Settings, Tried,
    attempts, findings, nobodys,
};
use penstock_test_eni::{
    http::{Policy, Trouble},
    simulation::{Cloud as _, FIRST, OverHttp, Script, VPC, run, run_on},
};
use std::collections::BTreeSet;

fn create(fill: Fill) -> Action {
    let groups = ["sg-node".to_owned()].into();
    Action::Create { subnet: FIRST.into(), groups, fill, place: (0, 1) }
}

#[test]
fn a_script_does_the_same_through_the_sdk_as_without_it() {
    for seed in 1..5 {
        let script = Script::random(seed, 60);
        let http = OverHttp::new().expect("a server on loopback");
        let (direct, through) = (run(&script), run_on(&script, http));
        assert_eq!(through.expect("it holds"), direct.expect("it holds"), "{script}");
    }
}

#[test]
fn the_permissions_that_are_asked_for_are_exactly_the_calls_that_are_made() {
    let mut cloud = OverHttp::new().expect("a server on loopback");
    cloud.launch("i-1", Limits::one_card(3, 10, true));
    let call = |cloud: &mut OverHttp, action: &Action| cloud.call("i-1", "", action).expect("done");
    let Outcome::Created(eni) = call(&mut cloud, &create(Fill::Prefixes(1))) else { panic!() };
    let interface = eni.id.clone();
    let attach = Action::Attach { interface: interface.clone(), place: (0, 1) };
    let Outcome::Attached(attachment) = call(&mut cloud, &attach) else { panic!() };
    let fill = Fill::Addresses(2);
    let Outcome::Assigned(units) =
        call(&mut cloud, &Action::Assign { interface: interface.clone(), fill })
    else {
        panic!()
    };
    let (mark, at) = (interface.clone(), attachment.clone());
    let rest = [
        Action::DeleteOnTermination { interface: mark, attachment: at, delete: true },
        Action::Unassign { interface: interface.clone(), units },
        Action::Detach { interface: interface.clone(), attachment },
        Action::Delete { interface },
    ];
    for action in &rest {
        call(&mut cloud, action);
    }
    let (_, _) = (cloud.subnets(), cloud.interfaces("i-1"));
    cloud.wait(cloud.ec2().limits(&["m5.large"])).expect("known");
    let calls = cloud.server().calls().into_keys().map(|name| format!("ec2:{name}"));
    // Tags given with CreateNetworkInterface need a permission of their own.
    let calls: BTreeSet<_> = calls.chain(["ec2:CreateTags".to_owned()]).collect();
    assert_eq!(calls, IAM_ACTIONS.map(str::to_owned).into());
}

#[test]
fn the_charts_policy_allows_exactly_these() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/penstock/iam-policy.json");
    let text = std::fs::read_to_string(path).expect("the chart has a policy");
    let policy: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let statements = policy["Statement"].as_array().expect("statements");
    let actions = statements.iter().flat_map(|statement| match &statement["Action"] {
        serde_json::Value::Array(all) => all.clone(),
        one => vec![one.clone()],
    });
    let actions: BTreeSet<_> = actions.map(|a| a.as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(actions, IAM_ACTIONS.map(str::to_owned).into());
    // What changes something of what is there is allowed on this cluster's interfaces alone, apart
    // from addresses, which interfaces that the instance began with have too.
    for name in ["DeleteNetworkInterface", "DetachNetworkInterface"] {
        let name = format!("ec2:{name}");
        let allows = |s: &&serde_json::Value| {
            s["Action"].to_string().contains(&name)
                && s["Resource"].to_string().contains("network-interface")
        };
        let found: Vec<_> = statements.iter().filter(allows).collect();
        assert_eq!(found.len(), 1, "{name}");
        assert!(found[0]["Condition"].to_string().contains("aws:ResourceTag/penstock.dev/cluster"));
    }
}

#[test]
fn what_ec2_refuses_has_the_reason_that_its_code_means() {
    let mut cloud = OverHttp::new().expect("a server on loopback");
    cloud.launch("i-1", Limits::one_card(3, 10, true));
    let table = [
        ("RequestLimitExceeded", "Request limit exceeded.", Reason::Throttled),
        (
            "UnauthorizedOperation",
            "You are not authorized to perform this operation.",
            Reason::Unauthorized,
        ),
        ("InsufficientFreeAddressesInSubnet", "", Reason::SubnetFull),
        ("InsufficientCidrBlocks", "", Reason::NoPrefixes),
        ("InternalError", "An internal error has occurred", Reason::Internal),
    ];
    for (code, message, reason) in table {
        cloud.server().trouble(Trouble::Refused(code, message));
        let failure = cloud.call("i-1", code, &create(Fill::Addresses(1))).unwrap_err();
        assert_eq!(failure.reason, reason, "{failure}");
        assert!(failure.message.contains(code), "{failure}");
    }
    let gone = Action::Delete { interface: "eni-0".into() };
    assert_eq!(cloud.call("i-1", "", &gone).unwrap_err().reason, Reason::NotFound);
}

#[test]
fn a_lost_answer_is_none_and_the_repetition_makes_no_second_interface() {
    let mut cloud = OverHttp::new().expect("a server on loopback");
    cloud.launch("i-1", Limits::one_card(3, 10, true));
    let before = cloud.server().model(|model| model.interfaces.len());
    cloud.server().trouble(Trouble::AnswerLost);
    let failure = cloud.call("i-1", "once", &create(Fill::Addresses(1))).unwrap_err();
    assert_eq!(failure.reason, Reason::NoAnswer, "{failure}");
    cloud.call("i-1", "once", &create(Fill::Addresses(1))).expect("the same one");
    assert_eq!(cloud.server().model(|model| model.interfaces.len()), before + 1);
}

#[test]
fn limits_are_those_of_each_network_card_and_unknown_types_have_none() {
    let cloud = OverHttp::new().expect("a server on loopback");
    let kinds = ["m5.large", "m4.large", "p4d.24xlarge", "m99.huge"];
    let limits = cloud.wait(cloud.ec2().limits(&kinds)).expect("described");
    assert_eq!(limits.len(), 3);
    assert_eq!(limits["m5.large"], Limits::one_card(3, 10, true));
    assert!(!limits["m4.large"].prefixes);
    assert_eq!(limits["p4d.24xlarge"].cards[&3], Card { interfaces: 15 });
}

#[test]
fn interfaces_of_other_clusters_and_other_vpcs_are_not_seen_as_loose() {
    let mut cloud = OverHttp::new().expect("a server on loopback");
    cloud.launch("i-1", Limits::one_card(3, 10, true));
    let Ok(Outcome::Created(eni)) = cloud.call("i-1", "", &create(Fill::Addresses(1))) else {
        panic!("it is made")
    };
    let loose = cloud.loose();
    assert_eq!((loose.len(), loose[0].id.clone()), (1, eni.id.clone()));
    assert_eq!(loose[0].instance, "i-1");
    assert_eq!(cloud.wait(cloud.ec2().loose("vpc-2")), Ok(vec![]));
    let other = "penstock.dev/cluster".to_owned();
    cloud.server().model(|model| {
        model.interfaces.get_mut(&eni.id).unwrap().tags.insert(other, "another".into());
    });
    assert_eq!(cloud.wait(cloud.ec2().loose(VPC)), Ok(vec![]));
    assert_eq!(cloud.interfaces("i-1").len(), 1, "the one that it began with");
}

/// An instance with an interface of the cluster's own beside the one that it began with.
fn with_own_interface() -> (OverHttp, Eni) {
    let mut cloud = OverHttp::new().expect("a server on loopback");
    cloud.launch("i-1", Limits::one_card(3, 10, true));
    let made = cloud.call("i-1", "", &create(Fill::Addresses(1))).expect("made");
    let Outcome::Created(eni) = made else { panic!("it is made") };
    let attach = Action::Attach { interface: eni.id, place: (0, 1) };
    cloud.call("i-1", "", &attach).expect("attached");
    let own = cloud.wait(cloud.ec2().owned()).expect("described").expect("there is one");
    (cloud, own)
}

/// Asks of everything whether it would be permitted.
fn ask(cloud: &OverHttp, own: Option<&Eni>) -> Seen {
    let ec2 = cloud.ec2();
    let mut seen = Seen::default();
    for call in LOOKS {
        let result = cloud.wait(ec2.may_look(call));
        seen.tried.push(Tried { call, about: String::new(), result });
    }
    let enis = cloud.truth("i-1");
    seen.homes.push(Home { instance: "i-1".into(), zone: "eu-central-1a".into(), enis });
    for (instance, action) in attempts(&Settings::default(), &seen, own) {
        let address = nobodys(&Default::default());
        let result = cloud.wait(ec2.may(&instance, &action, address));
        seen.tried.push(Tried { call: action.name(), about: action.about(), result });
    }
    seen
}

#[test]
fn asking_whether_calls_are_permitted_makes_every_one_of_them_and_changes_nothing() {
    let (cloud, own) = with_own_interface();
    let before = cloud.server().model(|model| model.interfaces.clone());
    let calls = cloud.server().calls();
    let seen = ask(&cloud, Some(&own));
    assert_eq!(cloud.server().model(|model| model.interfaces.clone()), before);
    assert_eq!(cloud.server().calls(), calls, "none was to have an effect");
    let asked = cloud.server().asked().into_keys().map(|name| format!("ec2:{name}"));
    // Tags are asked for with the interface.
    let asked: BTreeSet<_> = asked.chain(["ec2:CreateTags".to_owned()]).collect();
    assert_eq!(asked, IAM_ACTIONS.map(str::to_owned).into());
    assert_eq!(findings(&Settings::default(), &seen), []);
}

#[test]
fn each_permission_that_is_missing_is_named_with_its_resource() {
    let (cloud, own) = with_own_interface();
    for action in IAM_ACTIONS {
        cloud.server().permit(Policy::of_the_chart().without(action));
        let found = findings(&Settings::default(), &ask(&cloud, Some(&own)));
        let [finding] = found.as_slice() else { panic!("without {action}: {found:#?}") };
        assert_eq!((finding.reason, finding.about.as_str()), ("Unauthorized", action));
        let resource = match action {
            looks if looks.starts_with("ec2:Describe") => "on * (because no".to_owned(),
            "ec2:CreateTags" | "ec2:CreateNetworkInterface" => ":network-interface/* (".to_owned(),
            "ec2:AssignPrivateIpAddresses" | "ec2:UnassignPrivateIpAddresses" => {
                let first =
                    cloud.truth("i-1").into_iter().find(|eni| !eni.owned).expect("the first");
                format!(":network-interface/{} (", first.id)
            }
            _ => format!(":network-interface/{} (", own.id),
        };
        assert!(finding.cause.contains(&resource), "{action} {resource}: {finding}");
        assert!(finding.cause.contains("assumed-role/penstock-operator"), "{finding}");
        assert!(finding.remedy.contains("charts/penstock/iam-policy.json"), "{finding}");
        assert!(!finding.cause.contains("Encoded"), "{finding}");
    }
}

#[test]
fn the_charts_policy_permits_what_an_operator_does_and_no_change_of_other_interfaces() {
    for seed in 1..4 {
        let script = Script::random(seed, 60);
        let http = OverHttp::new().expect("a server on loopback");
        http.server().permit(Policy::of_the_chart());
        let (direct, through) = (run(&script), run_on(&script, http));
        assert_eq!(through.expect("it holds"), direct.expect("it holds"), "{script}");
    }
    let (mut cloud, _) = with_own_interface();
    cloud.server().permit(Policy::of_the_chart());
    let first = cloud.truth("i-1").into_iter().find(|eni| !eni.owned).expect("the first");
    let failure = cloud.call("i-1", "", &Action::Delete { interface: first.id.clone() });
    let failure = failure.expect_err("it is not its own");
    let denied = Denied::of(&failure, "DeleteNetworkInterface", "").expect("a permission");
    assert_eq!(denied.action, "ec2:DeleteNetworkInterface");
    assert!(denied.resource.ends_with(&format!(":network-interface/{}", first.id)), "{denied}");
}

#[test]
fn dry_runs_say_what_would_be_wrong_and_are_not_there_for_addresses() {
    let (cloud, own) = with_own_interface();
    let address = nobodys(&Default::default());
    let may = |action: &Action| cloud.wait(cloud.ec2().may("i-1", action, address));
    let reason = |result: Result<(), Failure>| result.map_err(|failure| failure.reason);
    let none = Action::Delete { interface: "eni-0".into() };
    assert_eq!(reason(may(&none)), Err(Reason::NotFound));
    assert_eq!(reason(cloud.wait(cloud.ec2().may_look("DescribeVpcs"))), Err(Reason::Invalid));
    // An interface that is full: EC2 looks at permissions first.
    cloud.server().model(|model| {
        let eni = model.interfaces.get_mut(&own.id).expect("it is there");
        eni.addresses.extend((100..110).map(|n| std::net::Ipv4Addr::new(10, 9, 9, n)));
    });
    let assign = Action::Assign { interface: own.id, fill: Fill::Addresses(1) };
    assert_eq!(may(&assign), Ok(()));
}
