//! What people on call read of every process: log, traces, metrics page, health.
//!
//! Operator, agent, proxy and the standalone gateway look alike from outside: [`init`] sets up the
//! process's own log on standard error and tracing by the standard `OTEL_*` variables, and an
//! [`AdminServer`](admin::AdminServer) answers `/livez`, `/readyz`, `/metrics` and `/config` for
//! whatever says what it is by an [`AdminSource`](admin::AdminSource).
//!
//! | module | holds |
//! |---|---|
//! | [`admin`] | the port: health, the metrics page, the configuration in effect without secrets |
//! | [`trace`] | what the environment asks of traces, and the thread that sends spans by OTLP |
//! | [`queue`] | the way to a thread that writes, bounded and never waited for |
//!
//! Nothing here knows what a process does. One that has more to trace than spans of the `tracing`
//! crate hands over what is finished as [`ToSpans`](trace::ToSpans) by the
//! [`SpanSink`](trace::SpanSink) of its [`Guard`].

pub mod admin;
mod causes;
mod init;
mod page;
pub mod queue;
pub mod trace;

pub use causes::causes;
pub use init::{Guard, InitError, LogFormat, init};
pub use page::PageFormat;
