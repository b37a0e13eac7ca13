//! What a running gateway tells people.

use crate::{
    args::EventFormat,
    control::{Change, Verdict},
    loader::Diagnostic,
};
use serde_json::{Value, json};
use std::{io::Write as _, net::SocketAddr};

/// Something that people should know.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// Something is wrong with a file.
    Diagnostic(Diagnostic),
    /// A change was not applied because of this many errors.
    NotApplied(usize),
    /// What was broken is well again.
    Applied,
    /// The status of an object.
    Change(Change),
    /// A port is open: the listener's port, and where it is dialled.
    Listening(u16, SocketAddr),
    /// The admin address.
    Admin(SocketAddr),
    /// Nothing listens yet.
    NothingServed,
    /// Something of less weight is not as it should be.
    Note(String),
    /// The gateway ends once the requests in flight are answered.
    Draining,
    /// It has ended.
    Ended,
}

/// Writes events to standard output.
pub(crate) struct Printer(pub(crate) EventFormat);

impl Printer {
    /// Writes some events.
    pub(crate) fn print(&self, events: &[Event]) {
        let mut out = std::io::stdout().lock();
        for event in events {
            // A reader that went away does not end the gateway.
            let _ = match self.0 {
                EventFormat::Text => writeln!(out, "{event}"),
                EventFormat::Json => writeln!(out, "{}", event.json()),
            };
        }
        let _ = out.flush();
    }
}

impl Event {
    fn json(&self) -> Value {
        match self {
            Event::Diagnostic(diagnostic) => {
                json!({"event": "diagnostic", "diagnostic": diagnostic})
            }
            Event::NotApplied(errors) => json!({"event": "not-applied", "errors": errors}),
            Event::Applied => json!({"event": "applied"}),
            Event::Change(Change::Verdict(verdict)) => verdict_json(verdict),
            Event::Change(Change::Removed(id)) => {
                json!({"event": "removed", "object": id.to_string()})
            }
            Event::Listening(port, address) => {
                json!({"event": "listening", "port": port, "address": address.to_string()})
            }
            Event::Admin(address) => json!({"event": "admin", "address": address.to_string()}),
            Event::NothingServed => json!({"event": "nothing-served"}),
            Event::Note(message) => json!({"event": "note", "message": message}),
            Event::Draining => json!({"event": "draining"}),
            Event::Ended => json!({"event": "ended"}),
        }
    }
}

fn verdict_json(verdict: &Verdict) -> Value {
    json!({
        "event": "status",
        "object": verdict.id.to_string(),
        "accepted": verdict.problems.is_empty(),
        "problems": verdict.problems,
        "summary": verdict.summary,
    })
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Event::Diagnostic(diagnostic) => write!(f, "{diagnostic}"),
            Event::NotApplied(1) => {
                write!(f, "not applied because of this error; what was served is served on")
            }
            Event::NotApplied(errors) => {
                write!(
                    f,
                    "not applied because of these {errors} errors; what was served is served on"
                )
            }
            Event::Applied => write!(f, "all files can be read again"),
            Event::Change(Change::Verdict(verdict)) => write!(f, "{verdict}"),
            Event::Change(Change::Removed(id)) => write!(f, "removed   {id}"),
            Event::Listening(port, address) if *port == address.port() => {
                write!(f, "listening on {address}")
            }
            Event::Listening(port, address) => {
                write!(f, "listening on {address} for port {port}")
            }
            Event::Admin(address) => {
                write!(f, "admin on http://{address}: /livez /readyz /metrics /config")
            }
            Event::NothingServed => {
                write!(f, "nothing is served yet: no listener of a Gateway is accepted")
            }
            Event::Note(message) => write!(f, "note: {message}"),
            Event::Draining => write!(f, "ending: requests in flight are finished"),
            Event::Ended => write!(f, "ended"),
        }
    }
}
