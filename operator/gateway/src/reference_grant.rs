//! ReferenceGrant: who may refer into another namespace.

use crate::{Index, Name};
use penstock_resources::gateway_api::GROUP;

/// A reference from one object to another.
#[derive(Clone, Copy)]
pub(crate) struct Reference<'a> {
    /// Kind of the object that refers, of the group `gateway.networking.k8s.io`.
    pub(crate) from_kind: &'static str,
    /// Its namespace.
    pub(crate) from_namespace: &'a str,
    /// Kind of the object referred to, of the core group.
    pub(crate) to_kind: &'static str,
    /// The object referred to.
    pub(crate) to: &'a Name,
}

impl Reference<'_> {
    /// Whether the reference stays in its namespace, or a ReferenceGrant in the target's namespace
    /// allows it.
    pub(crate) fn is_permitted(self, index: &Index) -> bool {
        self.from_namespace == self.to.namespace
            || index.grants_in(&self.to.namespace).any(|grant| {
                let from = grant.spec.from.iter().any(|from| {
                    from.group == GROUP
                        && from.kind == self.from_kind
                        && from.namespace == self.from_namespace
                });
                let to = grant.spec.to.iter().any(|to| {
                    is_core(&to.group)
                        && to.kind == self.to_kind
                        && to.name.as_deref().is_none_or(|name| {
                            // An empty name is "all", as an absent one.
                            name.is_empty() || name == self.to.name
                        })
                });
                from && to
            })
    }

    /// What is missing, for a message.
    pub(crate) fn missing(self) -> String {
        format!(
            "{} {} is in another namespace and no ReferenceGrant there allows it to {} of namespace {}",
            self.to_kind, self.to, self.from_kind, self.from_namespace
        )
    }
}

/// Whether a group is the core group. References of some users spell it `core`.
pub(crate) fn is_core(group: &str) -> bool {
    group.is_empty() || group == "core"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s7_11_the_message_says_who_must_allow_what() {
        let to = Name { namespace: "shop".into(), name: "cart".into() };
        let reference = Reference {
            from_kind: "HTTPRoute",
            from_namespace: "web",
            to_kind: "Service",
            to: &to,
        };
        assert_eq!(
            reference.missing(),
            "Service shop/cart is in another namespace and no ReferenceGrant there allows it to \
             HTTPRoute of namespace web"
        );
    }
}
