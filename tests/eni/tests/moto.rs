//! The model beside an independent stand-in for EC2: the same calls, the same answers, where the
//! stand-in does what EC2 documents. It has no prefixes, limits, exhaustion or throttling.

use penstock_config::address::Unit;
use penstock_ec2::{Access, Cluster, Ec2, LOOKS};
use penstock_eni::{Action, Eni, Fill, Outcome, known_limits, known_types};
use penstock_test_eni::simulation::{Cloud as _, FIRST, OverHttp};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// moto, on loopback. It ends with the test.
struct Moto {
    process: Child,
    port: u16,
}

impl Moto {
    fn start() -> Self {
        let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask/setup/moto.sh");
        let python = Command::new(setup).stderr(Stdio::inherit()).output().expect("setup runs");
        assert!(python.status.success(), "xtask/setup/moto.sh failed");
        let python = String::from_utf8(python.stdout).expect("a path");
        let port = penstock_test_ports::free_port();
        let process = Command::new(python.trim())
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto starts");
        let moto = Self { process, port };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "moto does not listen");
            std::thread::sleep(Duration::from_millis(100));
        }
        moto
    }

    /// An instance; its id, VPC, subnet and security group.
    fn launch(&self) -> [String; 4] {
        let body = "Action=RunInstances&Version=2016-11-15&ImageId=ami-12c6146b&MinCount=1&MaxCount=1&InstanceType=m5.large";
        let scope = "Credential=key/20260101/eu-central-1/ec2/aws4_request";
        let request = format!(
            "POST / HTTP/1.1\r\nHost: ec2.eu-central-1.amazonaws.com\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("moto listens");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        ["instanceId", "vpcId", "subnetId", "groupId"].map(|name| {
            let rest = answer.split(&format!("<{name}>")).nth(1);
            let text = rest.and_then(|rest| rest.split('<').next());
            text.unwrap_or_else(|| panic!("no {name}: {answer}")).to_owned()
        })
    }

    fn access(&self) -> Access {
        Access {
            region: Some("eu-central-1".into()),
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            keys: Some(("key".into(), "secret".into())),
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What is the same wherever it happens.
fn say(eni: &Eni, instance: &str) -> String {
    let tags = eni.tags.iter().filter(|(key, _)| key.starts_with("penstock.dev/"));
    let tags: BTreeMap<_, _> =
        tags.map(|(key, value)| (key.clone(), value.replace(instance, "INSTANCE"))).collect();
    let at = eni.attachment.as_ref().map(|at| (at.card, at.index));
    let (units, groups) = (eni.units.len(), eni.groups.len());
    format!("owned {} units {units} groups {groups} tags {tags:?} at {at:?}", eni.owned)
}

/// Calls one after another, and what came of each.
async fn story(ec2: &Ec2, instance: &str, vpc: &str, subnet: &str, group: &str) -> Vec<String> {
    let mut said = Vec::new();
    let groups: BTreeSet<_> = [group.to_owned()].into();
    let create = |subnet: &str| Action::Create {
        subnet: subnet.into(),
        groups: groups.clone(),
        fill: Fill::Addresses(2),
        place: (0, 1),
    };
    let Ok(Outcome::Created(eni)) = ec2.call(instance, "token-1", &create(subnet)).await else {
        panic!("it is made")
    };
    said.push(say(&eni, instance));
    said.push(format!("{} loose", ec2.loose(vpc).await.expect("described").len()));
    let interface = eni.id.clone();
    let attach = Action::Attach { interface: interface.clone(), place: (0, 1) };
    let Ok(Outcome::Attached(attachment)) = ec2.call(instance, "", &attach).await else {
        panic!("it is attached")
    };
    let mut seen = ec2.interfaces(instance).await.expect("described");
    seen.sort_by_key(|eni| eni.attachment.as_ref().map(|at| at.index));
    said.extend(seen.iter().map(|eni| say(eni, instance)));
    let assign = Action::Assign { interface: interface.clone(), fill: Fill::Addresses(2) };
    // moto answers with all that the interface has, EC2 with what is new.
    let assigned = ec2.call(instance, "", &assign).await;
    said.push(format!("{}", matches!(&assigned, Ok(Outcome::Assigned(units)) if units.len() >= 2)));
    let seen = ec2.interfaces(instance).await.expect("described");
    let own = seen.iter().find(|eni| eni.id == interface).expect("it is there");
    said.push(say(own, instance));
    let units: BTreeSet<Unit> = own.units.iter().copied().take(3).collect();
    let unassign = Action::Unassign { interface: interface.clone(), units };
    said.push(format!("{:?}", ec2.call(instance, "", &unassign).await));
    let seen = ec2.interfaces(instance).await.expect("described");
    said.extend(seen.iter().filter(|eni| eni.id == interface).map(|eni| say(eni, instance)));
    let detach = Action::Detach { interface: interface.clone(), attachment };
    said.push(format!("{:?}", ec2.call(instance, "", &detach).await));
    let delete = Action::Delete { interface: interface.clone() };
    said.push(format!("{:?}", ec2.call(instance, "", &delete).await));
    said.push(format!("{} loose", ec2.loose(vpc).await.expect("described").len()));
    for action in [delete, create("subnet-0123456789abcdef0")] {
        let failure = ec2.call(instance, "token-2", &action).await.expect_err("it is not there");
        said.push(failure.reason.to_string());
    }
    let described = ec2.vpc(vpc).await.expect("described");
    said.push(format!(
        "{} {}",
        described.subnets.contains_key(subnet),
        described.groups.contains_key(group)
    ));
    let kinds = ["m5.large", "m4.large", "p4d.24xlarge", "m99.huge"];
    said.push(format!("{:?}", ec2.limits(&kinds).await.expect("described")));
    said
}

#[test]
fn the_model_answers_as_an_independent_stand_in_does() {
    let mut cloud = OverHttp::new().expect("a server on loopback");
    cloud.launch("i-1", penstock_eni::Limits::one_card(3, 10, true));
    let model = cloud.wait(story(cloud.ec2(), "i-1", "vpc-1", FIRST, "sg-node"));

    let moto = Moto::start();
    let [instance, vpc, subnet, group] = moto.launch();
    let cluster = Cluster { name: "test".into(), tags: BTreeMap::new() };
    let independent = cloud.wait(async {
        let ec2 = Ec2::new(cluster, moto.access()).await.unwrap();
        story(&ec2, &instance, &vpc, &subnet, &group).await
    });
    assert_eq!(model, independent);
}

#[test]
fn the_limits_that_predictions_are_made_with_are_those_that_are_described() {
    let cloud = OverHttp::new().expect("a server on loopback");
    let moto = Moto::start();
    let cluster = Cluster { name: "test".into(), tags: BTreeMap::new() };
    let kinds: Vec<_> = known_types().collect();
    let described = cloud.wait(async {
        let ec2 = Ec2::new(cluster, moto.access()).await.unwrap();
        ec2.limits(&kinds).await.expect("described")
    });
    assert_eq!(described.len(), kinds.len());
    for (kind, limits) in described {
        assert_eq!(known_limits(&kind), Some(limits), "{kind}");
    }
}

/// What is said of calls that are only asked about, and what they changed.
async fn asking(ec2: &Ec2, instance: &str, subnet: &str, group: &str) -> Vec<String> {
    let groups: BTreeSet<_> = [group.to_owned()].into();
    let create =
        Action::Create { subnet: subnet.into(), groups, fill: Fill::Addresses(2), place: (0, 1) };
    let Ok(Outcome::Created(eni)) = ec2.call(instance, "token-3", &create).await else {
        panic!("it is made")
    };
    let interface = eni.id;
    let attach = Action::Attach { interface: interface.clone(), place: (0, 1) };
    let Ok(Outcome::Attached(attachment)) = ec2.call(instance, "", &attach).await else {
        panic!("it is attached")
    };
    let before = ec2.interfaces(instance).await.expect("described");
    let delete_on_termination = Action::DeleteOnTermination {
        interface: interface.clone(),
        attachment: attachment.clone(),
        delete: true,
    };
    let detach = Action::Detach { interface, attachment };
    let mut said = Vec::new();
    for action in [create, delete_on_termination, detach] {
        let result = ec2.may(instance, &action, [192, 0, 2, 1].into()).await;
        said.push(format!("{} {result:?}", action.name()));
    }
    for call in LOOKS {
        said.push(format!("{call} {:?}", ec2.may_look(call).await));
    }
    let after = ec2.interfaces(instance).await.expect("described");
    said.push(format!("changed: {}", before != after));
    said
}

/// It has no dry run of some calls that only look: these are made.
#[test]
fn dry_runs_are_answered_by_the_model_as_by_an_independent_stand_in() {
    let mut cloud = OverHttp::new().expect("a server on loopback");
    cloud.launch("i-1", penstock_eni::Limits::one_card(3, 10, true));
    let model = cloud.wait(asking(cloud.ec2(), "i-1", FIRST, "sg-node"));
    let moto = Moto::start();
    let [instance, _, subnet, group] = moto.launch();
    let cluster = Cluster { name: "test".into(), tags: BTreeMap::new() };
    let independent = cloud.wait(async {
        let ec2 = Ec2::new(cluster, moto.access()).await.unwrap();
        asking(&ec2, &instance, &subnet, &group).await
    });
    assert_eq!(model, independent);
    assert!(model.iter().take(8).all(|said| said.ends_with(" Ok(())")), "{model:#?}");
    assert_eq!(model[8], "changed: false");
}
