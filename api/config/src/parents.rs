//! What a resource refers to.

use crate::{Key, Kind, resource::ResourceKind};

/// A resource that another one refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Parent<'a> {
    kind: Kind,
    name: &'a str,
}

impl Parent<'_> {
    /// Its key.
    pub(crate) fn key(&self) -> Key {
        Key::new(self.kind, self.name)
    }
}

impl<'a> From<&'a Key> for Parent<'a> {
    fn from(key: &'a Key) -> Self {
        Self { kind: key.kind(), name: &key.name }
    }
}

/// Whether [`parents`] may name one of this kind.
pub(crate) fn has_children(kind: Kind) -> bool {
    match kind {
        Kind::Gateway | Kind::Certificate | Kind::Listener | Kind::Filter | Kind::Backend => true,
        Kind::TlsBinding | Kind::Endpoints | Kind::Rule | Kind::Frontend => false,
    }
}

/// The resources that one refers to. What is named here is in [`has_children`].
pub(crate) fn parents(content: &ResourceKind) -> Vec<Parent<'_>> {
    use crate::StepAction;
    let parent = |kind| move |name| Parent { kind, name };
    fn policies(steps: &[crate::Step]) -> impl Iterator<Item = &str> {
        steps.iter().filter_map(|s| match &s.action {
            Some(StepAction::Policy(name)) => Some(name.as_str()),
            _ => None,
        })
    }
    let filter = parent(Kind::Filter);
    match content {
        ResourceKind::Gateway(_)
        | ResourceKind::Certificate(_)
        | ResourceKind::Filter(_)
        | ResourceKind::Backend(_) => Vec::new(),
        ResourceKind::Listener(r) => {
            let certificates = r.certificates.iter().map(String::as_str);
            let gateway = parent(Kind::Gateway)(&r.gateway);
            std::iter::once(gateway).chain(certificates.map(parent(Kind::Certificate))).collect()
        }
        ResourceKind::TlsBinding(r) => {
            let listener = parent(Kind::Listener)(&r.listener);
            let filters = r.filters.iter().map(String::as_str);
            std::iter::once(listener).chain(filters.map(filter)).collect()
        }
        ResourceKind::Endpoints(r) => vec![parent(Kind::Backend)(&r.backend)],
        ResourceKind::Frontend(r) => vec![parent(Kind::Gateway)(&r.gateway)],
        ResourceKind::Rule(r) => {
            let listeners = r.attachments.iter().map(|a| a.listener.as_str());
            let mut found: Vec<_> = listeners.map(parent(Kind::Listener)).collect();
            found.extend(policies(&r.filters).map(filter));
            found.extend(r.tls_filters.iter().map(String::as_str).map(filter));
            for choice in &r.backends {
                found.extend(policies(&choice.filters).map(filter));
                if choice.failure.is_none() {
                    found.push(parent(Kind::Backend)(&choice.backend));
                }
            }
            found
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rule;

    fn rule(filters: Vec<crate::Step>, choice: crate::BackendChoice) -> ResourceKind {
        ResourceKind::Rule(Rule {
            route: "n/r".into(),
            id: "0".into(),
            filters,
            tls_filters: vec!["n/tls".into()],
            attachments: vec![crate::Attachment {
                listener: "n/gw/http".into(),
                ..Default::default()
            }],
            backends: vec![choice],
            ..Rule::default()
        })
    }

    #[test]
    fn a_rule_refers_to_its_listeners_filters_and_the_backends_that_are_there() {
        let policy =
            |name: &str| crate::Step { action: Some(crate::StepAction::Policy(name.into())) };
        let failed = crate::Step { action: Some(crate::StepAction::Failure(Default::default())) };
        let choice = crate::BackendChoice {
            backend: "n/b:80".into(),
            filters: vec![policy("n/c")],
            ..Default::default()
        };
        let key = |kind, name: &str| Key::new(kind, name);
        let keys =
            |content: &ResourceKind| parents(content).iter().map(Parent::key).collect::<Vec<_>>();
        let rule_of = |choice| rule(vec![failed.clone(), policy("n/a")], choice);
        let mut wanted = vec![
            key(Kind::Listener, "n/gw/http"),
            key(Kind::Filter, "n/a"),
            key(Kind::Filter, "n/tls"),
            key(Kind::Filter, "n/c"),
            key(Kind::Backend, "n/b:80"),
        ];
        assert_eq!(keys(&rule_of(choice.clone())), wanted);
        let failed = crate::BackendChoice { failure: Some(Default::default()), ..choice };
        wanted.pop();
        assert_eq!(keys(&rule_of(failed)), wanted, "one that answers 500 needs no backend");
    }
}
