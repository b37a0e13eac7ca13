//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

/// Gateway API with WASM policies: on one machine from files, and what a cluster makes of it.
#[derive(Debug, Parser)]
#[command(
    name = "penstock",
    version,
    about = "Gateway API with WASM policies: on one machine from files, and what a cluster makes of it",
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  penstock run -f examples/quickstart\n  penstock check -f examples/quickstart\n  penstock status --wait\n\n`penstock help COMMAND` says more."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the Gateways and routes of files and folders
    ///
    /// Reads Gateway API objects (YAML or JSON) and serves them. Files are watched: a change is
    /// applied as a whole, without a lost request; while a file is broken, what was served before
    /// is served on. SIGHUP reads everything again, SIGTERM and Ctrl-C finish the requests in
    /// flight and end.
    #[command(
        after_help = "Examples:\n  penstock run -f examples/quickstart\n  penstock run -f gateway.yaml -f routes/ --admin 127.0.0.1:9901 --access-log text\n\n  A listener on port 80 without root, dialled at port 8080:\n  penstock run -f site/ --port-offset 8000"
    )]
    Run(RunArgs),
    /// Say how Penstock is in a cluster, what is wrong and what to do about it
    ///
    /// Shows components, nodes, GatewayClasses, Gateways and pools, and a sentence with cause and
    /// remedy for each problem. It only reads. The exit code is 0 when everything is well, 1 when
    /// something is not, 2 when the cluster cannot be read.
    #[command(
        after_help = "Examples:\n  penstock status\n  penstock status --wait --timeout 10m\n  penstock status --context staging -o json | jq '.problems'"
    )]
    Status(StatusArgs),
    /// Say what a cluster would say of the objects in files
    ///
    /// Prints the status that each object would have in a cluster. The exit code is 0 when
    /// everything is accepted and resolved, 1 when something is not, 2 when nothing can be read.
    #[command(
        after_help = "Examples:\n  penstock check -f examples/quickstart\n  penstock check -f routes/ -o json | jq '.problems'\n  penstock check --values values.yaml"
    )]
    Check(CheckArgs),
    /// Run a folder with its sample requests and show what each filter did
    ///
    /// Serves the folder as `run` does, beside an echo backend, sends the requests of the folder's
    /// `expected.answers`, and shows each request, what reached the backend, and the answer. Then it
    /// stays up, so that the files can be changed.
    #[command(
        after_help = "Examples:\n  penstock demo examples/quickstart\n  penstock demo examples/quickstart --once"
    )]
    Demo(DemoArgs),
    /// Say what nodes have of addresses, what they will have, and what stands in the way
    #[command(
        subcommand,
        after_help = "Examples:\n  penstock eni status\n  penstock eni preflight\n  penstock eni plan 'm5.large*10=29'"
    )]
    Eni(EniCommand),
    /// A small backend that answers with the request it got, as JSON
    #[command(
        after_help = "Example:\n  penstock echo --bind 127.0.0.1:3000 &\n  curl -s http://127.0.0.1:3000/hello"
    )]
    Echo(EchoArgs),
}

/// Where objects are read from.
#[derive(Clone, Debug, Args)]
pub(crate) struct FileArgs {
    /// Files or folders with objects; folders are read with the folders below them
    #[arg(short = 'f', long = "file", value_name = "PATH", required = true, num_args = 1..)]
    pub(crate) paths: Vec<PathBuf>,
}

/// How the gateway serves.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on; may be repeated. The default can be reached from this machine only;
    /// 0.0.0.0 and :: are reached from everywhere
    #[arg(long, value_name = "IP", default_value = "127.0.0.1", num_args = 1..)]
    pub(crate) bind: Vec<IpAddr>,
    /// Added to the port of each listener: with 8000, a listener on port 80 is dialled at 8080
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port_offset: u16,
    /// Threads that serve; default: one for each core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,
    /// Serve /livez, /readyz, /metrics and /config (without secrets) here
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) admin: Option<SocketAddr>,
    /// Write a line for each request to standard output
    #[arg(long, value_name = "FORMAT")]
    pub(crate) access_log: Option<AccessLog>,
    /// How long requests in flight may take at the end, for example 30s
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(crate) drain_timeout: Duration,
}

/// `penstock run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) files: FileArgs,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// Form of the messages
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: EventFormat,
}

