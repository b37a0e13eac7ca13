//! What a plugin is given and what it answers (CNI specification, sections 2 to 5).

use crate::protocol::Attachment;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{net::Ipv4Addr, path::PathBuf};

/// Versions of the specification that this plugin knows.
pub const VERSIONS: [&str; 4] = ["0.4.0", "1.0.0", "1.1.0", "0.3.1"];

/// Longest id of a container that fits a device's alias beside the rest.
const MAX_CONTAINER: usize = 200;

/// `IFNAMSIZ`, without the zero at its end.
const MAX_DEVICE: usize = 15;

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Adds a pod to the network.
    Add,
    /// Removes it.
    Del,
    /// Looks whether it is as it was.
    Check,
    /// Removes what is left of others.
    Gc,
    /// Whether pods could be added.
    Status,
    /// Names the versions.
    Version,
}

impl Command {
    /// The variable that names it.
    pub const VARIABLE: &str = "CNI_COMMAND";

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "GC" => Self::Gc,
            "STATUS" => Self::Status,
            "VERSION" => Self::Version,
            _ => return None,
        })
    }

    fn has_attachment(self) -> bool {
        matches!(self, Self::Add | Self::Del | Self::Check)
    }
}

/// The codes of the specification (section 5, "Error").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The version is not known.
    IncompatibleVersion = 1,
    /// The container is not known.
    UnknownContainer = 3,
    /// A variable is missing or no good.
    InvalidEnvironment = 4,
    /// Reading, writing, or the kernel.
    Io = 5,
    /// The configuration is no JSON of the right form.
    Undecodable = 6,
    /// The configuration says what cannot be.
    InvalidConfiguration = 7,
    /// It works later.
    TryAgain = 11,
    /// STATUS: no pod can be added.
    Unavailable = 50,
    /// A code of this plugin's own: the pod is not as it was.
    Differs = 100,
}

/// An operation that failed, as it is answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CniError {
    /// The version that the configuration has.
    pub version: String,
    /// Its number.
    pub code: u32,
    /// Cause and remedy.
    pub message: String,
}

impl CniError {
    /// As the specification has it.
    pub fn to_json(&self) -> Value {
        json!({"cniVersion": self.version, "code": self.code, "msg": self.message, "details": ""})
    }
}

/// A configuration, as far as it concerns this plugin. What it does not know is others': each plugin of a
/// list gets the keys of its own part.
#[derive(Clone, Debug, Default, Deserialize)]
struct Configuration {
    #[serde(rename = "cniVersion", default)]
    version: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(rename = "prevResult")]
    previous: Option<Value>,
    #[serde(rename = "agentSocket")]
    socket: Option<PathBuf>,
    #[serde(rename = "cni.dev/valid-attachments")]
    valid: Option<Vec<Valid>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Valid {
    #[serde(rename = "containerID")]
    container: String,
    #[serde(rename = "ifname")]
    device: String,
}

/// What a plugin was started for.
#[derive(Clone, Debug)]
pub struct Call {
    /// The operation.
    pub command: Command,
    /// The version that the answer has.
    pub version: String,
    /// For whom; empty where the operation is for nobody.
    pub attachment: Attachment,
    /// The pod's network namespace; `None` where it is gone.
    pub namespace: Option<PathBuf>,
    /// `namespace/name` of the pod, if the runtime says.
    pub pod: String,
    /// Where the agent listens, where it is said.
    pub socket: Option<PathBuf>,
    /// All that there are (GC).
    pub valid: Vec<Attachment>,
    /// What ADD answered (CHECK).
    pub previous: Option<Value>,
}

