//! What the desk wants done at EC2.

use super::metrics::AddressMetrics;
use penstock_ec2::Ec2;
use penstock_eni::{Action, Effect, Event, Look, Time};
use std::time::Instant;

/// Makes calls.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) ec2: Ec2,
    pub(super) metrics: AddressMetrics,
}

impl Caller {
    /// Makes the call of an effect, and gives what the desk is to hear of it. `None` for an effect that
    /// is no call.
    pub(super) async fn make(&self, effect: Effect, now: Time) -> Option<Event> {
        let name = effect.call()?;
        let begun = Instant::now();
        let event = self.event(effect, now).await?;
        let failure = event.failure().map(|(_, failure)| failure);
        self.metrics.called(name, failure.map(|failure| failure.reason), begun.elapsed());
        match failure {
            Some(failure) => {
                // In full, with what IAM has encoded.
                let (reason, message) = (failure.reason.as_str(), &failure.message);
                let remedy = failure.reason.remedy();
                tracing::warn!(call = name, reason, remedy, "EC2 refuses: {message}");
            }
            None => tracing::debug!(call = name, "EC2 answered"),
        }
        Some(event)
    }

    async fn event(&self, effect: Effect, now: Time) -> Option<Event> {
        let ec2 = &self.ec2;
        Some(match effect {
            Effect::Call(key, id, action) => {
                let token = format!("{}-{}-{}", key.instance, id.term, id.count);
                let result = ec2.call(&key.instance, &token, &action).await;
                tracing::info!(node = key.node, ?action, ok = result.is_ok(), "EC2 was called");
                Event::Called(key, id, action.name(), result)
            }
            Effect::Delete(interface) => {
                tracing::info!(%interface, "an interface that belongs to no node is deleted");
                let action = Action::Delete { interface };
                Event::Deleted(ec2.call("", "", &action).await.map(drop))
            }
            Effect::Look(Look::Interfaces(key)) => {
                let result = ec2.interfaces(&key.instance).await;
                Event::Described(key, now, result)
            }
            Effect::Look(Look::Vpc(vpc)) => {
                let described = ec2.vpc(&vpc).await;
                Event::Vpc(vpc, described.map(|found| (found.subnets, found.groups)))
            }
            Effect::Look(Look::Type(kind)) => {
                let found = ec2.limits(&[&kind]).await;
                let limits = found.map(|mut found| found.remove(&kind));
                Event::Type(kind, limits)
            }
            Effect::Look(Look::Loose(vpc)) => Event::Loose(ec2.loose(&vpc).await),
            Effect::Tell(..) | Effect::Problem(..) => return None,
        })
    }
}
