//! What may be said about the nodes, and when.

use super::event::FleetView;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use penstock_config::Version;
use penstock_gateway::{Confirmation, Statuses};
use penstock_resources::conditions::{reasons, types};
use std::collections::BTreeSet;
use std::time::Duration;

/// For how long statuses wait for nodes that are there and have not answered. A node that does not
/// live leaves the serving set after five seconds.
const PATIENCE: Duration = Duration::from_secs(8);

/// Follows one configuration after the other from publication to acknowledgement.
#[derive(Debug)]
pub(crate) struct Serving {
    /// For how long after the lease was won an empty serving set says nothing: nodes need some
    /// seconds to find a new leader.
    grace: Duration,
    leading_since: Option<Duration>,
    published: Option<(Version, Duration)>,
    fleet: FleetView,
}

/// What is to be done about statuses.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    /// Nothing, until this time.
    Wait(Option<Duration>),
    /// They say this.
    Say {
        /// What the nodes answered.
        confirmation: Confirmation,
        /// Whether what is programmed stays so: the nodes are there, and only have not answered yet.
        sticky: bool,
    },
}

impl Serving {
    pub(crate) fn new(grace: Duration) -> Self {
        Self { grace, leading_since: None, published: None, fleet: FleetView::default() }
    }

    pub(crate) fn is_leading(&self) -> bool {
        self.leading_since.is_some()
    }

    pub(crate) fn set_leading(&mut self, leading: bool, now: Duration) {
        self.leading_since = leading.then(|| self.leading_since.unwrap_or(now));
    }

    /// A configuration was published.
    pub(crate) fn published(&mut self, version: Version, now: Duration) {
        self.published = Some((version, now));
    }

    /// The nodes said something.
    pub(crate) fn heard(&mut self, fleet: FleetView) {
        self.fleet = fleet;
    }

    /// The nodes that can announce addresses; whether all others are known not to, and if not so, when
    /// they will be. A new leader gives them time to find it; who does not lead hears of none.
    pub(crate) fn announcers(&self, now: Duration) -> (&BTreeSet<String>, bool, Option<Duration>) {
        let known_at = self.leading_since.map(|since| since + self.grace);
        let complete = known_at.is_some_and(|at| at <= now);
        (&self.fleet.announcers, complete, known_at.filter(|_| !complete))
    }

    /// What the nodes answered, where it speaks of what was published last.
    pub(crate) fn answer(&self) -> Option<&FleetView> {
        let (version, _) = self.published?;
        Some(&self.fleet).filter(|fleet| fleet.version == Some(version))
    }

    /// What can be said.
    pub(crate) fn decide(&self, now: Duration) -> Decision {
        let (Some(leading_since), Some((_, published_at))) = (self.leading_since, self.published)
        else {
            return Decision::Wait(None);
        };
        let Some(fleet) = self.answer() else { return Decision::Wait(None) };
        let confirmation = fleet.confirmation.clone();
        if confirmation.acknowledged {
            return Decision::Say { confirmation, sticky: false };
        }
        let until = match fleet.members {
            0 if fleet.blind => return Decision::Wait(None),
            0 => leading_since + self.grace,
            _ => published_at.max(leading_since) + PATIENCE,
        };
        if now < until {
            return Decision::Wait(Some(until));
        }
        Decision::Say { confirmation, sticky: fleet.members > 0 }
    }
}

/// `Programmed` stays true where it was, for the same generation, while the nodes only have not
/// answered yet: it falls when they refuse, or when none is left.
pub(crate) fn keep_programmed(before: &Statuses, statuses: &mut Statuses) {
    for (name, gateway) in &mut statuses.gateways {
        let Some(old) = before.gateways.get(name) else { continue };
        if let (Some(old), Some(new)) = (&old.conditions, &mut gateway.conditions) {
            keep(old, new);
        }
        for listener in gateway.listeners.iter_mut().flatten() {
            let old = old.listeners.iter().flatten().find(|old| old.name == listener.name);
            if let Some(old) = old {
                keep(&old.conditions, &mut listener.conditions);
            }
        }
    }
}

fn keep(old: &[Condition], new: &mut [Condition]) {
    let programmed = |c: &&Condition| c.type_ == types::PROGRAMMED;
    let Some(old) = old.iter().find(programmed).filter(|old| old.status == "True") else { return };
    let waits = |c: &&mut Condition| c.type_ == types::PROGRAMMED && c.reason == reasons::PENDING;
    if let Some(new) = new.iter_mut().find(waits)
        && new.observed_generation == old.observed_generation
    {
        new.clone_from(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_config::State;

    const GRACE: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn version() -> Version {
        State::default().version()
    }

    fn fleet(members: usize, acknowledged: bool) -> FleetView {
        FleetView {
            version: Some(version()),
            confirmation: Confirmation { acknowledged, ..Confirmation::default() },
            members,
            ..FleetView::default()
        }
    }

    fn serving(fleet: FleetView) -> Serving {
        let mut serving = Serving::new(GRACE);
        serving.set_leading(true, at(100));
        serving.published(version(), at(200));
        serving.heard(fleet);
        serving
    }

    fn said(serving: &Serving, now: Duration) -> Option<(bool, bool)> {
        match serving.decide(now) {
            Decision::Wait(_) => None,
            Decision::Say { confirmation, sticky } => Some((confirmation.acknowledged, sticky)),
        }
    }

    #[test]
    fn statuses_wait_for_the_nodes_but_not_for_ever() {
        let serving = serving(fleet(2, false));
        assert_eq!(serving.decide(at(200)), Decision::Wait(Some(at(208))));
        assert_eq!(said(&serving, at(208)), Some((false, true)));
    }

    #[test]
    fn an_acknowledgement_is_told_at_once() {
        assert_eq!(said(&serving(fleet(1, true)), at(200)), Some((true, false)));
    }

    #[test]
    fn an_answer_to_another_configuration_says_nothing() {
        let other = FleetView { version: None, ..fleet(1, true) };
        assert_eq!(serving(other).decide(at(900)), Decision::Wait(None));
    }

    #[test]
    fn an_empty_serving_set_says_nothing_while_nobody_can_prove_who_they_are() {
        let mut serving = serving(FleetView { blind: true, ..fleet(0, false) });
        assert_eq!(serving.decide(at(900)), Decision::Wait(None));
        serving.heard(fleet(0, false));
        assert_eq!(said(&serving, at(900)), Some((false, false)));
    }

    #[test]
    fn an_empty_serving_set_is_told_unless_the_lease_was_won_just_now() {
        let mut serving = serving(fleet(0, false));
        assert_eq!(said(&serving, at(200)), Some((false, false)));
        serving.set_leading(false, at(300));
        assert_eq!(serving.decide(at(300)), Decision::Wait(None));
        serving.set_leading(true, at(400));
        assert_eq!(serving.decide(at(400)), Decision::Wait(Some(at(410))));
        assert_eq!(said(&serving, at(410)), Some((false, false)));
    }
}