impl Call {
    /// Reads environment and standard input.
    ///
    /// # Errors
    /// What is missing or malformed, with the code of the specification.
    pub fn read(variable: impl Fn(&str) -> Option<String>, input: &[u8]) -> Result<Self, CniError> {
        let version = VERSIONS[2].to_owned();
        let fail = |version: &str, code: Code, message: String| CniError {
            version: version.to_owned(),
            code: code as u32,
            message,
        };
        let configuration: Configuration = serde_json::from_slice(input).map_err(|error| {
            let message = format!("the configuration on standard input cannot be decoded: {error}");
            fail(&version, Code::Undecodable, message)
        })?;
        let said = variable(Command::VARIABLE).unwrap_or_default();
        let Some(command) = Command::named(&said) else {
            let message = format!(
                "{}={said:?}: it is one of ADD, DEL, CHECK, GC, STATUS, VERSION",
                Command::VARIABLE
            );
            return Err(fail(&version, Code::InvalidEnvironment, message));
        };
        let asked = configuration.version.clone().unwrap_or_else(|| "0.1.0".into());
        if command != Command::Version && !VERSIONS.contains(&asked.as_str()) {
            let message =
                format!("cniVersion {asked:?} is not known; known: {}", VERSIONS.join(", "));
            return Err(fail(&version, Code::IncompatibleVersion, message));
        }
        let version = if command == Command::Version { version } else { asked };
        let environment = |message: String| fail(&version, Code::InvalidEnvironment, message);
        let mut call = Self {
            command,
            version: version.clone(),
            attachment: Attachment { container: String::new(), device: String::new() },
            namespace: variable("CNI_NETNS").filter(|path| !path.is_empty()).map(PathBuf::from),
            pod: pod(&variable("CNI_ARGS").unwrap_or_default()),
            socket: configuration.socket,
            valid: Vec::new(),
            previous: configuration.previous,
        };
        if command.has_attachment() {
            if configuration.name.is_empty() {
                let message = "name: the network has none".into();
                return Err(fail(&version, Code::InvalidConfiguration, message));
            }
            call.attachment = Attachment {
                container: container(variable("CNI_CONTAINERID")).map_err(environment)?,
                device: device(variable("CNI_IFNAME")).map_err(environment)?,
            };
            if command != Command::Del && call.namespace.is_none() {
                return Err(environment(
                    "CNI_NETNS is missing: the pod's network namespace".into(),
                ));
            }
        }
        if command == Command::Gc {
            let valid = configuration.valid.ok_or_else(|| {
                let message = "cni.dev/valid-attachments is missing".to_owned();
                fail(&version, Code::InvalidConfiguration, message)
            })?;
            let valid = valid.into_iter();
            call.valid =
                valid.map(|v| Attachment { container: v.container, device: v.device }).collect();
        }
        Ok(call)
    }

    /// A failure of this call.
    pub fn fail(&self, code: Code, message: impl Into<String>) -> CniError {
        CniError { version: self.version.clone(), code: code as u32, message: message.into() }
    }

    /// The answer to ADD (specification, section 5, "Success").
    pub fn added(&self, on_node: (&str, String), in_pod: String, address: Ipv4Addr) -> Value {
        let sandbox = self.namespace.as_ref().map(|path| path.display().to_string());
        let gateway = penstock_net::pods::POD_GATEWAY;
        let mut ip = json!({
            "address": format!("{address}/32"), "gateway": gateway, "interface": 1,
        });
        if self.version.starts_with("0.") {
            ip["version"] = json!("4");
        }
        json!({
            "cniVersion": self.version,
            "interfaces": [
                {"name": on_node.0, "mac": on_node.1},
                {"name": self.attachment.device, "mac": in_pod, "sandbox": sandbox},
            ],
            "ips": [ip],
            "routes": [{"dst": "0.0.0.0/0", "gw": gateway}],
            "dns": {},
        })
    }
}

/// `CNI_CONTAINERID` (specification, section 2): an alphanumeric character, then also `.`, `_`, `-`.
fn container(said: Option<String>) -> Result<String, String> {
    let id = said.unwrap_or_default();
    let begins = id.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_good = id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    match begins && is_good && id.len() <= MAX_CONTAINER {
        true => Ok(id),
        false => Err(format!(
            "CNI_CONTAINERID={id:?}: it is up to {MAX_CONTAINER} letters, digits, '.', '_' and '-', and begins with a letter or digit"
        )),
    }
}

/// `CNI_IFNAME`: what Linux takes as the name of a device.
fn device(said: Option<String>) -> Result<String, String> {
    let name = said.unwrap_or_default();
    let is_good = name.bytes().all(|b| b.is_ascii_graphic() && !b"/:".contains(&b));
    match is_good && !name.is_empty() && name.len() <= MAX_DEVICE && name != "." && name != ".." {
        true => Ok(name),
        false => Err(format!(
            "CNI_IFNAME={name:?}: it is up to {MAX_DEVICE} characters without '/', ':' and spaces"
        )),
    }
}

