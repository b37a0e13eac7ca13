//! From the operator's stream to the keeper.

use crate::Input;
use penstock_config::{ApplyError, Delta, Key, State};
use penstock_stream::{Applied, Apply, Refused};
use std::{sync::mpsc, time::Duration};

/// For the kernel to take a configuration.
const PATIENCE: Duration = Duration::from_secs(10);

/// Has the keeper bring the kernel to each configuration before it is acknowledged.
#[derive(Debug)]
pub struct Configuration {
    state: State,
    inputs: mpsc::Sender<Input>,
}

impl Configuration {
    /// One that is empty.
    pub fn new(inputs: mpsc::Sender<Input>) -> Self {
        Self { state: State::default(), inputs }
    }

    fn in_force(&self, state: &State) -> bool {
        let (done, told) = mpsc::channel();
        let sent = self.inputs.send(Input::Configure(state.clone(), done));
        sent.is_ok() && told.recv_timeout(PATIENCE).is_ok()
    }

    /// Everything that came is refused: nothing says which of it the kernel did not take.
    fn refused(keys: impl Iterator<Item = Key>, message: &str) -> Vec<Refused> {
        keys.map(|key| Refused::new(key, "NotSteered", message)).collect()
    }
}

impl Apply for Configuration {
    fn apply(&mut self, delta: &Delta) -> Applied {
        let before = self.state.version();
        if let Err(ApplyError::MissingParent { child, parent }) = self.state.apply(delta) {
            let message = format!("refers to {parent}, which does not exist");
            let refused = vec![Refused::new(child, "MissingParent", message)];
            return Applied { version: before, refused };
        }
        let refused = match self.in_force(&self.state) {
            true => Vec::new(),
            false => Self::refused(
                delta.upserts.iter().map(|resource| resource.key.clone()),
                "the kernel of the node does not take it; the log of the agent says why",
            ),
        };
        Applied { version: self.state.version(), refused }
    }
}
