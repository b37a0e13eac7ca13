//! The access log: one line for each request, written by a thread of its own.

mod format;

pub use format::AccessLogFormat;

use crate::telemetry::trace::finished::Finished;
use parking_lot::Mutex;
use penstock_telemetry::queue::{Drain, Queue, queue};
use std::{
    fmt,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

/// Requests that may wait for their line.
const QUEUE: usize = 8192;
/// Lines that are written together at most.
const BATCH: usize = 1024;
/// Longest wait for a line while there are few.
const DELAY: Duration = Duration::from_millis(100);

/// The running access log.
pub struct AccessLog {
    queue: Queue<Arc<Finished>>,
    written: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
    done: Mutex<mpsc::Receiver<()>>,
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").field("written", &self.written()).finish_non_exhaustive()
    }
}

impl AccessLog {
    /// Starts the thread, which writes to `output`.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(format: AccessLogFormat, output: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, drain) = queue(QUEUE, QUEUE / 8);
        let (done_sender, done) = mpsc::channel();
        let written = Arc::new(AtomicU64::new(0));
        let lost = Arc::new(AtomicU64::new(0));
        let writer =
            Writer { format, output, written: written.clone(), lost: lost.clone(), failing: false };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        thread::Builder::new().name("access-log".into()).spawn(move || {
            runtime.block_on(writer.run(drain));
            // Nobody waits any more where this fails.
            let _ = done_sender.send(());
        })?;
        Ok(Self { queue, written, lost, done: Mutex::new(done) })
    }

    pub(super) fn finish(&self, request: Arc<Finished>) {
        self.queue.send(request);
    }

    /// Lines that were written.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Requests that got no line, because the queue was full or writing failed.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped() + self.lost.load(Relaxed)
    }

    /// Writes what is waiting and ends; whether that was done in time.
    pub fn shutdown(&self, at_most: Duration) -> bool {
        self.queue.close();
        self.done.lock().recv_timeout(at_most).is_ok()
    }
}

struct Writer<W> {
    format: AccessLogFormat,
    output: W,
    written: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
    failing: bool,
}

impl<W: Write> Writer<W> {
    async fn run(mut self, mut drain: Drain<Arc<Finished>>) {
        let mut requests = Vec::new();
        let mut lines = Vec::new();
        let mut open = true;
        while open {
            open = drain.wait(DELAY).await;
            loop {
                drain.take(BATCH, &mut requests);
                if requests.is_empty() {
                    break;
                }
                lines.clear();
                for request in &requests {
                    self.format.line(request, &mut lines);
                }
                self.write(&lines, requests.len() as u64);
                requests.clear();
            }
        }
    }

    fn write(&mut self, lines: &[u8], count: u64) {
        match self.output.write_all(lines).and_then(|()| self.output.flush()) {
            Ok(()) => {
                self.written.fetch_add(count, Relaxed);
                self.failing = false;
            }
            Err(error) => {
                self.lost.fetch_add(count, Relaxed);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "lines of the access log are lost: they cannot be written");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fixture, *};

    /// Output that a test can read.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_request_has_its_line_by_the_time_the_log_is_shut_down() {
        let output = Shared::default();
        let log = AccessLog::start(AccessLogFormat::Json, output.clone()).unwrap();
        (0..3000).for_each(|_| log.finish(Arc::new(fixture::finished())));
        assert!(log.shutdown(Duration::from_secs(10)));
        let text = String::from_utf8(output.0.lock().clone()).unwrap();
        assert_eq!(text.lines().count(), 3000);
        assert_eq!((log.written(), log.dropped()), (3000, 0));
    }

    #[test]
    fn a_line_is_written_soon_although_nothing_follows() {
        let output = Shared::default();
        let log = AccessLog::start(AccessLogFormat::Text, output.clone()).unwrap();
        log.finish(Arc::new(fixture::finished()));
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while log.written() == 0 && std::time::Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(String::from_utf8(output.0.lock().clone()).unwrap().lines().count(), 1);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_stop_nothing() {
        let log = AccessLog::start(AccessLogFormat::Text, Full).unwrap();
        log.finish(Arc::new(fixture::finished()));
        assert!(log.shutdown(Duration::from_secs(10)));
        assert_eq!((log.written(), log.dropped()), (0, 1));
    }
}
