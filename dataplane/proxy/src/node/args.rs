//! The command line.

use crate::telemetry::AccessLogFormat;
use clap::Parser;
use penstock_telemetry::LogFormat;
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

/// The proxy of Penstock on a node of a cluster.
///
/// Example: penstock-proxy --node worker-1 --pod penstock-proxy-x7k2p
/// --operator https://10.96.0.20:9443
#[derive(Debug, Parser)]
#[command(name = "penstock-proxy", version, about)]
pub struct Args {
    /// Name of the Node
    #[arg(long, env = "NODE_NAME")]
    pub node: String,
    /// Name of the pod
    #[arg(long, env = "POD_NAME")]
    pub pod: String,
    /// Addresses of the pod, separated by commas
    #[arg(long, env = "POD_IPS", value_delimiter = ',')]
    pub pod_ips: Vec<IpAddr>,
    /// `https://HOST:PORT` of the operator
    #[arg(long, env = "PENSTOCK_OPERATOR")]
    pub operator: String,
    /// Name in the operator's certificate
    #[arg(long, default_value = "penstock-stream.penstock-system.svc")]
    pub operator_name: String,
    /// File with the operator's CA
    #[arg(long, default_value = "/etc/penstock/trust/ca.crt")]
    pub ca: PathBuf,
    /// File with the key that compiled modules are signed with
    #[arg(long, default_value = "/etc/penstock/trust/modules.pub")]
    pub modules_key: PathBuf,
    /// File with the ServiceAccount token for the operator
    #[arg(long, default_value = "/var/run/secrets/penstock/token")]
    pub token: PathBuf,
    /// Folder that keeps the last configuration, encrypted; without it the operator is asked after a
    /// restart
    #[arg(long)]
    pub store: Option<PathBuf>,
    /// File with the key of that folder, on a tmpfs
    #[arg(long, default_value = "/run/penstock-keys/proxy.key")]
    pub store_key: PathBuf,
    /// Socket of the node's agent, which hands over listening sockets. Without it, and beside it, the
    /// target ports are bound
    #[arg(long)]
    pub agent: Option<PathBuf>,
    /// Address on which the target ports are bound; may be repeated
    #[arg(long, value_name = "IP", default_values = ["0.0.0.0", "::"], num_args = 1..)]
    pub bind: Vec<IpAddr>,
    /// Threads that serve; default: one for each core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=253))]
    pub workers: Option<u16>,
    /// Where /livez, /readyz, /metrics and /config are served
    #[arg(long, default_value = "0.0.0.0:9090")]
    pub admin: SocketAddr,
    /// Write a line for each request to standard output
    #[arg(long, value_name = "FORMAT")]
    pub access_log: Option<AccessLogFormat>,
    /// Seconds that requests in flight may take at the end
    #[arg(long, default_value_t = 30)]
    pub drain_timeout: u64,
    /// Form of the log
    #[arg(long, default_value = "text")]
    pub log_format: LogFormat,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent_and_shows_an_example() {
        Args::command().debug_assert();
        let help = Args::command().render_long_help().to_string();
        assert!(help.contains("Example: penstock-proxy --node"), "{help}");
    }

    #[test]
    fn addresses_of_a_pod_come_as_kubernetes_writes_them() {
        let args = ["penstock-proxy", "--node", "n", "--pod", "p", "--operator", "https://o:1"];
        let args = args.into_iter().chain(["--pod-ips", "10.0.0.1,fd00::1"]);
        let args = Args::try_parse_from(args).expect("a valid command line");
        assert_eq!(args.pod_ips.len(), 2);
    }
}
