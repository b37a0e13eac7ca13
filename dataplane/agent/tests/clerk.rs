//! What the clerk promises is on the disk before anybody hears of it. No kernel is needed for that.

use penstock_agent::{AddressInput, Clerk, Counts, StateFile, Wiring};
use penstock_cni::{
    Alias,
    protocol::{Attachment, Request, Response},
};
use penstock_config::address::{
    Epoch, Held, Interface, InterfaceId, NodeAddresses, Proposal, Report, Verdict,
};
use penstock_net::NetError;
use prometheus_client::metrics::histogram::Histogram;
use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::PathBuf,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};

const ENI: &str = "eni-1";

/// Every interface is ready, no pod has a device.
struct Always;

impl Wiring for Always {
    fn bring(
        &mut self,
        interfaces: &BTreeMap<InterfaceId, Interface>,
    ) -> Result<BTreeMap<InterfaceId, u32>, NetError> {
        Ok(interfaces.keys().map(|id| (id.clone(), 9001)).collect())
    }

    fn pods(&self) -> Result<Vec<Alias>, NetError> {
        Ok(Vec::new())
    }
}

struct Rig {
    folder: TempDir,
    clerk: mpsc::Sender<AddressInput>,
    report: watch::Receiver<Report>,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::open(&folder.path().join("state/addresses.json")).unwrap();
        let (reports, report) = watch::channel(Report::default());
        let (counting, _) = watch::channel(Counts::default());
        let (clerk, inputs) = mpsc::channel();
        let thread = thread::spawn(move || {
            let histogram = Histogram::new([1.0]);
            Clerk::new(file, Box::new(Always), reports, counting, histogram).run(&inputs);
        });
        Self { folder, clerk, report, thread: Some(thread) }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("state/addresses.json")
    }

    fn written(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap_or_default()
    }

    fn tell(&self, count: u32, proposals: &[(Held, Proposal)]) {
        let interface = Interface {
            id: ENI.into(),
            mac: "02:00:00:00:00:01".into(),
            card: 0,
            index: 1,
            primary: Ipv4Addr::new(10, 0, 0, 5),
            subnet: "subnet-1".into(),
            gateway: Ipv4Addr::new(10, 0, 0, 1),
            units: ["10.0.0.17", "10.0.0.18"].map(|unit| unit.parse().unwrap()).into(),
        };
        let told = NodeAddresses {
            epoch: Epoch { term: 1, count },
            interfaces: [(ENI.into(), interface)].into(),
            proposals: proposals.iter().cloned().collect(),
        };
        self.clerk.send(AddressInput::Told(told)).unwrap();
    }

    fn add(&self, container: &str) -> Response {
        let attachment = Attachment { container: container.into(), device: "eth0".into() };
        let (reply, answer) = oneshot::channel();
        let request = Request::Add { attachment, pod: String::new() };
        self.clerk.send(AddressInput::Asked(request, reply)).unwrap();
        answer.blocking_recv().unwrap()
    }

    fn reported(&self, is_so: impl Fn(&Report) -> bool) -> Report {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let report = self.report.borrow().clone();
            if is_so(&report) {
                return report;
            }
            assert!(Instant::now() < end, "{report:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.clerk.send(AddressInput::End);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

#[test]
fn an_address_is_written_down_before_its_pod_hears_of_it() {
    let rig = Rig::new();
    rig.tell(1, &[]);
    let Response::Granted { address, mtu } = rig.add("sandbox-a") else { panic!("no address") };
    let written = rig.written();
    assert!(written.contains("sandbox-a") && written.contains(&address.to_string()), "{written}");
    assert_eq!(mtu, 9001);
}

#[test]
fn a_verdict_is_written_down_before_the_operator_hears_of_it() {
    let rig = Rig::new();
    rig.tell(1, &[]);
    rig.add("sandbox-a");
    let all: Vec<_> = ["10.0.0.17", "10.0.0.18"]
        .map(|unit| Held::unit(&ENI.into(), unit.parse().unwrap()))
        .map(|held| (held, Proposal { epoch: Epoch { term: 1, count: 2 } }))
        .into();
    rig.tell(2, &all);
    let report = rig.reported(|report| report.verdicts.len() == 2);
    let fenced: Vec<_> =
        report.verdicts.iter().filter(|(_, (_, v))| *v == Verdict::Fenced).collect();
    assert_eq!(fenced.len(), 1, "one has a pod: {report:?}");
    assert!(rig.written().contains("\"fenced\":true"), "{}", rig.written());
}

#[test]
fn where_nothing_can_be_written_nobody_is_promised_anything() {
    let rig = Rig::new();
    rig.tell(1, &[]);
    rig.add("sandbox-a");
    // A folder where the file should be replaces no file.
    std::fs::remove_file(rig.file()).unwrap();
    std::fs::create_dir_all(rig.file().join("in-the-way")).unwrap();
    let Response::Refused { message, .. } = rig.add("sandbox-b") else { panic!("it is promised") };
    assert!(message.contains("cannot be written down"), "{message}");
    std::fs::remove_dir_all(rig.file()).unwrap();
    assert!(matches!(rig.add("sandbox-b"), Response::Granted { .. }));
    assert!(rig.written().contains("sandbox-b"));
}