/// `namespace/name`, from `K8S_POD_NAMESPACE=a;K8S_POD_NAME=b`.
fn pod(arguments: &str) -> String {
    let of = |key: &str| {
        let mut all = arguments.split(';').filter_map(|argument| argument.split_once('='));
        all.find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    match (of("K8S_POD_NAMESPACE"), of("K8S_POD_NAME")) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: [(&str, &str); 5] = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "0123abcd"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_NETNS", "/run/netns/pod"),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1"),
    ];

    /// A call with some variables changed; an empty one is absent.
    fn read(change: &[(&str, &str)], input: &str) -> Result<Call, CniError> {
        let of = |name: &str| {
            let mut all = change.iter().chain(&GOOD);
            all.find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Call::read(|name| of(name).filter(|value| !value.is_empty()), input.as_bytes())
    }

    const CONFIGURATION: &str = r#"{"cniVersion": "1.0.0", "name": "pods", "type": "penstock-cni", "other": {"of": "others"}}"#;

    #[test]
    fn what_the_specification_names_is_read() {
        let call = read(&[], CONFIGURATION).unwrap();
        assert_eq!((call.command, call.version.as_str()), (Command::Add, "1.0.0"));
        assert_eq!(call.attachment.container, "0123abcd");
        assert_eq!(call.pod, "shop/web-1");
        let gone = read(&[("CNI_COMMAND", "DEL"), ("CNI_NETNS", "")], CONFIGURATION).unwrap();
        assert_eq!(gone.namespace, None);
        let gc = r#"{"cniVersion": "1.1.0", "name": "pods", "cni.dev/valid-attachments":
            [{"containerID": "a", "ifname": "eth0"}]}"#;
        let call = read(&[("CNI_COMMAND", "GC"), ("CNI_CONTAINERID", "")], gc).unwrap();
        assert_eq!(call.valid, [Attachment { container: "a".into(), device: "eth0".into() }]);
        read(&[("CNI_COMMAND", "VERSION")], r#"{"cniVersion": "9.9.9"}"#).unwrap();
    }

    #[test]
    fn garbage_gets_the_code_of_the_specification() {
        let code = |change: &[(&str, &str)], input: &str| read(change, input).unwrap_err().code;
        assert_eq!(code(&[], "{"), 6);
        assert_eq!(code(&[], ""), 6);
        assert_eq!(code(&[], r#"{"cniVersion": 1}"#), 6);
        assert_eq!(code(&[], r#"{"cniVersion": "9.9.9", "name": "pods"}"#), 1);
        assert_eq!(code(&[], r#"{"name": "pods"}"#), 1, "0.1.0 is meant");
        assert_eq!(code(&[], r#"{"cniVersion": "1.0.0"}"#), 7);
        assert_eq!(code(&[("CNI_COMMAND", "MEND")], CONFIGURATION), 4);
        assert_eq!(code(&[("CNI_NETNS", "")], CONFIGURATION), 4);
        for id in ["", "-a", "a/b", "a b", &"a".repeat(201)] {
            assert_eq!(code(&[("CNI_CONTAINERID", id)], CONFIGURATION), 4, "{id}");
        }
        for name in ["", "..", "a/b", "a:b", "sixteen-letters-"] {
            assert_eq!(code(&[("CNI_IFNAME", name)], CONFIGURATION), 4, "{name}");
        }
        assert_eq!(code(&[("CNI_COMMAND", "GC")], CONFIGURATION), 7);
    }

    #[test]
    fn an_answer_has_the_form_of_its_version() {
        let address = Ipv4Addr::new(10, 0, 0, 17);
        let call = read(&[], CONFIGURATION).unwrap();
        let added = call.added(("pst1", "0a:58".into()), "0a:59".into(), address);
        assert_eq!(added["cniVersion"], "1.0.0");
        assert_eq!(added["ips"][0]["address"], "10.0.0.17/32");
        assert!(added["ips"][0].get("version").is_none());
        assert_eq!(added["interfaces"][1]["sandbox"], "/run/netns/pod");
        let old = read(&[], r#"{"cniVersion": "0.4.0", "name": "pods"}"#).unwrap();
        let added = old.added(("pst1", String::new()), String::new(), address);
        assert_eq!(added["ips"][0]["version"], "4");
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_answered(input in proptest::collection::vec(any::<u8>(), 0..200), id in ".{0,40}") {
            let _ = Call::read(|name| (name == "CNI_CONTAINERID").then(|| id.clone()), &input);
            let _ = read(&[("CNI_CONTAINERID", &id), ("CNI_IFNAME", &id), ("CNI_ARGS", &id)], CONFIGURATION);
        }
    }
}
