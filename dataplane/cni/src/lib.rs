//! The CNI plugin (Container Network Interface specification 1.1.0).
//!
//! kubelet's runtime starts it for each pod. What has to be done in the pod's network namespace it does
//! itself; which address the pod gets is the agent's word, asked for over a Unix socket, so that an
//! answer needs neither the API server nor EC2. While the agent restarts it waits and asks again.
//!
//! | file | what |
//! |---|---|
//! | `call` | what the specification says that a plugin is given, and what it answers |
//! | `protocol` | what is said between plugin and agent |
//! | `agent` | the plugin's end of that |
//! | `owner` | who has an address, and how the devices of a pod are named |
//! | `perform` | the operations |

mod agent;
mod call;
mod owner;
mod perform;
pub mod protocol;

pub use agent::{Agent, AgentError};
pub use call::{Call, CniError, Code, Command, VERSIONS};
pub use owner::{Alias, device_name};
pub use perform::perform;
