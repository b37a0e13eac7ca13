//! A machine of the cluster: namespaces of its own, held by its first process (`init.sh`), and the
//! programs that run in them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal};

use crate::layout::Layout;
use crate::{cgroups, process, wait};

/// A machine: the control plane's, or a node.
#[derive(Debug, Clone)]
pub struct Machine {
    layout: Layout,
    name: String,
    marks: [String; 2],
}

impl Machine {
    pub(crate) fn new(layout: &Layout, name: &str) -> Self {
        let marks = [layout.mark(), format!("PENSTOCK_TEST_MACHINE={name}")];
        Self { layout: layout.clone(), name: name.to_owned(), marks }
    }

    /// Its name, also its host name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its network namespace, as `ip netns` names it.
    pub fn netns(&self) -> String {
        self.layout.netns(&self.name)
    }

    /// The folder with what it writes: `log/PROGRAM.log`, `lib` (its `/var/lib`), `opt` (its `/opt`).
    pub fn dir(&self) -> PathBuf {
        self.layout.machine(&self.name)
    }

    /// Whether it is up: its first process lives.
    pub fn running(&self) -> bool {
        self.init().is_some()
    }

    /// A program that will run inside the machine: in all of its namespaces.
    ///
    /// # Errors
    /// The machine is down.
    pub fn command(&self, program: &str) -> Result<Command> {
        let init = self.init().with_context(|| format!("{} is down", self.name))?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={init}"))
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--", program])
            .envs(self.marks().iter().filter_map(|mark| mark.split_once('=')));
        Ok(command)
    }

    /// The process of a program that the machine was told to run, as this machine numbers it.
    pub fn pid(&self, program: &str) -> Option<i32> {
        self.find(program).map(|pid| pid.as_raw_nonzero().get())
    }

    /// Ends a program by a signal and waits until it is gone.
    ///
    /// # Errors
    /// It does not run, or still does after ninety seconds (an API server that is asked to end
    /// first waits for its clients).
    pub fn stop(&self, program: &str, signal: Signal) -> Result<()> {
        let pid = self.find(program).with_context(|| format!("{program} does not run"))?;
        process::signal(pid, &self.marks(), signal);
        wait::until(&format!("{program} ends"), Duration::from_secs(90), || {
            Ok(self.find(program).is_none())
        })
    }

    /// Starts a program again that was stopped.
    ///
    /// # Errors
    /// The machine is down, or does not know the program.
    pub fn start(&self, program: &str) -> Result<()> {
        ensure!(self.running(), "{} is down", self.name);
        let service = self.dir().join("services").join(program);
        ensure!(service.exists(), "{} has no program {program}", self.name);
        let mut control = fs::OpenOptions::new().write(true).open(self.dir().join("control"))?;
        writeln!(control, "{program}")?;
        Ok(())
    }

    /// Takes the power away: everything it runs is gone at once, its disk stays.
    ///
    /// # Errors
    /// Something does not die within ten seconds.
    pub fn power_off(&self) -> Result<()> {
        process::kill_all(&self.marks())?;
        // A kernel that boots has none; kubelet would look at each for seconds.
        let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read mounts")?;
        let group = format!("{}/{}", self.layout.cgroup(), self.name);
        cgroups::remove(&cgroups::find(&group, &mounts))
    }

    /// Makes the machine's namespaces (the network one exists) and its first process.
    pub(crate) fn power_on(&self) -> Result<()> {
        let dir = self.dir();
        fs::create_dir_all(dir.join("log"))?;
        fs::create_dir_all(dir.join("services"))?;
        let ready = dir.join("ready");
        if ready.exists() {
            fs::remove_file(&ready)?;
        }
        let script = dir.join("init.sh");
        fs::write(&script, include_str!("init.sh"))?;
        let log = fs::File::create(dir.join("log/init.log"))?;
        let status = Command::new("setsid")
            .args(["--fork", "bash"])
            .arg(&script)
            .arg("join")
            .arg(&dir)
            .args([&self.name, &self.netns(), &self.layout.cgroup()])
            .envs(self.marks().iter().filter_map(|mark| mark.split_once('=')))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .current_dir("/")
            .status()
            .context("cannot run setsid (Debian: util-linux)")?;
        ensure!(status.success(), "setsid failed ({status})");
        wait::until(&format!("{} boots", self.name), Duration::from_secs(10), || Ok(ready.exists()))
            .with_context(|| self.log("init"))
    }

    /// Tells the machine which program to run under a name (the program's own file name).
    pub(crate) fn define(&self, program: &Path, arguments: &[String]) -> Result<()> {
        let name = program.file_name().and_then(|name| name.to_str()).context("no file name")?;
        let quoted = std::iter::once(program.display().to_string())
            .chain(arguments.iter().cloned())
            .map(|argument| format!("'{}'", argument.replace('\'', r"'\''")));
        let line = quoted.collect::<Vec<_>>().join(" \\\n  ");
        let service = self.dir().join("services").join(name);
        fs::create_dir_all(self.dir().join("services"))?;
        fs::write(&service, format!("#!/bin/sh\nexec {line}\n"))?;
        fs::set_permissions(&service, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// The last lines that a program has written.
    pub fn log(&self, program: &str) -> String {
        let path = self.dir().join("log").join(format!("{program}.log"));
        let log = fs::read_to_string(&path).unwrap_or_default();
        let from = log.lines().count().saturating_sub(20);
        let tail: Vec<&str> = log.lines().skip(from).collect();
        format!("the end of {}:\n{}", path.display(), tail.join("\n"))
    }

    fn marks(&self) -> [&str; 2] {
        self.marks.each_ref().map(String::as_str)
    }

    fn init(&self) -> Option<Pid> {
        process::marked(&self.marks()).into_iter().find(|pid| process::is_init(*pid))
    }

    /// What runs the program for the first process: between the two is who starts it again.
    fn find(&self, program: &str) -> Option<Pid> {
        let init = self.init()?;
        process::marked(&self.marks()).into_iter().find(|pid| {
            let keeper = process::parent(*pid);
            process::program(*pid).as_deref() == Some(program)
                && keeper.and_then(process::parent) == Some(init)
        })
    }
}
