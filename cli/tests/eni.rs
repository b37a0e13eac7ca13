//! `penstock eni plan`, as people type it.

mod support;

use serde_json::Value;
use std::process::Output;
use support::penstock;

fn plan(arguments: &[&str]) -> Output {
    penstock().args(["eni", "plan"]).args(arguments).output().expect("the command runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_nodes_will_have_and_cost_is_told_before_it_happens() {
    let done = plan(&["m5.large*10=27", "c5.4xlarge=200"]);
    assert_eq!(
        out(&done),
        "TYPE        NODES  PODS EACH  INTERFACES  ADDRESSES  IN PREFIXES
m5.large    10     27         3           27         0
c5.4xlarge  1      200        7           200        0

Calls of EC2: AssignPrivateIpAddresses 11, AttachNetworkInterface 26, CreateNetworkInterface 26, \
         DescribeNetworkInterfaces 22, ModifyNetworkInterfaceAttribute 26
Time under throttling, all nodes at once: 2 s (nobody else calls EC2 in this account)
"
    );
    assert_eq!(done.status.code(), Some(0));
}

#[test]
fn prefixes_make_the_difference_and_json_says_all_of_it() {
    let done = plan(&["m5.large=110", "--prefix-delegation", "-o", "json"]);
    let value: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let node = &value["nodes"][0];
    assert_eq!((&node["interfacesOnEach"], &node["addressesOnEach"]), (&1.into(), &112.into()));
    assert_eq!(node["problem"], Value::Null);
    assert_eq!(done.status.code(), Some(0));
}

#[test]
fn pods_that_would_get_no_address_are_an_error_with_a_remedy() {
    let done = plan(&["m5.large=40"]);
    assert_eq!(done.status.code(), Some(1));
    let said = out(&done);
    assert!(said.contains("Problem of m5.large: 13 addresses are missing"), "{said}");
    assert!(said.contains("use a larger type, prefix delegation"), "{said}");
}

#[test]
fn what_is_misspelt_is_named_with_what_is_right() {
    for (arguments, expected) in [
        (&["m5.lage=10"][..], "instance type \"m5.lage\" is not known (m5.12xlarge"),
        (&["m5.large"][..], "it must be as m5.large=29"),
        (&["m9.huge=10", "--limits", "m9.huge=3"][..], "it must be as m9.large=3x10"),
        (&["m5.large=10", "--min-allocate", "9", "--max-allocate", "5"][..], "ipamMaxAllocate"),
    ] {
        let done = plan(arguments);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(plan(&["m9.huge=10", "--limits", "m9.huge=3x10"]).status.code(), Some(0));
}
