//! What is found, from values.

use super::*;
use crate::{eni::Attachment, subnet::Subnet};

fn eni(id: &str, index: u8) -> Eni {
    Eni {
        id: id.into(),
        mac: String::new(),
        vpc: "vpc-1".into(),
        subnet: "subnet-1".into(),
        primary: [10, 0, 0, 4].into(),
        units: BTreeSet::new(),
        groups: ["sg-1".to_owned()].into(),
        tags: BTreeMap::new(),
        owned: index > 0,
        attachment: Some(Attachment {
            id: format!("{id}-attach"),
            card: 0,
            index,
            delete_on_termination: true,
        }),
    }
}

fn tags(tags: &[(&str, &str)]) -> BTreeMap<String, String> {
    tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Two subnets in zone a, one in zone b; one of another VPC.
fn subnets() -> Subnets {
    [
        ("subnet-1", "vpc-1", "a", "node"),
        ("subnet-2", "vpc-1", "a", "pod"),
        ("subnet-3", "vpc-1", "b", "node"),
        ("subnet-4", "vpc-2", "a", "pod"),
    ]
    .map(|(id, vpc, zone, role)| {
        let subnet = Subnet {
            id: id.into(),
            vpc: vpc.into(),
            zone: zone.into(),
            tags: tags(&[("role", role)]),
            free: 100,
            ..Subnet::default()
        };
        (id.to_owned(), subnet)
    })
    .into()
}

fn groups() -> BTreeMap<String, SecurityGroup> {
    [("sg-1", "vpc-1", "node"), ("sg-2", "vpc-2", "pod")]
        .map(|(id, vpc, role)| {
            let tags = tags(&[("role", role)]);
            (id.to_owned(), SecurityGroup { id: id.into(), vpc: vpc.into(), tags })
        })
        .into()
}

fn home(zone: &str) -> Home {
    Home { instance: "i-1".into(), zone: zone.into(), enis: vec![eni("eni-1", 0)] }
}

fn seen(homes: Vec<Home>) -> Seen {
    Seen { homes, subnets: Some(subnets()), groups: Some(groups()), tried: Vec::new() }
}

/// What is found with settings at nodes of zone a.
fn found(settings: Settings) -> Vec<(&'static str, String)> {
    told(findings(&settings, &seen(vec![home("a")])))
}

fn told(all: Vec<Finding>) -> Vec<(&'static str, String)> {
    all.into_iter().map(|finding| (finding.reason, finding.to_string())).collect()
}

fn tried(call: &'static str, code: &str, message: &str) -> Tried {
    let result = Err(Failure::of_ec2(code, message));
    Tried { call, about: "subnet/subnet-1".into(), result }
}

#[track_caller]
fn expect(found: &[(&'static str, String)], wanted: &[(&str, &str)]) {
    let found: Vec<_> = found.iter().map(|(reason, text)| (*reason, text.as_str())).collect();
    assert_eq!(found, wanted);
}

#[test]
fn nothing_stands_in_the_way_of_the_default() {
    expect(&found(Settings::default()), &[]);
}

#[test]
fn subnets_that_nothing_comes_of_are_named_with_the_option() {
    let ids = |ids: &[&str]| Settings {
        subnet_ids: ids.iter().map(|&id| id.to_owned()).collect(),
        ..Settings::default()
    };
    expect(&found(ids(&["subnet-2"])), &[]);
    expect(
        &found(ids(&["subnet-2", "subnet-9"])),
        &[(
            "NoSuchSubnet",
            "eni.nodeSpec.subnetIDs: there is no subnet subnet-9 in this region and account; \
             correct the id, or eni.region",
        )],
    );
    expect(
        &found(ids(&["subnet-2", "subnet-4"])),
        &[(
            "OtherVpc",
            "eni.nodeSpec.subnetIDs: subnet-4 is of VPC vpc-2, the nodes are in vpc-1; name one of \
             each zone that has nodes",
        )],
    );
    expect(
        &found(ids(&["subnet-3"])),
        &[(
            "NoSubnet",
            "eni.nodeSpec.subnetIDs: there is no subnet subnet-3 in VPC vpc-1 and zone a; name one \
             of each zone that has nodes",
        )],
    );
}

#[test]
fn tags_that_select_nothing_are_named_with_what_is_there() {
    let by = |wanted: &[(&str, &str)]| Settings {
        subnet_tags: tags(wanted),
        security_group_tags: tags(wanted),
        ..Settings::default()
    };
    expect(
        &found(by(&[("role", "edge")])),
        &[
            (
                "NoSubnet",
                "eni.nodeSpec.subnetTags: no subnet of VPC vpc-1 and zone a has all of the tags, \
                 since role=edge selects nothing (role is node, pod there); tag one of each zone \
                 that has nodes",
            ),
            (
                "NoSecurityGroup",
                "eni.nodeSpec.securityGroupTags: no security group of VPC vpc-1 has all of them, \
                 since role=edge selects nothing (role is node there); tag one, or name groups by \
                 id in eni.nodeSpec.securityGroups",
            ),
        ],
    );
    // Before there is a node, all VPCs count.
    expect(&told(findings(&by(&[("role", "pod")]), &seen(vec![]))), &[]);
    let none = told(findings(&by(&[("team", "x")]), &seen(vec![])));
    let reasons: Vec<_> = none.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(reasons, ["NoSubnet", "NoSecurityGroup"]);
    assert!(none[0].1.contains("team=x selects nothing (nothing has the tag team)"), "{none:?}");
}

#[test]
fn groups_that_do_not_exist_or_are_of_another_vpc_are_named_with_the_option() {
    let ids =
        |id: &str| Settings { security_groups: [id.to_owned()].into(), ..Settings::default() };
    expect(&found(ids("sg-1")), &[]);
    expect(
        &found(ids("sg-2")),
        &[(
            "OtherVpc",
            "eni.nodeSpec.securityGroups: sg-2 is of VPC vpc-2, the nodes are in vpc-1; name groups \
             of the nodes' VPC",
        )],
    );
    expect(
        &found(ids("sg-9")),
        &[(
            "NoSuchSecurityGroup",
            "eni.nodeSpec.securityGroups: there is no security group sg-9 in this region and \
             account; correct the id, or eni.region",
        )],
    );
}

#[test]
fn each_zone_with_nodes_needs_a_subnet_with_addresses() {
    let mut seen = seen(vec![home("a"), home("b"), home("c")]);
    let zone = "eni.nodeSpec.subnetIDs: no subnet of VPC vpc-1 is in zone c; name one of each zone \
                that has nodes";
    expect(&told(findings(&Settings::default(), &seen)), &[("NoSubnet", zone)]);
    seen.homes = vec![home("b")];
    seen.subnets.as_mut().unwrap().get_mut("subnet-3").unwrap().free = 1;
    let full = told(findings(&Settings::default(), &seen));
    assert_eq!(full[0].0, "SubnetFull");
    assert!(full[0].1.contains("has 2 free addresses: subnet-3; add a subnet"), "{full:?}");
}

#[test]
fn a_missing_permission_is_named_once_with_action_and_resource() {
    let mut seen = seen(vec![home("a")]);
    let message = "User: arn:aws:sts::1:assumed-role/r/s is not authorized to perform: \
                   ec2:CreateTags on resource: arn:aws:ec2:eu-central-1:1:network-interface/*";
    seen.tried = vec![
        tried("CreateNetworkInterface", "UnauthorizedOperation", message),
        tried("AttachNetworkInterface", "UnauthorizedOperation", "You are not authorized."),
        tried("AttachNetworkInterface", "UnauthorizedOperation", "You are not authorized."),
        tried("DeleteNetworkInterface", "InvalidNetworkInterface.InUse", "in use"),
        Tried { call: "DetachNetworkInterface", about: String::new(), result: Ok(()) },
    ];
    let all = findings(&Settings::default(), &seen);
    let about: Vec<_> = all.iter().map(|finding| (finding.reason, &*finding.about)).collect();
    let attach = "ec2:AttachNetworkInterface";
    assert_eq!(about, [("Unauthorized", "ec2:CreateTags"), ("Unauthorized", attach)]);
    assert!(all[1].cause.ends_with("may not ec2:AttachNetworkInterface on subnet/subnet-1"));
    assert!(all[0].cause.contains("on arn:aws:ec2:eu-central-1:1:network-interface/*"));
    assert!(all.iter().all(|finding| finding.remedy.contains("charts/penstock/iam-policy.json")));
}

#[test]
fn a_deny_is_not_helped_by_the_charts_policy() {
    let message = "is not authorized to perform: ec2:DescribeSubnets on resource: * with an explicit \
                   deny in a service control policy";
    let tried = vec![tried("DescribeSubnets", "UnauthorizedOperation", message)];
    let all = findings(&Settings::default(), &Seen { tried, ..Seen::default() });
    assert!(all[0].remedy.starts_with("take the deny out"), "{}", all[0]);
}

#[test]
fn what_makes_every_call_fail_is_said_once() {
    for (code, reason, about) in
        [("AuthFailure", "NoCredentials", "EC2"), ("ExpiredToken", "NoCredentials", "EC2")]
    {
        let mut seen = seen(vec![home("c")]);
        seen.tried = vec![tried("DescribeSubnets", code, "x"), tried("DescribeVpcs", code, "y")];
        let all = findings(&Settings::default(), &seen);
        assert_eq!((all.len(), all[0].reason, &*all[0].about), (1, reason, about));
    }
    let silent =
        Tried { call: "DescribeSubnets", about: String::new(), result: Err(Failure::no_answer()) };
    let all =
        findings(&Settings::default(), &Seen { tried: vec![silent.clone()], ..Seen::default() });
    assert_eq!((all[0].reason, &*all[0].about), ("NoAnswer", "eni.endpoint"));
    // One answer that is lost hides nothing.
    let denied = tried("DescribeVpcs", "UnauthorizedOperation", "");
    let answered = Tried { result: Ok(()), ..silent.clone() };
    let seen = Seen { tried: vec![silent, denied, answered], ..Seen::default() };
    let all = findings(&Settings::default(), &seen);
    let about: Vec<_> = all.iter().map(|finding| (finding.reason, &*finding.about)).collect();
    assert_eq!(about, [("NoAnswer", "ec2:DescribeSubnets"), ("Unauthorized", "ec2:DescribeVpcs")]);
}

#[test]
fn a_setting_that_ec2_refuses_is_said_and_the_state_of_what_it_was_tried_on_is_not() {
    let mut seen = seen(vec![home("a")]);
    let tags = "Tag keys starting with 'aws:' are reserved";
    seen.tried = vec![
        tried("CreateNetworkInterface", "InvalidParameterValue", tags),
        tried("UnassignPrivateIpAddresses", "InvalidParameterValue", "not assigned"),
    ];
    let all = told(findings(&Settings::default(), &seen));
    assert_eq!((all.len(), all[0].0), (1, "Invalid"));
    assert!(all[0].1.contains(tags) && all[0].1.contains("eni.tags"), "{all:?}");
}

#[test]
fn what_only_own_interfaces_permit_is_tried_on_an_own_one_or_not_at_all() {
    let seen = seen(vec![home("a"), home("b")]);
    let names = |owned: Option<&Eni>| -> Vec<_> {
        let all = attempts(&Settings::default(), &seen, owned);
        all.iter().map(|(_, action)| (action.name(), action.about())).collect()
    };
    let first = || "network-interface/eni-1".to_owned();
    let begin = [
        ("CreateNetworkInterface", "subnet/subnet-1".to_owned()),
        ("CreateNetworkInterface", "subnet/subnet-3".to_owned()),
        ("AssignPrivateIpAddresses", first()),
        ("UnassignPrivateIpAddresses", first()),
    ];
    assert_eq!(names(None), begin);
    let owned = eni("eni-2", 1);
    let all = names(Some(&owned));
    assert_eq!(all[..4], begin);
    let changes: Vec<_> = all[4..].iter().map(|(name, about)| (*name, about.as_str())).collect();
    let own = "network-interface/eni-2";
    assert_eq!(
        changes,
        [
            ("AttachNetworkInterface", own),
            ("DeleteNetworkInterface", own),
            ("ModifyNetworkInterfaceAttribute", own),
            ("DetachNetworkInterface", own),
        ]
    );
    assert_eq!(attempts(&Settings::default(), &Seen::default(), None), []);
    // As the settings select.
    let tagged = Settings { subnet_tags: tags(&[("role", "pod")]), ..Settings::default() };
    let (_, create) = &attempts(&tagged, &seen, None)[0];
    assert_eq!(create.about(), "subnet/subnet-2");
}

#[test]
fn addresses_are_tried_with_one_that_is_in_no_subnet() {
    let mut all = subnets();
    assert_eq!(nobodys(&all).to_string(), "192.0.2.1");
    all.get_mut("subnet-1").unwrap().cidr = "192.0.0.0/16".into();
    assert_eq!(nobodys(&all).to_string(), "198.51.100.1");
}
