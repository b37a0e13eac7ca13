//! The operations (CNI specification, section 2).

use crate::{
    agent::Agent,
    call::{Call, CniError, Code, Command, VERSIONS},
    owner::{Alias, device_name},
    protocol::{Request, Response},
};
use penstock_net::pods::{self, POD_GATEWAY, Wire};
use serde_json::{Value, json};
use std::{fs::File, net::Ipv4Addr, os::fd::AsFd as _, time::Duration};

/// For an address: longer than an agent needs to start, shorter than kubelet waits for a sandbox.
const ADD: Duration = Duration::from_secs(60);

/// For an agent that is told that a pod is gone: it finds out by itself as well.
const DEL: Duration = Duration::from_secs(5);

/// For what somebody waits for who can wait.
const LOOK: Duration = Duration::from_secs(5);

/// Does what a call asks for. Gives what is printed.
///
/// # Errors
/// With the codes of the specification.
pub fn perform(call: &Call) -> Result<Option<Value>, CniError> {
    let agent = Agent::at(call.socket.as_deref());
    match call.command {
        Command::Version => {
            let mut versions = VERSIONS;
            versions.sort_unstable();
            Ok(Some(json!({"cniVersion": call.version, "supportedVersions": versions})))
        }
        Command::Add => add(call, &agent).map(Some),
        Command::Del => del(call, &agent).map(|()| None),
        Command::Check => check(call, &agent).map(|()| None),
        Command::Gc => {
            let request = Request::Gc { valid: call.valid.clone() };
            asked(call, agent.ask(&request, LOOK), Code::TryAgain).map(|_| None)
        }
        Command::Status => {
            asked(call, agent.ask(&Request::Status, LOOK), Code::Unavailable).map(|_| None)
        }
    }
}

fn add(call: &Call, agent: &Agent) -> Result<Value, CniError> {
    let namespace = open(call)?;
    let request = Request::Add { attachment: call.attachment.clone(), pod: call.pod.clone() };
    let (address, mtu) = granted(call, asked(call, agent.ask(&request, ADD), Code::TryAgain)?)?;
    let wire = wire(call, address, mtu);
    if let Err(error) = pods::connect(&wire, namespace.as_fd()) {
        // The runtime calls DEL for it; where it does not, the agent sees that there is no device.
        return Err(call.fail(Code::Io, format!("{address} cannot be given to the pod: {error}")));
    }
    let text = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    let on_node = (wire.on_node.as_str(), text(pods::mac(POD_GATEWAY)));
    Ok(call.added(on_node, text(pods::mac(address)), address))
}

/// What is not there any more is as good as removed, and an agent that is away finds out when it is
/// back: a pod can always be removed.
fn del(call: &Call, agent: &Agent) -> Result<(), CniError> {
    let on_node = device_name(&call.attachment.container, &call.attachment.device);
    pods::disconnect(&on_node).map_err(|error| call.fail(Code::Io, error.to_string()))?;
    let request = Request::Del { attachment: call.attachment.clone() };
    match agent.ask(&request, DEL) {
        Ok(response) => asked(call, Ok(response), Code::TryAgain).map(drop),
        Err(error) => {
            eprintln!("{error}; it will see that the pod's device is gone");
            Ok(())
        }
    }
}

fn check(call: &Call, agent: &Agent) -> Result<(), CniError> {
    let namespace = open(call)?;
    let request = Request::Check { attachment: call.attachment.clone() };
    let (address, mtu) = granted(call, asked(call, agent.ask(&request, LOOK), Code::TryAgain)?)?;
    if let Some(previous) = &call.previous {
        let known = previous["ips"].as_array().into_iter().flatten();
        let known: Vec<_> = known.filter_map(|ip| ip["address"].as_str()).collect();
        if !known.contains(&format!("{address}/32").as_str()) {
            let message = format!("prevResult has {known:?}, the agent says {address}");
            return Err(call.fail(Code::Differs, message));
        }
    }
    let wire = wire(call, address, mtu);
    pods::check(&wire, namespace.as_fd()).map_err(|message| call.fail(Code::Differs, message))
}

fn wire(call: &Call, address: Ipv4Addr, mtu: u32) -> Wire {
    let (container, device) = (call.attachment.container.clone(), call.attachment.device.clone());
    Wire {
        on_node: device_name(&container, &device),
        device: device.clone(),
        alias: Alias { container, device, address }.to_string(),
        address,
        mtu,
    }
}

fn open(call: &Call) -> Result<File, CniError> {
    let path = call.namespace.as_deref().unwrap_or(std::path::Path::new(""));
    File::open(path).map_err(|error| {
        let message = format!("CNI_NETNS={}: {error}", path.display());
        call.fail(Code::InvalidEnvironment, message)
    })
}

fn asked(
    call: &Call,
    answered: Result<Response, crate::AgentError>,
    away: Code,
) -> Result<Response, CniError> {
    match answered {
        Ok(Response::Refused { code, message }) => {
            Err(CniError { version: call.version.clone(), code, message })
        }
        Ok(response) => Ok(response),
        Err(error) => Err(call.fail(away, error.to_string())),
    }
}

fn granted(call: &Call, response: Response) -> Result<(Ipv4Addr, u32), CniError> {
    match response {
        Response::Granted { address, mtu } => Ok((address, mtu)),
        other => Err(call.fail(Code::Io, format!("the agent answers {other:?} to this"))),
    }
}
