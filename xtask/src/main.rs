//! Generated files, filters and test tools.

use clap::{Parser, Subcommand};

mod generate;

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
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Generate(args) => generate::run(&args),
    }
}
