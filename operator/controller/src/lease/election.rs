//! The rules of the election, without a clock and without an API server.
//!
//! A lease is another's for as long as its record keeps changing. The clocks of two machines are
//! never compared: a replica counts from when it saw the record change. The holder stops leading
//! earlier than others may take over, so that there are never two.

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use std::time::Duration;

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// After so long without a change the lease may be taken over.
    pub duration: Duration,
    /// After so long without a renewal its holder stops. Less than `duration`.
    pub deadline: Duration,
    /// Between two renewals.
    pub renew: Duration,
    /// Between two looks of who does not hold it.
    pub retry: Duration,
}

impl Timing {
    /// The other times that go with a duration.
    pub fn of(duration: Duration) -> Self {
        Self { duration, deadline: duration * 2 / 3, renew: duration / 5, retry: duration / 10 }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::of(Duration::from_secs(15))
    }
}

/// What to do with the lease.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Make it.
    Create(Lease),
    /// Write it in place of the one that was seen.
    Replace(Lease),
    /// Nothing: somebody else holds it.
    Leave,
}

/// One replica in the election.
#[derive(Debug)]
pub(super) struct Election {
    me: String,
    timing: Timing,
    /// The record of another holder, and when it was first seen.
    seen: Option<(String, Duration)>,
    /// Until when this replica leads.
    until: Option<Duration>,
}

impl Election {
    pub(super) fn new(me: String, timing: Timing) -> Self {
        Self { me, timing, seen: None, until: None }
    }

    /// What to do about the lease as the API server has it.
    pub(super) fn decide(&mut self, lease: Option<&Lease>, now: Duration, wall: Timestamp) -> Step {
        let Some(lease) = lease else {
            return Step::Create(self.record(None, now, wall));
        };
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        match holder.unwrap_or_default() {
            "" => Step::Replace(self.record(Some(lease), now, wall)),
            holder if holder == self.me => Step::Replace(self.record(Some(lease), now, wall)),
            _ => {
                let version = lease.metadata.resource_version.clone().unwrap_or_default();
                let since = match &self.seen {
                    Some((seen, since)) if *seen == version => *since,
                    _ => {
                        self.seen = Some((version, now));
                        now
                    }
                };
                // As its holder asked for, which may be another release.
                let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
                let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
                let duration = seconds.map_or(self.timing.duration, Duration::from_secs);
                if now < since + duration {
                    return Step::Leave;
                }
                Step::Replace(self.record(Some(lease), now, wall))
            }
        }
    }

    /// The lease was written by a request that was sent at this time.
    pub(super) fn won(&mut self, sent: Duration) {
        self.seen = None;
        self.until = Some(sent + self.timing.deadline);
    }

    /// The lease could not be looked at. Its holder may not have been able to renew it either, so that
    /// time does not count against it: when the API server comes back, who led goes on.
    pub(super) fn blind(&mut self) {
        self.seen = None;
    }

    /// Somebody else holds the lease.
    pub(super) fn lost(&mut self) {
        self.until = None;
    }

    /// Until when this replica leads without another renewal.
    pub(super) fn leads_until(&self, now: Duration) -> Option<Duration> {
        self.until.filter(|until| now < *until)
    }

