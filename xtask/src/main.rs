//! Generated files, filters and test tools.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod cluster;
mod conformance;
mod ebpf;
mod filters;
mod generate;
mod images;

/// Tasks of this repository, run as `cargo xtask TASK`.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Write CRDs, field reference and schemas from their sources
    Generate(generate::GenerateArgs),
    /// Build every policy of filters/ and examples/filters/ as a component into filters/dist/
    Filters(filters::FiltersArgs),
    /// Build the programs of ebpf/ that run in the kernel into ebpf/dist/
    Ebpf,
    Cluster(cluster::ClusterArgs),
    Conformance(conformance::ConformanceArgs),
    /// Build the images of operator, agent and proxy into one OCI archive
    Images(images::ImagesArgs),
    /// Install a tool that tests need and print its path
    Tools {
        /// Which one
        tool: Tool,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Tool {
    /// Reads, checks and prints components and WIT
    WasmTools,
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().task {
        Task::Cluster(args) => return cluster::run(&args),
        Task::Conformance(args) => return conformance::run(&args),
        Task::Generate(args) => generate::run(&args)?,
        Task::Filters(args) => filters::run(&args)?,
        Task::Ebpf => ebpf::run()?,
        Task::Images(args) => images::run(&args)?,
        Task::Tools { tool: Tool::WasmTools } => {
            println!("{}", xtask_components::wasm_tools()?.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}