/// `penstock check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Files or folders with objects; folders are read with the folders below them
    #[arg(short = 'f', long = "file", value_name = "PATH", required_unless_present = "values", num_args = 1..)]
    pub(crate) paths: Vec<PathBuf>,
    /// Files with values of the Helm chart: keys that it does not know are named with the nearest
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) values: Vec<PathBuf>,
    /// Judge as a cluster would: no module files, no Services of type ExternalName
    #[arg(long)]
    pub(crate) cluster: bool,
    /// Form of the result
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: ReportFormat,
}

/// `penstock status`
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Repeat until everything is well; changes are told on standard error
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait at most, for example 5m
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration, requires = "wait")]
    pub(crate) timeout: Duration,
    /// Namespace that the chart is installed in; default: where it is found
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Form of the result
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: ReportFormat,
}

/// Which cluster is read, and as whom.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Context of the kubeconfig; default: its current one
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// kubeconfig; default: those of the environment variable KUBECONFIG, ~/.kube/config, or the
    /// service account of the pod that this runs in
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// `penstock eni`
#[derive(Debug, Subcommand)]
pub(crate) enum EniCommand {
    /// Say what each node has of addresses in a cluster, what is wrong and what to do about it
    ///
    /// Shows what the operator publishes of each node (PenstockNode), totals, and a sentence with
    /// cause and remedy for each problem. It only reads. The exit code is 0 when everything is well,
    /// 1 when something is not, 2 when the cluster cannot be read.
    #[command(
        after_help = "Examples:\n  penstock eni status\n  penstock eni status --node ip-10-0-1-7.eu-central-1.compute.internal\n  penstock eni status -o json | jq '.problems'"
    )]
    Status(EniStatusArgs),
    /// Say what stands in the way of ENI mode in a cluster, before or after the chart is installed
    ///
    /// Looks for other CNI plugins (aws-node among them), nodes that are no EC2 instances, instance
    /// types with too few addresses for their kubelet's pods, a missing kube-proxy, and ENIConfigs. It
    /// only reads, and asks Kubernetes alone: what EC2 permits is said by penstock-operator preflight.
    /// The exit code is 0 when nothing stands in the way, 1 when something does, 2 when the cluster
    /// cannot be read.
    #[command(
        after_help = "Examples:\n  penstock eni preflight\n  penstock eni preflight --prefix-delegation\n  penstock eni preflight -o json | jq -r '.problems[].remedy'\n\nWhat the operator's IAM role permits, once it runs:\n  kubectl -n penstock-system exec deploy/penstock-operator -- /penstock-operator preflight"
    )]
    Preflight(EniPreflightArgs),
    /// Predict interfaces, addresses and calls of EC2 for nodes that start at once
    ///
    /// Rehearses what the operator does for each node in subnets that have enough of everything. It
    /// calls nobody. The exit code is 1 when a pod would get no address.
    #[command(
        after_help = "Examples:\n  penstock eni plan 'm5.large*10=29'\n  penstock eni plan 'm5.large*10=110' 'c5.4xlarge*2=200' --prefix-delegation\n  penstock eni plan m5.large=40 -o json | jq '.nodes[].problem'"
    )]
    Plan(EniPlanArgs),
}

/// `penstock eni status`
#[derive(Debug, Args)]
pub(crate) struct EniStatusArgs {
    /// Only these nodes; may be repeated
    #[arg(long = "node", value_name = "NAME")]
    pub(crate) nodes: Vec<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Form of the result
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: ReportFormat,
}

/// `penstock eni preflight`
#[derive(Debug, Args)]
pub(crate) struct EniPreflightArgs {
    /// Prefixes of sixteen addresses (eni.awsEnablePrefixDelegation); default: as the operator that
    /// runs, if one does
    #[arg(long)]
    pub(crate) prefix_delegation: bool,
    /// First interface whose addresses pods get (eni.nodeSpec.firstInterfaceIndex); default: as the
    /// operator that runs, else 0
    #[arg(long, value_name = "N")]
    pub(crate) first_interface_index: Option<u8>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Form of the result
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: ReportFormat,
}

