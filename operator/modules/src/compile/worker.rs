//! The process that compiles: a component comes in, code goes out.
//!
//! ```text
//! 1 byte    0: the code follows; or the number of a reason: the message follows
//! the rest
//! ```

use super::limits::CompileLimits;
use crate::Failure;
use penstock_filter_host::{Host, HostConfig};
use penstock_gateway::FilterReason;
use std::{
    io::{self, Read as _, Write as _},
    process::ExitCode,
};

/// Reasons that compiling can have, by their number less one.
const REASONS: [FilterReason; 3] =
    [FilterReason::ModuleInvalid, FilterReason::WrongWorld, FilterReason::TooLarge];

/// Compiles what comes in on standard input to standard output, within limits that this process
/// never leaves again: the `compile` command of a program that has a
/// [`ChildCompiler`](super::ChildCompiler).
pub fn compile_and_exit(limits: CompileLimits) -> ExitCode {
    match run(limits) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(limits: CompileLimits) -> io::Result<()> {
    limits.confine()?;
    let config = HostConfig { max_instances: 1, ..HostConfig::default() };
    let host = Host::new(config).map_err(io::Error::other)?;
    let mut component = Vec::new();
    io::stdin().lock().read_to_end(&mut component)?;
    let mut out = io::stdout().lock();
    match host.precompile(&component) {
        Ok(code) => {
            out.write_all(&[0])?;
            out.write_all(&code)?;
        }
        Err(error) => {
            let failure = Failure::from(error);
            let number = REASONS.iter().position(|reason| *reason == failure.reason);
            out.write_all(&[number.map_or(1, |number| number as u8 + 1)])?;
            out.write_all(failure.message.as_bytes())?;
        }
    }
    out.flush()
}

/// Reads what the process wrote: code or a reason and a message. `None`: it did not end its work.
pub(super) fn read(output: &[u8]) -> Option<Result<&[u8], Failure>> {
    let (number, rest) = output.split_first()?;
    let Some(number) = number.checked_sub(1) else { return Some(Ok(rest)) };
    let reason = *REASONS.get(usize::from(number))?;
    Some(Err(Failure::new(reason, String::from_utf8_lossy(rest))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_process_wrote_is_read_again() {
        assert_eq!(read(b"\0code"), Some(Ok(&b"code"[..])));
        let failure = Failure::new(FilterReason::WrongWorld, "cause; remedy");
        assert_eq!(read(b"\x02cause; remedy"), Some(Err(failure)));
        assert_eq!(read(b""), None);
        assert_eq!(read(b"\x09"), None);
    }
}
