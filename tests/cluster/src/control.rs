//! The control plane: etcd, API server, controller manager and scheduler on one machine.

use std::path::Path;

use anyhow::Result;

use crate::layout::{API_PORT, CONTROL, Layout, SERVICE_RANGE};
use crate::machine::Machine;

/// Its programs, in the order in which they start.
pub(crate) const PROGRAMS: [&str; 4] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// Tells the machine what to run.
pub(crate) fn define(machine: &Machine, layout: &Layout, bin: &Path) -> Result<()> {
    let pki = |file: &str| layout.pki(file).display().to_string();
    let data = machine.dir().join("etcd");
    let own = |flag: &str| format!("{flag}={}", data.display());

    let etcd = vec![
        own("--data-dir"),
        // Only this machine's own network namespace reaches it.
        "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
        "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
        "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
        // What is lost when the computer fails was a test cluster's.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    machine.define(&bin.join(PROGRAMS[0]), &etcd)?;

    let apiserver = vec![
        "--etcd-servers=http://127.0.0.1:2379".to_owned(),
        format!("--secure-port={API_PORT}"),
        format!("--advertise-address={}", CONTROL.0),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        format!("--tls-cert-file={}", pki("apiserver.crt")),
        format!("--tls-private-key-file={}", pki("apiserver.key")),
        format!("--client-ca-file={}", pki("ca.crt")),
        format!("--kubelet-certificate-authority={}", pki("ca.crt")),
        format!("--kubelet-client-certificate={}", pki("apiserver-kubelet.crt")),
        format!("--kubelet-client-key={}", pki("apiserver-kubelet.key")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", pki("serviceaccount.pub")),
        format!("--service-account-signing-key-file={}", pki("serviceaccount.key")),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--profiling=false".to_owned(),
        // Seconds that stopping would otherwise take while watches are open.
        "--shutdown-delay-duration=0s".to_owned(),
    ];
    machine.define(&bin.join(PROGRAMS[1]), &apiserver)?;

    let kubeconfig = |component: &str| pki(&format!("{component}.kubeconfig"));
    let client = |component: &str| {
        vec![
            format!("--kubeconfig={}", kubeconfig(component)),
            "--bind-address=127.0.0.1".to_owned(),
            "--leader-elect=false".to_owned(),
            "--profiling=false".to_owned(),
        ]
    };
    let mut controllers = client(PROGRAMS[2]);
    controllers.extend([
        format!("--root-ca-file={}", pki("ca.crt")),
        format!("--service-account-private-key-file={}", pki("serviceaccount.key")),
        "--use-service-account-credentials=true".to_owned(),
    ]);
    machine.define(&bin.join(PROGRAMS[2]), &controllers)?;
    machine.define(&bin.join(PROGRAMS[3]), &client(PROGRAMS[3]))
}