/// `penstock eni plan`
#[derive(Debug, Args)]
pub(crate) struct EniPlanArgs {
    /// Nodes: instance type, how many of it, pods on each that need an address
    #[arg(value_name = "TYPE[*NODES]=PODS", required = true)]
    pub(crate) nodes: Vec<Wish>,
    /// Prefixes of sixteen addresses instead of single ones (eni.awsEnablePrefixDelegation)
    #[arg(long)]
    pub(crate) prefix_delegation: bool,
    /// First interface whose addresses pods get (eni.nodeSpec.firstInterfaceIndex)
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) first_interface_index: u8,
    /// Pods get primary addresses too (eni.nodeSpec.usePrimaryAddress)
    #[arg(long)]
    pub(crate) use_primary_address: bool,
    /// Never fewer addresses than these (ipam.nodeSpec.ipamMinAllocate)
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) min_allocate: u32,
    /// Free addresses that are kept (ipam.nodeSpec.ipamPreAllocate)
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) pre_allocate: u32,
    /// Never more addresses than these (ipam.nodeSpec.ipamMaxAllocate)
    #[arg(long, value_name = "N")]
    pub(crate) max_allocate: Option<u32>,
    /// How many more are asked for whenever some are
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) max_above_watermark: u32,
    /// What a type can have that is newer than this program: interfaces, and addresses of each
    #[arg(long, value_name = "TYPE=INTERFACESxADDRESSES")]
    pub(crate) limits: Vec<TypeLimits>,
    /// Form of the result
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: ReportFormat,
}

/// Nodes of a type, and pods on each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The instance type.
    pub(crate) kind: String,
    /// How many nodes.
    pub(crate) nodes: u32,
    /// How many pods on each.
    pub(crate) pods: u32,
}

impl FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (nodes, pods) = text.split_once('=')?;
            let (kind, nodes) = nodes.split_once('*').unwrap_or((nodes, "1"));
            let (nodes, pods) = (nodes.parse().ok()?, pods.parse().ok()?);
            (!kind.is_empty()).then(|| Self { kind: kind.to_owned(), nodes, pods })
        };
        parse()
            .ok_or_else(|| "it must be as m5.large=29, or m5.large*10=29 for ten nodes".to_owned())
    }
}

/// What an instance type can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TypeLimits {
    /// The instance type.
    pub(crate) kind: String,
    /// Interfaces.
    pub(crate) interfaces: u16,
    /// Addresses of each.
    pub(crate) addresses: u16,
}

impl FromStr for TypeLimits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (kind, limits) = text.split_once('=')?;
            let (interfaces, addresses) = limits.split_once('x')?;
            let (interfaces, addresses) = (interfaces.parse().ok()?, addresses.parse().ok()?);
            Some(Self { kind: kind.to_owned(), interfaces, addresses })
        };
        parse()
            .ok_or_else(|| "it must be as m9.large=3x10: interfaces, addresses of each".to_owned())
    }
}

/// `penstock demo`
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Folder with objects and `expected.answers`
    pub(crate) folder: PathBuf,
    /// End after the requests; the exit code is 0 when every answer was as expected
    #[arg(long)]
    pub(crate) once: bool,
}

/// `penstock echo`
#[derive(Debug, Args)]
pub(crate) struct EchoArgs {
    /// Address and port to listen on; port 0 takes any
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:3000")]
    pub(crate) bind: SocketAddr,
}

/// Form of an access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccessLog {
    /// One JSON object a line
    Json,
    /// One line for people
    Text,
}

/// Form of the messages of a running gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// Form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people
    Text,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// A duration as the Gateway API writes it (GEP-2257).
fn duration(text: &str) -> Result<Duration, String> {
    penstock_resources::duration::parse(text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn shows_an_example(command: &clap::Command, path: &str) {
        for command in command.get_subcommands().filter(|c| c.get_name() != "help") {
            let path = format!("{path} {}", command.get_name());
            let help = command.clone().render_long_help().to_string();
            let examples = help.split("Example").nth(1).unwrap_or_default();
            assert!(examples.contains(&path), "{path}: {help}");
            shows_an_example(command, &path);
        }
    }

    #[test]
    fn every_command_shows_an_example() {
        shows_an_example(&Cli::command(), "penstock");
    }

    #[test]
    fn a_mistyped_flag_is_suggested() {
        let error = Cli::try_parse_from(["penstock", "run", "-f", "x", "--port-ofset", "1"])
            .expect_err("no such flag");
        assert!(error.to_string().contains("--port-offset"), "{error}");
    }

    #[test]
    fn a_run_binds_to_this_machine_unless_told_otherwise() {
        let Ok(Cli { command: Command::Run(run) }) =
            Cli::try_parse_from(["penstock", "run", "-f", "a", "b", "-f", "c"])
        else {
            panic!("a valid command line")
        };
        assert_eq!(run.files.paths, ["a", "b", "c"].map(PathBuf::from));
        assert_eq!(run.serve.bind, [IpAddr::from([127, 0, 0, 1])]);
        assert_eq!(run.serve.drain_timeout, Duration::from_secs(30));
    }
}
