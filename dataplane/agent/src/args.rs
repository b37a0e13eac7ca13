//! The command line.

use crate::addresses::Networks;
use clap::{Args, Parser, Subcommand};
use penstock_telemetry::LogFormat;
use std::{net::SocketAddr, path::PathBuf};

/// The node agent of Penstock: steers packets to the proxies of its node.
#[derive(Debug, Parser)]
#[command(name = "penstock-agent", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Steer until SIGTERM; what is set up stays, and the next agent takes it over
    ///
    /// Example: penstock-agent run --node worker-1 --pod penstock-agent-x7k2p
    Run(Box<RunArgs>),
    /// Take programs, routes and rules away
    ///
    /// Example: penstock-agent uninstall --pins /sys/fs/bpf/penstock
    Uninstall(UninstallArgs),
    /// Name what the node lacks; exit code 1 where something is missing
    ///
    /// Example: penstock-agent probe --pins /sys/fs/bpf/penstock
    Probe(PinArgs),
}

/// Where the programs are.
#[derive(Clone, Debug, Args)]
pub struct PinArgs {
    /// Folder in a BPF file system that holds the programs while no agent runs
    #[arg(long, default_value = "/sys/fs/bpf/penstock")]
    pub pins: PathBuf,
}

/// What goes, and who is told.
#[derive(Clone, Debug, Args)]
pub struct UninstallArgs {
    #[command(flatten)]
    /// Where the programs are.
    pub pins: PinArgs,
    /// Folder whose contents go as well; may be repeated
    #[arg(long, value_name = "PATH")]
    pub remove: Vec<PathBuf>,
    /// Then say so at /livez and /readyz here until SIGTERM, as a pod of a DaemonSet does
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin: Option<SocketAddr>,
}

/// How pods get addresses.
#[derive(Clone, Debug, Args)]
pub struct AddressArgs {
    /// Give the node's pods their addresses, as the CNI plugin of the node
    #[arg(long)]
    pub addresses: bool,
    /// What pods send elsewhere than to these networks (CIDRs, a comma between two) leaves by the first
    /// interface with the node's address; without it, everything leaves with the pod's own
    #[arg(long, value_name = "CIDRS", requires = "addresses")]
    pub masquerade_outside: Option<Networks>,
    /// Have pods of the node reach each other past its network stack, by TCP over IPv4. Netfilter does
    /// not see their packets
    #[arg(long, requires = "addresses")]
    pub pod_redirect: bool,
    /// File that keeps which pod has which
    #[arg(long, value_name = "FILE", default_value = "/var/lib/penstock/addresses.json")]
    pub addresses_file: PathBuf,
    /// Socket at which the plugin asks
    #[arg(long, value_name = "PATH", default_value = "/run/penstock/cni.sock")]
    pub cni_socket: PathBuf,
    /// The plugin, as it is copied to the node
    #[arg(long, value_name = "FILE", default_value = "/penstock-cni")]
    pub cni_plugin: PathBuf,
    /// Folder of the node's plugins
    #[arg(long, value_name = "PATH", default_value = "/opt/cni/bin")]
    pub cni_bin: PathBuf,
    /// Folder of the node's network configurations
    #[arg(long, value_name = "PATH", default_value = "/etc/cni/net.d")]
    pub cni_conf: PathBuf,
}

/// How the agent runs.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    /// Where the programs are.
    pub pins: PinArgs,
    /// Socket at which proxies get their listening sockets
    #[arg(long, default_value = "/run/penstock/proxy.sock")]
    pub handover: PathBuf,
    /// Name of the Node
    #[arg(long, env = "NODE_NAME")]
    pub node: String,
    /// Name of the pod
    #[arg(long, env = "POD_NAME")]
    pub pod: String,
    /// `https://HOST:PORT` of the operator
    #[arg(long, env = "PENSTOCK_OPERATOR")]
    pub operator: String,
    /// Name in the operator's certificate
    #[arg(long, default_value = "penstock-stream.penstock-system.svc")]
    pub operator_name: String,
    /// File with the operator's CA
    #[arg(long, default_value = "/etc/penstock/trust/ca.crt")]
    pub ca: PathBuf,
    /// File with the ServiceAccount token for the operator
    #[arg(long, default_value = "/var/run/secrets/penstock/token")]
    pub token: PathBuf,
    /// Folder that keeps the last configuration; without it the operator is asked after a restart
    #[arg(long)]
    pub store: Option<PathBuf>,
    /// File with the key of that folder, on a tmpfs
    #[arg(long, default_value = "/run/penstock/agent.key")]
    pub store_key: PathBuf,
    /// Folder that the proxies write to; made, and opened to the agent's group. May be repeated
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub share: Vec<PathBuf>,
    #[command(flatten)]
    /// Addresses of pods.
    pub addresses: AddressArgs,
    /// Where /livez, /readyz, /metrics and /config are served
    #[arg(long, default_value = "127.0.0.1:9091")]
    pub admin: SocketAddr,
    /// Form of the log
    #[arg(long, default_value = "text")]
    pub log_format: LogFormat,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent_and_every_command_shows_an_example() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands().filter(|c| c.get_name() != "help") {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains(&format!("penstock-agent {} ", command.get_name())), "{help}");
        }
    }

    #[test]
    fn masquerade_takes_networks_and_only_where_pods_get_addresses() {
        let given = |more: &[&str]| {
            let needed = "penstock-agent run --node a --pod b --operator https://c:1";
            Cli::try_parse_from(needed.split(' ').chain(more.iter().copied()))
        };
        let outside = "--masquerade-outside=10.0.0.0/16,100.64.0.0/10";
        let Ok(Cli { command: Command::Run(run) }) = given(&["--addresses", outside]) else {
            panic!("it is refused");
        };
        assert_eq!(run.addresses.masquerade_outside.unwrap().as_slice().len(), 2);
        let error = given(&[outside]).unwrap_err().to_string();
        assert!(error.contains("--addresses"), "{error}");
        let error = given(&["--addresses", "--masquerade-outside=10.0.0.1/16"]).unwrap_err();
        assert!(error.to_string().contains("10.0.0.0/16"), "{error}");
    }
}
