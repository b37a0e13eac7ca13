//! `cargo xtask cluster`: a real Kubernetes cluster in network namespaces, see `tests/cluster`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use penstock_test_cluster::{Cluster, Options, conformance, crds, default_dir, install};

/// Make, use and take away a Kubernetes cluster for tests (needs root)
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    action: Action,
    /// Its folder, made by `up` and removed by `down` [default: in the cache]
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a cluster with Penstock in it, installed from its chart
    Up {
        /// How many nodes
        #[arg(long, default_value_t = 2)]
        nodes: u8,
        /// With the Gateway API's definitions alone
        #[arg(long)]
        bare: bool,
    },
    /// Show what there is of it
    Status,
    /// Take it away, or what is left of it after a crash
    Down,
    /// Import the images of an OCI archive into all nodes
    Import {
        /// The archive
        archive: PathBuf,
    },
    /// Run a program outside of the cluster, where clients are, with kubectl and helm at hand
    Client {
        /// The program with its arguments [default: a shell]
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run a program on a node
    Node {
        /// The node, for example node1
        name: String,
        /// The program with its arguments [default: a shell]
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

pub(crate) fn run(args: &ClusterArgs) -> Result<ExitCode> {
    let dir = args.dir.clone().unwrap_or_else(default_dir);
    match &args.action {
        Action::Up { nodes, bare } => up(&Options { nodes: *nodes, dir, vpc: false }, *bare)?,
        Action::Status => return status(&dir),
        Action::Down => Cluster::down(&dir)?,
        Action::Import { archive } => Cluster::open(&dir)?.import_images(archive)?,
        Action::Client { command } => {
            let cluster = Cluster::open(&dir)?;
            let (program, arguments) = or_shell(command);
            return exit_of(cluster.client(program).args(arguments));
        }
        Action::Node { name, command } => {
            let cluster = Cluster::open(&dir)?;
            let nodes = cluster.nodes();
            let node = nodes.iter().find(|node| node.name() == name);
            let node = node.with_context(|| format!("no node {name}"))?;
            let (program, arguments) = or_shell(command);
            return exit_of(node.machine.command(&program)?.args(arguments));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn up(options: &Options, bare: bool) -> Result<()> {
    let start = Instant::now();
    let cluster = Cluster::up(options)?;
    crds::apply(&cluster)?;
    println!("up in {:.1} s (the first time builds Kubernetes)", start.elapsed().as_secs_f32());
    if !bare {
        let start = Instant::now();
        cluster.install(&install::images(), &[])?;
        conformance::import_echo(&cluster)?;
        println!("Penstock installed in {:.1} s", start.elapsed().as_secs_f32());
    }
    println!();
    let dir = std::path::absolute(&options.dir)?;
    let more =
        if dir == default_dir() { String::new() } else { format!(" --dir {}", dir.display()) };
    println!("KUBECONFIG={}", cluster.kubeconfig().display());
    println!("client's network namespace: {}", cluster.client_netns());
    for node in cluster.nodes() {
        let name = node.name();
        println!("{name}: {} in the cluster, {} on its uplink", node.address.0, node.uplink.0);
    }
    if !bare {
        println!("\nA Gateway to send requests to: examples/cluster/README.md");
    }
    println!(
        "\nA shell where clients are, with kubectl and helm: cargo xtask cluster client{more}"
    );
    println!("Take it away: cargo xtask cluster down{more}");
    let _kept = cluster.keep();
    Ok(())
}

/// Says what there is; succeeds when the cluster is up and all its nodes are ready.
fn status(dir: &std::path::Path) -> Result<ExitCode> {
    let remains = Cluster::remains(dir)?;
    if remains.is_empty() {
        println!("no cluster");
        return Ok(ExitCode::FAILURE);
    }
    let cluster = match Cluster::open(dir) {
        Ok(cluster) => cluster,
        Err(error) => {
            println!(
                "{error:#}; of it there are still (cargo xtask cluster down takes them away):"
            );
            println!("{remains:#?}");
            return Ok(ExitCode::FAILURE);
        }
    };
    println!("KUBECONFIG={}", cluster.kubeconfig().display());
    exit_of(cluster.client("kubectl").args(["get", "nodes,pods", "-A", "-o", "wide"]))
}

fn or_shell(command: &[String]) -> (String, &[String]) {
    match command {
        [] => (std::env::var("SHELL").unwrap_or_else(|_| "sh".to_owned()), &[]),
        [program, arguments @ ..] => (program.clone(), arguments),
    }
}

fn exit_of(command: &mut std::process::Command) -> Result<ExitCode> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}
