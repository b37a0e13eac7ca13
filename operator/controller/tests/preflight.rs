//! `penstock-operator preflight`, as people run it, against the model of EC2.

use penstock_test_eni::{
    http::{Policy, Server},
    model::{Model, ModelSubnet, Space},
};
use serde_json::Value;
use std::{
    net::SocketAddr,
    process::{Command, Output},
};

/// A VPC with one subnet.
fn ec2() -> Server {
    let mut model = Model::new();
    let subnet = ModelSubnet {
        zone: "eu-central-1a".into(),
        vpc: "vpc-1".into(),
        space: Space::new("10.0.0.0/24"),
        tags: [("role".to_owned(), "node".to_owned())].into(),
    };
    model.subnets.insert("subnet-1".into(), subnet);
    model.groups.insert("sg-1".into(), "vpc-1".into());
    Server::on_a_thread(model, SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port")
}

/// Runs the command with nothing of this machine's own in its environment.
fn preflight(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_penstock-operator"));
    command.arg("preflight").args(arguments).env_clear();
    command.env("HOME", env!("CARGO_TARGET_TMPDIR")).env("AWS_EC2_METADATA_DISABLED", "true");
    command.envs(variables.iter().copied()).output().expect("it runs")
}

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];

fn addresses(ec2: &Server, node: &str) -> String {
    let (url, region) = (ec2.url(), "eu-central-1");
    format!(
        r#"{{"eni": {{"clusterName": "test", "region": "{region}", "endpoint": "{url}", "nodeSpec": {node}}}}}"#
    )
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn expect(output: &Output, code: i32, words: &[&str]) {
    let said = out(output) + &err(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in\n{said}");
    }
}

#[test]
fn without_a_cluster_what_can_be_asked_is_asked_and_the_rest_is_said() {
    let ec2 = ec2();
    ec2.permit(Policy::of_the_chart());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("addresses.json");
    std::fs::write(&file, addresses(&ec2, r#"{"subnetIDs": ["subnet-1"]}"#)).expect("a file");
    let output = preflight(&["--addresses", file.to_str().expect("UTF-8")], &KEYS);
    expect(
        &output,
        0,
        &[
            "EC2 of eu-central-1, for the interfaces of cluster test\n",
            "permitted: DescribeInstanceTypes, DescribeNetworkInterfaces, DescribeRouteTables, ",
            "not tried yet: AssignPrivate",
            "note: the nodes of the cluster are not known (no API server is known: run in a pod",
            "\nnothing stands in the way\n",
        ],
    );
    assert!(ec2.calls().keys().all(|call| call.starts_with("Describe")), "{:?}", ec2.calls());
}

#[test]
fn a_permission_that_is_missing_and_tags_that_select_nothing_are_named() {
    let ec2 = ec2();
    ec2.permit(Policy::of_the_chart().without("ec2:DescribeRouteTables"));
    let json = addresses(&ec2, r#"{"subnetTags": {"role": "pod"}}"#);
    // As the chart gives it.
    let variables = [KEYS[0], KEYS[1], ("PENSTOCK_ADDRESSES", &json)];
    let output = preflight(&[], &variables);
    expect(
        &output,
        1,
        &[
            "2 problems:\n",
            "  ec2:DescribeRouteTables: arn:aws:sts::111122223333:assumed-role/penstock-operator/test may \
             not ec2:DescribeRouteTables on * (because no identity-based policy allows",
            "attach the chart's IAM policy (charts/penstock/iam-policy.json)",
            "  eni.nodeSpec.subnetTags: no subnet of this region has all of them, since role=pod selects \
             nothing (role is node there)",
        ],
    );
    let output = preflight(&["-o", "json"], &variables);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["well"], false);
    assert_eq!(report["problems"][0]["object"], "ec2:DescribeRouteTables");
    assert_eq!(report["problems"][1]["reason"], "NoSubnet");
}

#[test]
fn missing_credentials_are_said_once_with_where_they_were_looked_for() {
    let ec2 = ec2();
    let json = addresses(&ec2, "{}");
    let output = preflight(&["--addresses", &json], &[]);
    expect(
        &output,
        1,
        &[
            "1 problem:\n  EC2: there are no credentials for EC2: ",
            "keys (AWS_ACCESS_KEY_ID): not set; IRSA (AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE): not set; \
             Pod Identity (AWS_CONTAINER_CREDENTIALS_FULL_URI): not set; instance: not asked",
            "give the operator's ServiceAccount a role (EKS Pod Identity; or IRSA",
        ],
    );
    assert_eq!(ec2.calls(), [].into(), "nothing was sent");
    assert_eq!(ec2.asked(), [].into(), "nothing was sent");
    // IRSA whose token nobody mounted.
    let irsa =
        [("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/no/such")];
    let output = preflight(&["--addresses", &json], &irsa);
    expect(&output, 1, &["AWS_WEB_IDENTITY_TOKEN_FILE): there is no file /no/such;"]);
}

#[test]
fn a_missing_region_is_said_with_the_option_that_sets_it() {
    for json in [r#"{"eni": {}}"#, r#"{"eni": {"endpoint": "http://127.0.0.1:1"}}"#] {
        let output = preflight(&["--addresses", json], &KEYS);
        expect(
            &output,
            1,
            &[
                "EC2 of an unknown region",
                "1 problem:\n  eni.region: no region is known: eni.region, AWS_REGION and \
                 AWS_DEFAULT_REGION are not set",
                "; set eni.region of the values",
            ],
        );
    }
}

#[test]
fn an_endpoint_that_does_not_answer_is_said_with_what_leads_to_it() {
    let json = r#"{"eni": {"region": "eu-central-1", "endpoint": "http://127.0.0.1:1"}}"#;
    let output = preflight(&["--addresses", json], &KEYS);
    expect(&output, 1, &["1 problem:\n  eni.endpoint: ", "com.amazonaws.REGION.ec2"]);
}

#[test]
fn options_that_are_wrong_are_refused_with_the_path_of_the_field() {
    for (json, words) in [
        (r#"{"eni": {"nodeSpec": {"subnetIds": []}}}"#, "eni.nodeSpec.subnetIds: unknown field"),
        (
            r#"{"eni": {"nodeSpec": {"subnetIDs": ["sg-1"]}}}"#,
            "eni.nodeSpec.subnetIDs: \"sg-1\" is no id",
        ),
        ("/no/such/file", "/no/such/file: "),
    ] {
        expect(&preflight(&["--addresses", json], &KEYS), 2, &[words]);
    }
    expect(&preflight(&[], &KEYS), 2, &["--addresses <FILE|JSON>"]);
}
