//! Compiling in a process of its own: a component that makes the compiler eat memory or time, or
//! crashes it, harms only its own filter.

use super::{compiler::Compiler, limits::CompileLimits, worker};
use crate::Failure;
use parking_lot::Mutex;
use penstock_filter_host::{CompiledModule, Host};
use penstock_gateway::FilterReason;
use std::{
    io::{self, Read as _, Write as _},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
};

/// Compiles by a program that answers `compile` with [`compile_and_exit`](super::compile_and_exit).
#[derive(Clone)]
pub struct ChildCompiler {
    host: Host,
    program: PathBuf,
    limits: CompileLimits,
}

/// How a process came to its end.
struct Ended {
    output: Vec<u8>,
    status: ExitStatus,
    killed: bool,
}

impl ChildCompiler {
    /// `program` is this program, or another one of the same build.
    pub fn new(host: Host, program: PathBuf, limits: CompileLimits) -> Self {
        Self { host, program, limits }
    }

    /// Starts the program without environment, credentials and files, and gives it the component.
    fn run(&self, component: &[u8]) -> io::Result<Ended> {
        let mut child = Command::new(&self.program)
            .arg("compile")
            .args(["--memory", &self.limits.memory.to_string()])
            .args(["--cpu", &self.limits.cpu.as_secs().to_string()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let child = Arc::new(Mutex::new(child));
        let (done, watch) = channel::<()>();
        let (watched, whole) = (Arc::clone(&child), self.limits.whole);
        let watchdog = thread::Builder::new().name("compile-watch".into()).spawn(move || {
            let late = watch.recv_timeout(whole) == Err(RecvTimeoutError::Timeout);
            // Fails only where it has ended already.
            late && watched.lock().kill().is_ok()
        });
        let watchdog = watchdog.inspect_err(|_| end(&child))?;
        if let Some(mut stdin) = stdin {
            // It may end before it has read everything; how it ended says why.
            let _ = stdin.write_all(component);
        }
        let mut output = Vec::new();
        let limit = self.limits.code.saturating_add(1);
        let read = stdout.map_or(Ok(0), |stdout| stdout.take(limit).read_to_end(&mut output));
        let too_much = output.len() as u64 > self.limits.code;
        if read.is_err() || too_much {
            end(&child);
        }
        let status = wait(&child, &done, read)?;
        let killed = watchdog.join().unwrap_or_default() || too_much;
        Ok(Ended { output, status, killed })
    }
}

/// Waits for the end. The output is complete by now, so it is near; the watchdog sees to it.
fn wait(
    child: &Mutex<Child>,
    done: &std::sync::mpsc::Sender<()>,
    read: io::Result<usize>,
) -> io::Result<ExitStatus> {
    let status = loop {
        // The lock is let go of in between, for the watchdog.
        match child.lock().try_wait()? {
            Some(status) => break status,
            None => thread::sleep(std::time::Duration::from_millis(1)),
        }
    };
    let _ = done.send(());
    read.map(|_| status)
}

fn end(child: &Mutex<Child>) {
    let _ = child.lock().kill();
}

impl Compiler for ChildCompiler {
    fn compile(&self, component: &[u8]) -> Result<CompiledModule, Failure> {
        let ended = self.run(component).map_err(|error| {
            Failure::new(
                FilterReason::FetchFailed,
                format!("the compiler cannot be run: {error}; it is tried again"),
            )
        })?;
        let written = worker::read(&ended.output).filter(|_| ended.status.success());
        let Some(written) = written.filter(|_| !ended.killed) else {
            return Err(Failure::new(FilterReason::TooLarge, self.cause(&ended)));
        };
        let code = written?;
        #[expect(unsafe_code, reason = "that it comes from our own compiler is our proof")]
        // SAFETY: a process of this same program compiled it within a confinement, and gave it to
        // nobody but us.
        let module = unsafe { self.host.adopt(component, code) }?;
        Ok(module)
    }
}

impl ChildCompiler {
    fn cause(&self, ended: &Ended) -> String {
        let CompileLimits { memory, cpu, whole, code } = self.limits;
        format!(
            "the compiler did not come to an end ({}) within {} MiB of memory, {cpu:?} on a \
             processor, {whole:?} in all and {} MiB of code; make the component smaller: build it \
             for release, strip it, split large functions",
            ended.status,
            memory >> 20,
            code >> 20,
        )
    }
}
