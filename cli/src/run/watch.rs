//! Notices that files changed.

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

/// Quiet time after which a series of changes is taken as one.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// A series that does not end is cut here.
const LONGEST_SERIES: Duration = Duration::from_secs(1);
/// How often files are read again in case the system reported nothing (network file systems).
const POLL: Duration = Duration::from_secs(10);

/// What wakes the control loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Files changed.
    Changed,
    /// Somebody asked to read everything again (SIGHUP).
    Reload,
    /// The process is asked to end (SIGTERM, Ctrl-C).
    Stop,
}

/// Watches folders. Where the system offers no watching, the slow poll remains.
pub(crate) struct Watcher {
    inner: Option<RecommendedWatcher>,
    watched: BTreeSet<Watched>,
}

/// A folder that is watched. One that was removed and made again is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Watched {
    path: PathBuf,
    recursive: bool,
    inode: u64,
}

impl Watched {
    fn new(path: PathBuf, recursive: bool) -> Self {
        let inode = fs::metadata(&path).map_or(0, |m| m.ino());
        Self { path, recursive, inode }
    }
}

impl Watcher {
    /// A watcher that sends [`Wake::Changed`]. The second value says why it cannot watch.
    pub(crate) fn new(wake: Sender<Wake>) -> (Self, Option<String>) {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error may mean that events were lost: look.
            if event.is_ok_and(|e| !is_change(&e.kind)) {
                return;
            }
            // The receiver is gone only when the process ends.
            let _ = wake.send(Wake::Changed);
        });
        match watcher {
            Ok(watcher) => (Self { inner: Some(watcher), watched: BTreeSet::new() }, None),
            Err(e) => (Self { inner: None, watched: BTreeSet::new() }, Some(e.to_string())),
        }
    }

    /// Watches what was named, and the folders of further files, and nothing else.
    pub(crate) fn watch<'a>(&mut self, named: &[PathBuf], files: impl Iterator<Item = &'a Path>) {
        let mut wanted: BTreeSet<Watched> = named
            .iter()
            .map(|path| match path.is_dir() {
                true => Watched::new(path.clone(), true),
                false => Watched::new(folder_of(path), false),
            })
            .collect();
        for folder in files.map(folder_of) {
            if !wanted.iter().any(|w| w.recursive && folder.starts_with(&w.path)) {
                wanted.insert(Watched::new(folder, false));
            }
        }
        let Some(inner) = &mut self.inner else { return };
        for old in self.watched.difference(&wanted) {
            // It may be gone already.
            drop(inner.unwatch(&old.path));
        }
        let kept = self.watched.intersection(&wanted).cloned();
        let fresh = wanted.difference(&self.watched).filter(|folder| {
            let mode = match folder.recursive {
                true => RecursiveMode::Recursive,
                false => RecursiveMode::NonRecursive,
            };
            // What cannot be watched now is tried again at the next poll.
            inner.watch(&folder.path, mode).is_ok()
        });
        self.watched = kept.chain(fresh.cloned()).collect();
    }
}

/// Waits for a reason to look at the files. Changes that follow each other closely are one. `read`
/// is how long reading takes: the poll takes at most a fiftieth of the time.
pub(crate) fn wait(wakes: &Receiver<Wake>, read: Duration) -> Wake {
    let mut wake = match wakes.recv_timeout(POLL.max(read * 50)) {
        Ok(wake) => wake,
        Err(RecvTimeoutError::Timeout) => return Wake::Changed,
        Err(RecvTimeoutError::Disconnected) => return Wake::Stop,
    };
    let started = Instant::now();
    while wake == Wake::Changed && started.elapsed() < LONGEST_SERIES {
        match wakes.recv_timeout(DEBOUNCE) {
            Ok(next) => wake = next,
            Err(_) => break,
        }
    }
    wake
}

/// Reading is no change; otherwise reading the files would wake who reads them.
fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_path_buf(),
        None => path.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn woken(wakes: &Receiver<Wake>) -> bool {
        wakes.recv_timeout(Duration::from_secs(5)).is_ok()
    }

    fn settle(wakes: &Receiver<Wake>) {
        while wakes.recv_timeout(Duration::from_millis(200)).is_ok() {}
    }

    #[test]
    fn a_change_below_a_folder_or_beside_a_module_wakes_and_reading_does_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let (manifests, modules) = (dir.path().join("m"), dir.path().join("w"));
        fs::create_dir(&manifests).expect("a folder");
        fs::create_dir(&modules).expect("a folder");
        let module = modules.join("a.wasm");
        fs::write(manifests.join("a.yaml"), "a").expect("a file");
        let (send, wakes) = channel();
        let (mut watcher, problem) = Watcher::new(send);
        assert_eq!(problem, None);
        watcher.watch(std::slice::from_ref(&manifests), [module.as_path()].into_iter());
        settle(&wakes);

        fs::read(manifests.join("a.yaml")).expect("readable");
        assert!(wakes.recv_timeout(Duration::from_millis(300)).is_err(), "reading woke");

        fs::write(manifests.join("a.yaml"), "b").expect("a file");
        assert!(woken(&wakes), "a written file");
        settle(&wakes);
        fs::write(&module, "c").expect("a file");
        assert!(woken(&wakes), "a new module");
        settle(&wakes);
        fs::rename(&module, manifests.join("b.yaml")).expect("renamed");
        assert!(woken(&wakes), "a renamed file");
        settle(&wakes);

        watcher.watch(&[manifests], std::iter::empty());
        settle(&wakes);
        fs::write(&module, "d").expect("a file");
        assert!(wakes.recv_timeout(Duration::from_millis(300)).is_err(), "no longer watched");
    }

    #[test]
    fn close_changes_are_one_and_a_stop_is_not_delayed() {
        let (send, wakes) = channel();
        for _ in 0..5 {
            send.send(Wake::Changed).expect("open");
        }
        assert_eq!(wait(&wakes, Duration::ZERO), Wake::Changed);
        assert!(wakes.try_recv().is_err(), "all five were taken as one");
        send.send(Wake::Changed).expect("open");
        send.send(Wake::Stop).expect("open");
        assert_eq!(wait(&wakes, Duration::ZERO), Wake::Stop);
        drop(send);
        assert_eq!(wait(&wakes, Duration::ZERO), Wake::Stop);
    }
}
