//! Finding the processes of a cluster, by what their environment says: also after a crash, and never
//! by a number that somebody else has by now.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Processes with all of these (`NAME=value`) in the environment that they were started with.
pub(crate) fn marked(marks: &[&str]) -> Vec<Pid> {
    all().filter(|pid| has_marks(*pid, marks)).collect()
}

/// Processes in a control group, or below it, in any hierarchy: pods too, whose environment is their own.
pub(crate) fn grouped(cgroup: &str) -> Vec<Pid> {
    let path = format!(":/{cgroup}/");
    let is_in = |pid: &Pid| {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        // One that is dead and only waits to be asked for its end is in no group's folder any more.
        let dead = || status(*pid, "State").is_none_or(|state| state.starts_with('Z'));
        groups.lines().any(|line| line.contains(&path)) && !dead()
    };
    all().filter(is_in).collect()
}

fn all() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Pid::from_raw)
}

fn has_marks(pid: Pid, marks: &[&str]) -> bool {
    // Gone, or a kernel thread: no environment.
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let has = |mark: &&str| environ.split(|byte| *byte == 0).any(|said| said == mark.as_bytes());
    !environ.is_empty() && marks.iter().all(has)
}

/// One line of `/proc/PID/status`.
pub(crate) fn status(pid: Pid, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Who started a process.
pub(crate) fn parent(pid: Pid) -> Option<Pid> {
    Pid::from_raw(status(pid, "PPid")?.parse().ok()?)
}

/// Whether this is the first process of a PID namespace below ours.
pub(crate) fn is_init(pid: Pid) -> bool {
    status(pid, "NSpid").is_some_and(|pids| {
        let mut pids = pids.split_whitespace();
        pids.next_back() == Some("1") && pids.next().is_some()
    })
}

/// The file name of the program that a process runs.
pub(crate) fn program(pid: Pid) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Some(path.file_name()?.to_str()?.to_owned())
}

/// Sends a signal to a process if it (still) has the marks; whether it had.
pub(crate) fn signal(pid: Pid, marks: &[&str], signal: Signal) -> bool {
    // The descriptor names this very process, whoever gets its number later.
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    has_marks(pid, marks) && pidfd_send_signal(&process, signal).is_ok()
}

/// Kills everything that has the marks, again until nothing is left.
///
/// # Errors
/// Something is still there after ten seconds.
pub(crate) fn kill_all(marks: &[&str]) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let left = marked(marks);
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            bail!("processes that do not die: {left:?}");
        }
        for pid in left {
            signal(pid, marks, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
