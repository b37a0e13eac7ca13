//! What is begun is brought to its end.

use crate::{
    action::Action,
    eni::{Attachment, Eni},
    limits::Limits,
    node::Node,
    time::Time,
};
use penstock_config::address::Held;
use std::collections::BTreeSet;

/// Interfaces that are made and not attached, attached and not marked, detached and not deleted.
pub(super) fn go_on(node: &Node, limits: &Limits, now: Time, actions: &mut Vec<Action>) {
    let mut taken = places(node);
    for eni in node.enis.values().filter(|eni| eni.owned && !node.is_busy(&eni.id, now)) {
        match &eni.attachment {
            // It was detached to be deleted; or nothing comes of it.
            None if is_given(node, eni, now, actions) || eni.units.is_empty() => {
                actions.push(Action::Delete { interface: eni.id.clone() });
            }
            None => match free_place(node, limits, &taken) {
                Some(place) => {
                    taken.insert(place);
                    actions.push(Action::Attach { interface: eni.id.clone(), place });
                }
                None => actions.push(Action::Delete { interface: eni.id.clone() }),
            },
            Some(at) if is_given(node, eni, now, actions) => actions
                .push(Action::Detach { interface: eni.id.clone(), attachment: at.id.clone() }),
            Some(at) => actions.extend(mark(node, eni, at)),
        }
    }
}

/// The attachment shall say whether the interface ends with the instance.
fn mark(node: &Node, eni: &Eni, at: &Attachment) -> Option<Action> {
    let delete = node.settings.delete_on_termination;
    let (interface, attachment) = (eni.id.clone(), at.id.clone());
    (at.delete_on_termination != delete).then_some(Action::DeleteOnTermination {
        interface,
        attachment,
        delete,
    })
}

/// Whether the node has confirmed that it does not need the interface.
fn is_given(node: &Node, eni: &Eni, now: Time, planned: &[Action]) -> bool {
    let held = Held::interface(&eni.id);
    let ready = node.releases.get(&held).is_some_and(|release| release.is_ready(now));
    ready && !planned.contains(&Action::Withdraw(held))
}

/// Card and device index of all interfaces that are attached or on their way to be.
pub(super) fn places(node: &Node) -> BTreeSet<(u8, u8)> {
    let attached = node.enis.values().filter_map(|eni| eni.attachment.as_ref());
    let attached = attached.map(|at| (at.card, at.index));
    let coming = node.running.iter().filter_map(|action| match action {
        Action::Create { place, .. } | Action::Attach { place, .. } => Some(*place),
        _ => None,
    });
    attached.chain(coming).collect()
}

/// A free place: the lowest device index of the lowest card that takes one more.
///
/// Device index 0 of the first card is the one that the instance began with; on the others, indexes
/// begin at 1 as well, as EC2's own launch templates do it.
pub(super) fn free_place(
    node: &Node,
    limits: &Limits,
    taken: &BTreeSet<(u8, u8)>,
) -> Option<(u8, u8)> {
    if taken.len() >= usize::from(limits.interfaces) {
        return None;
    }
    let first = node.settings.first_interface_index.max(1);
    limits.cards.iter().find_map(|(&card, has)| {
        let on_card = taken.iter().filter(|(c, _)| *c == card).count();
        let from = if card == 0 { first } else { 1 };
        let index = (from..=u8::MAX).find(|&index| !taken.contains(&(card, index)))?;
        (on_card < usize::from(has.interfaces)).then_some((card, index))
    })
}
