//! Worker threads: each a current-thread runtime with its own sockets, connections and policies.
//!
//! Nothing of a worker is shared with another but the snapshot, which nobody changes. A change
//! comes as two commands: prepare makes everything that can fail or takes time (policies), commit
//! swaps one reference. A request keeps the view it began with to its end.

mod clock;
mod command;
mod heartbeat;
mod policies;
mod registry;
mod socket;
mod thread;
mod view;

pub use clock::{Clock, TICK, Watch, ticks};
pub use command::{Command, Committed, Prepared};
pub use heartbeat::Heartbeat;
pub use policies::{Policies, SnapshotTls};
pub use registry::{ConnectionState, Ending, Pulse, Registry};
pub use socket::{BindError, Bound, Entrance, bind};
pub use thread::{WorkerConfig, spawn};
pub use view::View;

use crate::{telemetry::WorkerTelemetry, upstream::Pool};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

/// What the tasks of one worker share.
#[derive(Debug)]
pub struct Worker {
    /// For metrics, traces and the access log.
    pub telemetry: WorkerTelemetry,
    /// Its policies.
    pub policies: Rc<Policies>,
    /// Its connections to endpoints.
    pub pool: Pool,
    /// Its clock.
    pub clock: Rc<Clock>,
    /// Its client connections.
    pub connections: Registry,
    /// Says that it turns.
    pub heartbeat: Arc<Heartbeat>,
    view: RefCell<Rc<View>>,
    draining: Cell<bool>,
}

impl Worker {
    /// The configuration that serves now. Take it once for each request.
    #[inline]
    pub fn view(&self) -> Rc<View> {
        self.view.borrow().clone()
    }

    /// Whether the proxy is going away: connections are ended after their requests.
    #[inline]
    pub fn draining(&self) -> bool {
        self.draining.get()
    }

    fn swap(&self, view: Rc<View>) -> Rc<View> {
        self.view.replace(view)
    }
}

/// Runs the tasks of hyper on the worker's own thread.
#[derive(Clone, Copy, Debug)]
pub struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}