    /// The lease given back, so that another replica takes over at once.
    pub(super) fn released(&self, lease: &Lease, wall: Timestamp) -> Option<Lease> {
        let spec = lease.spec.as_ref()?;
        if spec.holder_identity.as_deref() != Some(&self.me) {
            return None;
        }
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(MicroTime(wall)),
            ..spec.clone()
        };
        Some(Lease { metadata: lease.metadata.clone(), spec: Some(spec) })
    }

    /// The lease with this replica as its holder. `leaseTransitions` is the term of the leader: whoever
    /// begins to lead has a higher one than any before, be it the same replica, whose process may be
    /// another. One that is made anew begins with the minutes since 1970, which is more than a lease
    /// that was deleted had.
    fn record(&self, old: Option<&Lease>, now: Duration, wall: Timestamp) -> Lease {
        let before = old.and_then(|lease| lease.spec.as_ref());
        let mine =
            before.is_some_and(|spec| spec.holder_identity.as_deref() == Some(self.me.as_str()));
        let known = before.and_then(|spec| spec.lease_transitions);
        let transitions = match (known, self.leads_until(now)) {
            (Some(known), Some(_)) => known,
            (Some(known), None) => known.saturating_add(1),
            (None, _) => i32::try_from(wall.as_second() / 60).unwrap_or(i32::MAX),
        };
        let acquired = before.and_then(|spec| spec.acquire_time.clone()).filter(|_| mine);
        let seconds = i32::try_from(self.timing.duration.as_secs()).unwrap_or(i32::MAX);
        let spec = LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: Some(seconds.max(1)),
            acquire_time: Some(acquired.unwrap_or(MicroTime(wall))),
            renew_time: Some(MicroTime(wall)),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        };
        let metadata = old.map_or_else(ObjectMeta::default, |lease| lease.metadata.clone());
        Lease { metadata, spec: Some(spec) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn election() -> Election {
        Election::new("a".into(), Timing::default())
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn held(by: &str, version: &str) -> Lease {
        let metadata =
            ObjectMeta { resource_version: Some(version.into()), ..ObjectMeta::default() };
        let spec = LeaseSpec {
            holder_identity: Some(by.into()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(4),
            ..LeaseSpec::default()
        };
        Lease { metadata, spec: Some(spec) }
    }

    fn step(election: &mut Election, lease: Option<&Lease>, now: Duration) -> (bool, i32) {
        match election.decide(lease, now, Timestamp::UNIX_EPOCH) {
            Step::Leave => (false, 0),
            Step::Create(lease) | Step::Replace(lease) => {
                let spec = lease.spec.expect("a spec");
                assert_eq!(spec.holder_identity.as_deref(), Some("a"));
                (true, spec.lease_transitions.unwrap_or_default())
            }
        }
    }

    #[test]
    fn who_led_goes_on_after_the_api_server_was_away() {
        let mut election = election();
        let lease = held("b", "7");
        assert!(!step(&mut election, Some(&lease), at(0)).0);
        election.blind();
        assert!(!step(&mut election, Some(&lease), at(60)).0, "its holder could not renew it");
        assert!(!step(&mut election, Some(&lease), at(74)).0);
        assert!(step(&mut election, Some(&lease), at(75)).0, "it could since");
    }

    #[test]
    fn a_lease_that_is_missing_given_back_or_own_is_taken_at_once() {
        let mut election = election();
        assert_eq!(step(&mut election, None, at(0)), (true, 0));
        assert_eq!(step(&mut election, Some(&held("", "1")), at(0)), (true, 5));
        assert_eq!(step(&mut election, Some(&held("a", "1")), at(0)), (true, 5), "another process");
        election.won(at(0));
        assert_eq!(step(&mut election, Some(&held("a", "1")), at(3)), (true, 4), "a renewal");
    }

    #[test]
    fn who_begins_to_lead_has_a_higher_term_than_any_before() {
        let mut election = election();
        election.won(at(0));
        let until = election.leads_until(at(0)).expect("it leads");
        assert_eq!(step(&mut election, Some(&held("a", "1")), until), (true, 5), "it had ended");
        let wall: Timestamp = "2026-11-28T00:00:00Z".parse().expect("a time");
        let Step::Create(made) = election.decide(None, at(0), wall) else { panic!("not made") };
        let term = made.spec.expect("a spec").lease_transitions;
        assert_eq!(term, Some(29_930_400), "a lease that was deleted had fewer");
    }

    #[test]
    fn a_lease_of_another_is_taken_when_it_has_not_changed_for_its_duration() {
        let mut election = election();
        assert_eq!(step(&mut election, Some(&held("b", "1")), at(100)), (false, 0));
        assert_eq!(step(&mut election, Some(&held("b", "1")), at(114)), (false, 0));
        assert_eq!(step(&mut election, Some(&held("b", "2")), at(114)), (false, 0), "renewed");
        assert_eq!(step(&mut election, Some(&held("b", "2")), at(128)), (false, 0));
        assert_eq!(step(&mut election, Some(&held("b", "2")), at(129)), (true, 5));
    }

    #[test]
    fn the_holder_stops_before_another_may_take_over() {
        let mut election = election();
        assert_eq!(election.leads_until(at(0)), None);
        election.won(at(100));
        let until = election.leads_until(at(100)).expect("it leads");
        assert!(until < at(100) + Timing::default().duration);
        assert_eq!(election.leads_until(until), None);
        election.won(at(105));
        assert!(election.leads_until(until).is_some());
        election.lost();
        assert_eq!(election.leads_until(at(105)), None);
    }

    #[test]
    fn only_the_holder_gives_a_lease_back() {
        let election = election();
        let wall = Timestamp::UNIX_EPOCH;
        assert_eq!(election.released(&held("b", "1"), wall), None);
        let released = election.released(&held("a", "1"), wall).expect("given back");
        let spec = released.spec.expect("a spec");
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some(""), Some(4)));
        assert_eq!(released.metadata.resource_version.as_deref(), Some("1"));
    }
}
