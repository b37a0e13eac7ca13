//! What is published, and to whom.

use crate::Role;
use penstock_config::{Delta, Kind, State, Version};
use std::sync::Arc;

/// A configuration as one role is told it, with its version at hand.
#[derive(Debug)]
pub struct Published {
    /// The configuration.
    pub state: Arc<State>,
    /// [`State::version`] of it.
    pub version: Version,
    /// What led to it, from what was published before: most nodes have that.
    step: Option<(Version, Arc<Delta>)>,
    /// See [`Update::traceparent`](crate::wire::Update::traceparent).
    pub(crate) traceparent: String,
}

impl Published {
    /// What `role` is told of a configuration.
    pub fn new(role: Role, state: &Arc<State>) -> Self {
        let state = match role {
            Role::Proxy => state.clone(),
            Role::Agent => Arc::new(scope(role, state)),
        };
        Self { version: state.version(), state, step: None, traceparent: String::new() }
    }

    /// The same, after something else was published.
    pub fn after(before: &Published, role: Role, state: &Arc<State>) -> Self {
        let new = Self::new(role, state);
        let delta = Arc::new(before.state.diff(&new.state));
        Self { step: Some((before.version, delta)), ..new }
    }

    /// The same, as part of a trace.
    pub fn traced(self, traceparent: &str) -> Self {
        Self { traceparent: traceparent.to_owned(), ..self }
    }

    /// What leads to it from another one. Made once for all nodes that have what was published before.
    pub fn since(&self, held: &Published) -> Arc<Delta> {
        match &self.step {
            Some((version, delta)) if *version == held.version => delta.clone(),
            _ => Arc::new(held.state.diff(&self.state)),
        }
    }
}

/// What a role is told of a configuration. An agent steers packets: it is told where clients come
/// in, and holds no certificate, no key and no route.
pub fn scope(role: Role, state: &State) -> State {
    let told = match role {
        Role::Proxy => return state.clone(),
        Role::Agent => [Kind::Gateway, Kind::Frontend],
    };
    let upserts = told.into_iter().flat_map(|kind| state.of_kind(kind)).cloned().collect();
    let mut scoped = State::default();
    match scoped.apply(&Delta { upserts, removals: Vec::new() }) {
        Ok(()) => scoped,
        // A configuration of orphans: nothing of it can be told.
        Err(_) => State::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_config::{Backend, Certificate, Frontend, Gateway, Listener, ResourceKind};

    #[test]
    fn an_agent_is_told_where_clients_come_in_and_holds_no_secret() {
        let gateway = Gateway { name: "n/gw".into(), ..Default::default() };
        let frontend = Frontend { gateway: "n/gw".into(), port: 443, ..Default::default() };
        let listener = Listener {
            gateway: "n/gw".into(),
            section: "https".into(),
            certificates: vec!["n/cert".into()],
            ..Default::default()
        };
        let certificate = Certificate { name: "n/cert".into(), ..Default::default() };
        let told = [ResourceKind::Gateway(gateway), ResourceKind::Frontend(frontend)];
        let kept = [
            ResourceKind::Listener(listener),
            ResourceKind::Certificate(certificate),
            ResourceKind::Backend(Backend { name: "n/b:80".into(), protocol: 0 }),
        ];
        let state = State::from_iter(told.iter().chain(&kept).cloned());
        assert_eq!(scope(Role::Agent, &state), State::from_iter(told));
        assert_eq!(scope(Role::Proxy, &state), state);
        let state = Arc::new(state);
        let published = Published::new(Role::Agent, &state);
        assert_eq!(published.version, scope(Role::Agent, &state).version());
        assert_eq!(Published::new(Role::Proxy, &state).version, state.version());
    }
    #[test]
    fn what_changed_is_found_once_for_all_nodes_that_have_what_came_before() {
        let backend =
            |name: &str| ResourceKind::Backend(Backend { name: name.into(), ..Backend::default() });
        let state = |names: &[&str]| Arc::new(names.iter().map(|name| backend(name)).collect());
        let first = Published::new(Role::Proxy, &state(&["a"]));
        let second = Published::after(&first, Role::Proxy, &state(&["a", "b"]));
        let third = Published::after(&second, Role::Proxy, &state(&["b", "c"]));
        assert!(Arc::ptr_eq(&third.since(&second), &third.since(&second)));
        for (held, target) in [(&first, &second), (&second, &third), (&first, &third)] {
            assert_eq!(*target.since(held), held.state.diff(&target.state));
        }
    }
}
