//! The command line.

use crate::{addresses::AddressOptions, identity::Accounts, lease::Timing, uninstall};
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use penstock_modules::{CompileLimits, FetchOptions};
use penstock_telemetry::LogFormat;
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

/// The operator of Penstock.
#[derive(Debug, Parser)]
#[command(name = "penstock-operator", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch the API server, tell the nodes, write statuses, until SIGTERM.
    Run(Box<RunArgs>),
    /// Clean the nodes before the release is uninstalled: a hook of the chart.
    Uninstall(UninstallArgs),
    /// Say what stands in the way of addresses: permissions, subnets and security groups at EC2
    ///
    /// Asks EC2 as whom the operator is, here and now, whether each call that it makes would be
    /// permitted, and looks at what eni.nodeSpec selects. Nothing is changed. The exit code is 0 when
    /// nothing stands in the way, 1 when something does, 2 when the options are wrong.
    #[command(
        after_help = "Examples:\n  kubectl -n penstock-system exec deploy/penstock-operator -- /penstock-operator preflight\n  penstock-operator preflight --addresses '{\"eni\": {\"region\": \"eu-central-1\"}}' -o json"
    )]
    Preflight(Box<PreflightArgs>),
    /// Compile a module from standard input to standard output: how the operator calls itself.
    #[command(hide = true)]
    Compile(CompileArgs),
}

/// What a compilation may use.
#[derive(Debug, Args)]
pub struct CompileArgs {
    /// Bytes of memory.
    #[arg(long)]
    memory: u64,
    /// Seconds on a processor.
    #[arg(long)]
    cpu: u64,
}

impl CompileArgs {
    /// What they come to.
    pub fn limits(&self) -> CompileLimits {
        let cpu = Duration::from_secs(self.cpu);
        CompileLimits { memory: self.memory, cpu, ..CompileLimits::default() }
    }
}

/// What is cleaned.
#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// Namespace that Penstock is installed in.
    #[arg(long, env = "POD_NAMESPACE", default_value = "penstock-system")]
    pub namespace: String,
    /// Seconds that the nodes may take.
    #[arg(long, default_value_t = 120)]
    pub timeout: u64,
    /// Port of the agents' health.
    #[arg(long, default_value_t = 9091)]
    pub agent_admin_port: u16,
    /// A kubeconfig; without it that of the environment or of the pod.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// `text` or `json`.
    #[arg(long, default_value = "text")]
    pub log_format: LogFormat,
}

impl From<UninstallArgs> for uninstall::Options {
    fn from(args: UninstallArgs) -> Self {
        Self {
            namespace: args.namespace,
            patience: Duration::from_secs(args.timeout),
            agent_admin_port: args.agent_admin_port,
        }
    }
}

/// What is looked at before.
#[derive(Debug, Args)]
pub struct PreflightArgs {
    /// As `run` has it; in a pod of the operator it is there.
    #[arg(long, value_name = "FILE|JSON", env = "PENSTOCK_ADDRESSES", value_parser = AddressOptions::of_argument)]
    pub addresses: AddressOptions,
    /// A kubeconfig; without it that of the environment or of the pod. Nodes are read from it.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Form of the result.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: PreflightFormat,
}

/// Form of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PreflightFormat {
    /// For people.
    Text,
    /// JSON.
    Json,
}

/// How the operator runs.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Namespace that Penstock is installed in.
    #[arg(long, env = "POD_NAMESPACE", default_value = "penstock-system")]
    pub namespace: String,
    /// Name of the Lease that decides which replica writes.
    #[arg(long, default_value = "penstock-operator")]
    pub lease_name: String,
    /// Seconds without renewal after which another replica takes over.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(2..=300))]
    pub lease_duration: u64,
    /// Where nodes connect.
    #[arg(long, default_value = "[::]:9443")]
    pub stream_bind: SocketAddr,
    /// Name of the Service (without a selector) by which nodes find the leader.
    #[arg(long, default_value = "penstock-stream")]
    pub stream_service: String,
    /// Address under which nodes reach this replica: that of its pod. Without it the endpoint of the
    /// stream's Service is not written.
    #[arg(long, env = "POD_IP")]
    pub pod_ip: Option<IpAddr>,
    /// What this replica calls itself in the Lease: the name of its pod.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: Option<String>,
    /// Where /livez, /readyz, /metrics and /config are served.
    #[arg(long, default_value = "[::]:9090")]
    pub metrics_bind: SocketAddr,
    /// ServiceAccount of the proxies, in the namespace.
    #[arg(long, default_value = "penstock-proxy")]
    pub proxy_account: String,
    /// ServiceAccount of the agents, in the namespace.
    #[arg(long, default_value = "penstock-agent")]
    pub agent_account: String,
    /// Seconds that a new leader gives nodes to find it, before it says that there are none.
    #[arg(long, default_value_t = 10)]
    pub node_grace: u64,
    /// Registry (`host:port`) of modules that is spoken to without TLS; may be given several times.
    #[arg(long, value_name = "HOST:PORT")]
    pub plain_registry: Vec<String>,
    /// Seconds after which a module's tag is looked up again, and what a server refused asked for again.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    pub module_refresh: u64,
    /// Taint (its key) that a node loses once its agent is ready; empty: taints are left alone.
    #[arg(long, default_value = "node.penstock.dev/agent-not-ready")]
    pub node_taint: String,
    /// Seconds without its agent after which a node gets the taint back, so that no pods are started that
    /// would get no address. Where addresses are not Penstock's it does not come back.
    #[arg(
        long,
        default_value_t = 60,
        env = "PENSTOCK_AGENT_ABSENCE",
        value_parser = clap::value_parser!(u64).range(5..)
    )]
    pub agent_absence: u64,
    /// `eni` and `ipam` of the chart's values as JSON, or a file with it: nodes get their pods' addresses
    /// from EC2. Without it they do not
    #[arg(long, value_name = "FILE|JSON", env = "PENSTOCK_ADDRESSES", value_parser = AddressOptions::of_argument)]
    pub addresses: Option<AddressOptions>,
    /// A kubeconfig; without it that of the environment or of the pod.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// `text` or `json`.
    #[arg(long, default_value = "text")]
    pub log_format: LogFormat,
}

