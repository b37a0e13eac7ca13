//! What EC2 shows is merged into what is known; it never replaces it.
//!
//! EC2 is eventually consistent: what a call changed may be missing in what a later `Describe*` shows.
//! What this operator knows from a call's own answer stands for [`CONSISTENCY`].

use crate::{eni::Eni, time::Time};
use penstock_config::address::Unit;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// For how long EC2 may show what was before a call, and for how long a call without an answer may
/// still take effect.
pub const CONSISTENCY: Duration = Duration::from_secs(20);

/// What calls said about an interface lately.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    gained: BTreeMap<Unit, Time>,
    lost: BTreeMap<Unit, Time>,
    /// When it was made, attached or detached.
    placed: Option<Time>,
    /// Since when it has not been shown although it should have been: when the first such description
    /// began.
    missed: Option<Time>,
}

impl Trace {
    /// It was made, attached or detached.
    pub(crate) fn placed(&mut self, now: Time) {
        self.placed = Some(now);
    }

    /// Units were assigned.
    pub(crate) fn gained(&mut self, units: &BTreeSet<Unit>, now: Time) {
        for unit in units {
            self.lost.remove(unit);
            self.gained.insert(*unit, now);
        }
    }

    /// Units were unassigned.
    pub(crate) fn lost(&mut self, units: &BTreeSet<Unit>, now: Time) {
        for unit in units {
            self.gained.remove(unit);
            self.lost.insert(*unit, now);
        }
    }

    /// Merges what a description that began at `begun` shows. What a call on the way gives back stays,
    /// shown or not: were it forgotten, it could come again before that call arrives.
    pub(crate) fn merge(
        &mut self,
        known: &mut Eni,
        seen: Eni,
        begun: Time,
        on_the_way: &BTreeSet<Unit>,
    ) {
        let recent = |at: &Time| *at + CONSISTENCY > begun;
        self.missed = None;
        self.gained.retain(|_, at| recent(at));
        self.lost.retain(|_, at| recent(at));
        // What is gone in one description may be there again in the next, an older one.
        let stays = |unit: &&Unit| {
            let shown = seen.units.contains(unit) || self.gained.contains_key(unit);
            shown || on_the_way.contains(unit)
        };
        let gone = known.units.iter().filter(|unit| !stays(unit));
        self.lost.extend(gone.map(|unit| (*unit, begun)));
        let mut units = seen.units;
        units.extend(self.gained.keys());
        units.extend(known.units.intersection(on_the_way));
        units.retain(|unit| !self.lost.contains_key(unit));
        let attachment = match self.placed.as_ref().is_some_and(recent) {
            true => known.attachment.take(),
            false => seen.attachment,
        };
        *known = Eni { units, attachment, ..seen };
    }

    /// A description that began at `begun` does not show it: whether it is gone. That is known when
    /// another one, [`CONSISTENCY`] later, does not show it either.
    pub(crate) fn is_gone(&mut self, begun: Time) -> bool {
        if self.placed.is_some_and(|at| at + CONSISTENCY > begun) {
            return false;
        }
        *self.missed.get_or_insert(begun) + CONSISTENCY <= begun
    }

    /// When a description would tell whether it is gone, where the last one did not show it.
    pub(crate) fn doubted_until(&self) -> Option<Time> {
        self.missed.map(|since| since + CONSISTENCY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eni::Attachment;
    use std::net::Ipv4Addr;

    fn eni(units: &[u8]) -> Eni {
        Eni {
            id: "eni-1".into(),
            mac: "02:00:00:00:00:01".into(),
            vpc: String::new(),
            subnet: "subnet-1".into(),
            primary: Ipv4Addr::new(10, 0, 0, 4),
            units: units.iter().map(|&n| Unit::Address(Ipv4Addr::new(10, 0, 0, n))).collect(),
            groups: BTreeSet::new(),
            tags: BTreeMap::new(),
            owned: true,
            attachment: None,
        }
    }

    fn secs(secs: u64) -> Time {
        Time(0) + Duration::from_secs(secs)
    }

    #[test]
    fn what_a_call_said_stands_until_descriptions_can_be_trusted_again() {
        let (mut known, mut trace) = (eni(&[5, 6]), Trace::default());
        trace.gained(&eni(&[6]).units, secs(0));
        trace.lost(&eni(&[7]).units, secs(0));
        trace.merge(&mut known, eni(&[5, 7]), secs(1), &BTreeSet::new());
        assert_eq!(known.units, eni(&[5, 6]).units);
        trace.merge(&mut known, eni(&[5, 7]), secs(0) + CONSISTENCY, &BTreeSet::new());
        assert_eq!(known.units, eni(&[5, 7]).units);
    }

    #[test]
    fn an_address_that_comes_back_after_it_was_unassigned_counts() {
        let (mut known, mut trace) = (eni(&[5]), Trace::default());
        trace.lost(&eni(&[6]).units, secs(0));
        trace.gained(&eni(&[6]).units, secs(1));
        trace.merge(&mut known, eni(&[5]), secs(2), &BTreeSet::new());
        assert_eq!(known.units, eni(&[5, 6]).units);
    }

    #[test]
    fn an_address_that_was_seen_to_be_gone_is_not_back_because_of_an_older_description() {
        let (mut known, mut trace) = (eni(&[5, 6]), Trace::default());
        trace.merge(&mut known, eni(&[5]), secs(1), &BTreeSet::new());
        trace.merge(&mut known, eni(&[5, 6]), secs(2), &BTreeSet::new());
        assert_eq!(known.units, eni(&[5]).units);
        trace.merge(&mut known, eni(&[5, 6]), secs(21), &BTreeSet::new());
        assert_eq!(known.units, eni(&[5, 6]).units);
    }

    #[test]
    fn an_address_that_a_call_on_the_way_gives_back_is_not_forgotten_before_it_is_answered() {
        let (mut known, mut trace) = (eni(&[5, 6]), Trace::default());
        trace.merge(&mut known, eni(&[5]), secs(1), &eni(&[6]).units);
        assert_eq!(known.units, eni(&[5, 6]).units);
        trace.merge(&mut known, eni(&[5]), secs(2), &BTreeSet::new());
        assert_eq!(known.units, eni(&[5]).units);
    }

    #[test]
    fn an_attachment_is_not_lost_to_an_old_description() {
        let (mut known, mut trace) = (eni(&[]), Trace::default());
        let at = Attachment { id: "a".into(), card: 0, index: 1, delete_on_termination: false };
        known.attachment = Some(at.clone());
        trace.placed(secs(0));
        trace.merge(&mut known, eni(&[]), secs(1), &BTreeSet::new());
        assert_eq!(known.attachment, Some(at));
        trace.merge(&mut known, eni(&[]), secs(21), &BTreeSet::new());
        assert_eq!(known.attachment, None);
    }

    #[test]
    fn an_interface_is_gone_when_two_descriptions_do_not_show_it_of_which_one_can_be_trusted() {
        let mut trace = Trace::default();
        trace.placed(secs(0));
        assert!(!trace.is_gone(secs(1)), "it was made just now");
        assert!(!trace.is_gone(secs(30)));
        trace.merge(&mut eni(&[]), eni(&[]), secs(40), &BTreeSet::new());
        assert!(!trace.is_gone(secs(50)), "it was shown in between");
        assert!(!trace.is_gone(secs(60)), "both may be older than what made it");
        assert_eq!(trace.doubted_until(), Some(secs(50) + CONSISTENCY));
        assert!(trace.is_gone(secs(50) + CONSISTENCY));
    }
}
