//! What a compilation may use.

use rustix::process::{Resource, Rlimit, setrlimit};
use std::{io, time::Duration};

/// What one compilation may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Private memory, in bytes.
    pub memory: u64,
    /// Time on a processor.
    pub cpu: Duration,
    /// Time until the process is killed.
    pub whole: Duration,
    /// Bytes that the code may have.
    pub code: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            cpu: Duration::from_secs(30),
            whole: Duration::from_secs(120),
            code: 64 << 20,
        }
    }
}

impl CompileLimits {
    /// Holds this process to the limits for good. Whatever happens to it later, it opens no file
    /// and no socket, so that no credential of the pod is in its reach, and leaves no core behind.
    pub(super) fn confine(&self) -> io::Result<()> {
        let fix = |resource, limit| {
            setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })
        };
        fix(Resource::Data, self.memory)?;
        fix(Resource::Cpu, self.cpu.as_secs().max(1))?;
        fix(Resource::Core, 0)?;
        fix(Resource::Fsize, 0)?;
        fix(Resource::Nofile, 0)?;
        Ok(())
    }
}
