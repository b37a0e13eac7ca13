//! Keys and certificates of a cluster: one authority for servers and clients, one certificate for each
//! component, and kubeconfigs that carry them.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use serde_json::json;

use crate::layout::{API_PORT, API_SERVICE, CONTROL, Layout, NodePlan};

/// Makes everything below `pki/`, and the administrator's kubeconfig.
pub(crate) fn make(layout: &Layout, nodes: &[NodePlan]) -> Result<()> {
    fs::create_dir_all(layout.pki(""))?;
    let authority = Authority::new(layout)?;
    authority.server("apiserver", &api_names())?;
    authority.client("apiserver-kubelet", "apiserver-kubelet", Some("system:masters"))?;

    // What ServiceAccount tokens are signed with.
    let key = KeyPair::generate()?;
    write(&layout.pki("serviceaccount.key"), &key.serialize_pem())?;
    write(&layout.pki("serviceaccount.pub"), &key.public_key_pem())?;

    let admin = layout.kubeconfig();
    authority.kubeconfig(&admin, "admin", "penstock-test-admin", Some("system:masters"))?;
    for component in ["kube-controller-manager", "kube-scheduler", "kube-proxy"] {
        let file = layout.pki(&format!("{component}.kubeconfig"));
        authority.kubeconfig(&file, component, &format!("system:{component}"), None)?;
    }
    for node in nodes {
        let name = node.name();
        let (v4, v6) = node.internal();
        let names = [name.clone(), IpAddr::from(v4).to_string(), IpAddr::from(v6).to_string()];
        authority.server(&format!("{name}-server"), &names)?;
        let file = layout.pki(&format!("{name}.kubeconfig"));
        authority.kubeconfig(&file, &name, &format!("system:node:{name}"), Some("system:nodes"))?;
    }
    Ok(())
}

/// What the API server is called by those who dial it.
fn api_names() -> Vec<String> {
    let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"];
    let addresses =
        [IpAddr::from(CONTROL.0), CONTROL.1.into(), API_SERVICE.into(), [127, 0, 0, 1].into()];
    let addresses = addresses.iter().map(IpAddr::to_string);
    names.into_iter().map(str::to_owned).chain(addresses).collect()
}

struct Authority<'a> {
    layout: &'a Layout,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl<'a> Authority<'a> {
    fn new(layout: &'a Layout) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "penstock-test-cluster");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        write(&layout.pki("ca.crt"), &issuer.pem())?;
        Ok(Self { layout, issuer })
    }

    /// Writes `NAME.crt` and `NAME.key` of a server with these names and addresses.
    fn server(&self, name: &str, names: &[String]) -> Result<()> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(name, &params)
    }

    /// Writes `NAME.crt` and `NAME.key` of a client: user and group, as Kubernetes reads them.
    fn client(&self, name: &str, user: &str, group: Option<&str>) -> Result<()> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(name, &params)
    }

    fn issue(&self, name: &str, params: &CertificateParams) -> Result<()> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        write(&self.layout.pki(&format!("{name}.crt")), &certificate.pem())?;
        write(&self.layout.pki(&format!("{name}.key")), &key.serialize_pem())
    }

    /// Writes a client's certificate, and a kubeconfig that names it.
    fn kubeconfig(&self, to: &Path, name: &str, user: &str, group: Option<&str>) -> Result<()> {
        self.client(name, user, group)?;
        let pki = |file: String| self.layout.pki(&file).display().to_string();
        // JSON is YAML.
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "test", "cluster": {
                "server": format!("https://{}:{API_PORT}", CONTROL.0),
                "certificate-authority": pki("ca.crt".to_owned()),
            }}],
            "users": [{ "name": name, "user": {
                "client-certificate": pki(format!("{name}.crt")),
                "client-key": pki(format!("{name}.key")),
            }}],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": name } }],
            "current-context": "test",
        });
        write(to, &format!("{config:#}\n"))
    }
}

/// Writes a file that only its owner reads.
fn write(path: &Path, content: &str) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(content.as_bytes())?)
}
