//! What the kernel says of this process.

use std::fs;

/// Clock ticks in a second, as `/proc` reports them: `USER_HZ`, 100 on every Linux architecture
/// that this runs on.
const TICKS: f64 = 100.0;

/// Use of resources.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    /// User and system time.
    pub(super) cpu_seconds: f64,
    /// Resident memory.
    pub(super) resident_bytes: u64,
    /// Open file descriptors.
    pub(super) open_fds: usize,
}

impl Process {
    /// Reads `/proc/self`; `None` where there is none.
    pub(super) fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        Some(Self {
            cpu_seconds: ticks(&stat)? as f64 / TICKS,
            resident_bytes: resident(&status)?,
            open_fds: fs::read_dir("/proc/self/fd").ok()?.count(),
        })
    }
}

/// utime and stime: fields 14 and 15 (proc_pid_stat(5)). The name in field 2 may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// `VmRSS` in KiB (proc_pid_status(5)).
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "12 (a) b) S 1 1 1 0 -1 4194560 1 2 3 4 150 51 0 0 20 0 9 0 1 1 1";
        assert_eq!(ticks(stat), Some(201));
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1234 kB\n"), Some(1234 * 1024));
    }

    #[test]
    fn this_process_has_memory_and_files() {
        let process = Process::read().unwrap();
        assert!(process.resident_bytes > 1 << 20);
        assert!(process.open_fds >= 3);
    }
}
