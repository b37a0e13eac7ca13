//! The CNI plugin.

use penstock_cni::{Call, Command, VERSIONS, perform};
use std::{
    io::{Read as _, Write as _},
    process::ExitCode,
};

/// Bytes of a configuration that are read.
const MOST: u64 = 4 << 20;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--version") {
        println!("penstock-cni {}, CNI {}", env!("CARGO_PKG_VERSION"), VERSIONS.join(", "));
        return ExitCode::SUCCESS;
    }
    if std::env::var_os(Command::VARIABLE).is_none() {
        eprintln!(
            "penstock-cni is a CNI plugin: the container runtime starts it (CNI_COMMAND and others in its environment, a configuration on standard input).\nExample: echo '{{\"cniVersion\":\"1.1.0\"}}' | CNI_COMMAND=VERSION penstock-cni"
        );
        return ExitCode::FAILURE;
    }
    let mut input = Vec::new();
    // What cannot be read is no configuration, and is refused as one.
    let _ = std::io::stdin().take(MOST).read_to_end(&mut input);
    let call = Call::read(|name| std::env::var(name).ok(), &input);
    let (answer, code) = match call.and_then(|call| perform(&call)) {
        Ok(answer) => (answer, ExitCode::SUCCESS),
        Err(error) => (Some(error.to_json()), ExitCode::FAILURE),
    };
    if let Some(answer) = answer {
        let _ = writeln!(std::io::stdout(), "{answer}");
    }
    code
}