/// What the command line comes to.
#[derive(Clone, Debug)]
pub struct Options {
    /// See [`RunArgs::namespace`].
    pub namespace: String,
    /// See [`RunArgs::lease_name`].
    pub lease: String,
    /// What this replica calls itself.
    pub me: String,
    /// Times of the election.
    pub timing: Timing,
    /// See [`RunArgs::stream_bind`].
    pub stream_bind: SocketAddr,
    /// See [`RunArgs::stream_service`].
    pub stream_service: String,
    /// See [`RunArgs::pod_ip`].
    pub pod_ip: Option<IpAddr>,
    /// See [`RunArgs::metrics_bind`].
    pub metrics_bind: SocketAddr,
    /// ServiceAccounts of the nodes.
    pub accounts: Accounts,
    /// See [`RunArgs::node_grace`].
    pub grace: Duration,
    /// See [`RunArgs::module_refresh`].
    pub refresh: Duration,
    /// See [`RunArgs::node_taint`].
    pub node_taint: String,
    /// See [`RunArgs::agent_absence`].
    pub agent_absence: Duration,
    /// See [`RunArgs::addresses`].
    pub addresses: Option<AddressOptions>,
    /// How modules are fetched.
    pub fetch: FetchOptions,
    /// The program whose hidden command `compile` compiles modules; without one this process does.
    pub compiler: Option<PathBuf>,
}

impl RunArgs {
    /// What they come to.
    ///
    /// # Errors
    /// When this replica has no name, or does not know its own program.
    pub fn options(self) -> anyhow::Result<Options> {
        let me = match self.pod_name {
            Some(name) => name,
            None => std::fs::read_to_string("/proc/sys/kernel/hostname")
                .context("this replica has no name: give it one with --pod-name")?
                .trim()
                .to_owned(),
        };
        Ok(Options {
            lease: self.lease_name,
            me,
            timing: Timing::of(Duration::from_secs(self.lease_duration)),
            stream_bind: self.stream_bind,
            stream_service: self.stream_service,
            pod_ip: self.pod_ip,
            metrics_bind: self.metrics_bind,
            accounts: Accounts {
                namespace: self.namespace.clone(),
                proxy: self.proxy_account,
                agent: self.agent_account,
            },
            grace: Duration::from_secs(self.node_grace),
            refresh: Duration::from_secs(self.module_refresh),
            node_taint: self.node_taint,
            agent_absence: Duration::from_secs(self.agent_absence),
            addresses: self.addresses,
            fetch: FetchOptions {
                plain_registries: self.plain_registry.into_iter().collect(),
                ..FetchOptions::default()
            },
            compiler: Some(std::env::current_exe().context("cannot find this program's file")?),
            namespace: self.namespace,
        })
    }
}

/// A client of the API server.
///
/// # Errors
/// When nothing says where it is or who this is.
pub async fn client(kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
    let config = match kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None => Config::infer()
            .await
            .context("no API server is known: run in a pod, or give --kubeconfig")?,
    };
    Ok(Client::try_from(config)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent_and_its_defaults_are_those_of_the_chart() {
        Cli::command().debug_assert();
        let Command::Run(args) =
            Cli::parse_from(["penstock-operator", "run", "--pod-name=a"]).command
        else {
            panic!("another command")
        };
        let options = args.options().expect("options");
        assert_eq!(options.me, "a");
        assert_eq!(options.timing, Timing::default());
        assert_eq!(options.accounts.namespace, options.namespace);
    }

    #[test]
    fn a_misspelt_option_of_addresses_is_refused_with_the_path_of_its_field() {
        let json = r#"{"eni": {"nodeSpec": {"subnetTag": {}}}}"#;
        for command in ["run", "preflight"] {
            let line = ["penstock-operator", command, "--addresses", json];
            let error = Cli::try_parse_from(line).expect_err("it is misspelt").to_string();
            assert!(error.contains("eni.nodeSpec.subnetTag: unknown field"), "{error}");
        }
    }
}
