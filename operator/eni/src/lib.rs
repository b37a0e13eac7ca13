//! Network interfaces (ENIs) and addresses of nodes: what a node has, what it needs, and the calls
//! that lead from one to the other.
//!
//! [`plan`] is a function from values to values: a node with its limits, the subnets it may use and the
//! demand of its pods in, [`Action`]s out. [`Machine`] keeps what is known of one node, gives it to
//! [`plan`] when something happens, and says which calls to make; it makes none itself, reads no
//! clock and knows no runtime, so that a test can drive it through everything that may go wrong.
//!
//! ```text
//! Described, Report, Done, Tick ──▶ Machine ──▶ Call, Tell, Problem
//!                                     │ ▲
//!                                     ▼ │
//!                                    plan
//! ```
//!
//! What would stand in its way is said before by [`findings`], from what EC2 answers when it is asked
//! whether it would.
//!
//! A [`Desk`] has a machine for each node of a leader, what they share, and the [`Budget`] of calls.
//!
//! EC2's words are used for what is EC2's: interface, attachment, network card, device index, subnet,
//! security group, prefix. A prefix of sixteen addresses is a [`Block`](penstock_config::address::Block)
//! here.

mod action;
mod budget;
mod demand;
mod denied;
mod desk;
mod eni;
mod failure;
mod forecast;
mod groups;
mod leak;
mod limits;
mod machine;
mod node;
mod plan;
mod preflight;
mod record;
mod settings;
mod subnet;
mod time;
mod types;
mod watermark;

pub use action::{Action, Fill};
pub use budget::{Budget, Rate};
pub use demand::Demand;
pub use denied::Denied;
pub use desk::{Desk, Effect, Event, Look, NodeKey, Queue};
pub use eni::{Attachment, Eni};
pub use failure::{Failure, Fault, Reason};
pub use forecast::{Forecast, forecast};
pub use groups::{GroupsError, SecurityGroup, security_groups};
pub use leak::{Leaks, Loose};
pub use limits::{Card, Limits};
pub use machine::{CallId, Input, Machine, Outcome, Output, Shared};
pub use node::{Instance, Node, Release, ReleaseState};
pub use plan::{Plan, Problem, ProblemReason, plan};
pub use preflight::{Finding, Home, Seen, Tried, attempts, findings, nobodys};
pub use record::CONSISTENCY;
pub use settings::{Settings, SettingsError};
pub use subnet::{Subnet, SubnetError, Subnets};
pub use time::Time;
pub use types::{known_limits, known_types};
pub use watermark::Watermarks;
