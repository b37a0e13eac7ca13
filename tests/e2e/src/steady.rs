//! A Gateway whose `Programmed` is watched, so that a condition that falls and rises again is seen.

use anyhow::{Context as _, Result, ensure};
use parking_lot::Mutex;
use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::{Child, Stdio},
    sync::Arc,
    thread::JoinHandle,
};

use crate::Site;

/// Every state that the API server showed, one line each.
#[derive(Debug)]
pub struct Steady<'s> {
    site: &'s Site,
    namespace: String,
    name: String,
    since: String,
    shell: Child,
    seen: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl<'s> Steady<'s> {
    /// Begins to watch a Gateway that is programmed.
    ///
    /// # Errors
    /// It is not; kubectl does not run.
    pub fn watch(site: &'s Site, namespace: &str, name: &str) -> Result<Self> {
        let condition = r#"{.status.conditions[?(@.type=="Programmed")].status}"#;
        // An API server that goes away ends a watch.
        let script = format!(
            "while :; do kubectl -n {namespace} get gateway {name} --watch \
             -o 'jsonpath={condition}{{\"\\n\"}}' 2>/dev/null; sleep 0.2; done"
        );
        let mut shell = site.cluster().client("sh");
        let mut shell =
            shell.args(["-c", &script]).stdout(Stdio::piped()).process_group(0).spawn()?;
        let lines = BufReader::new(shell.stdout.take().context("no output")?).lines();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let shared = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                shared.lock().push(line);
            }
        });
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let mut steady =
            Self { site, namespace, name, since: String::new(), shell, seen, reader: Some(reader) };
        steady.since = steady.since()?;
        Ok(steady)
    }

    /// Ends the watch.
    ///
    /// # Errors
    /// `Programmed` was not true all the time.
    pub fn end(mut self) -> Result<()> {
        let since = self.since()?;
        self.stop();
        let seen = self.seen.lock();
        ensure!(!seen.is_empty(), "nothing was watched");
        ensure!(seen.iter().all(|line| line == "True"), "Programmed was {seen:?}");
        ensure!(since == self.since, "Programmed changed after {} at {since}", self.since);
        Ok(())
    }

    /// When the condition changed last.
    fn since(&self) -> Result<String> {
        let gateway = self.site.object(&self.namespace, "gateway", &self.name)?;
        let conditions = gateway["status"]["conditions"].as_array().context("no conditions")?;
        let programmed = conditions.iter().find(|condition| condition["type"] == "Programmed");
        let programmed = programmed.context("no condition Programmed")?;
        ensure!(programmed["status"] == "True", "{programmed}");
        Ok(programmed["lastTransitionTime"].as_str().unwrap_or_default().to_owned())
    }

    fn stop(&mut self) {
        if let Ok(Some(group)) = i32::try_from(self.shell.id()).map(rustix::process::Pid::from_raw)
        {
            // It may be gone already.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.shell.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Steady<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}
