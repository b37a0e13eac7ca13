//! What nodes say, as inputs of the core.

use crate::{
    announcers::Announcers,
    core::{FleetView, Input},
    engine::{Inbox, Publisher},
    metrics::{Metrics, Role as RoleLabel},
};
use penstock_gateway::Confirmation;
use penstock_stream::Role;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// How late the core may hear that a node fell silent.
const TICK: Duration = Duration::from_millis(250);

/// Follows the nodes; never ends.
pub(crate) async fn follow(publisher: Publisher, inbox: Inbox, metrics: Metrics) {
    let (mut told, mut announcers) = (None, Announcers::default());
    loop {
        // A time that is over is a reason to look as well.
        let _ = timeout(TICK, publisher.fleet().changed()).await;
        let now = Instant::now();
        let views = publisher.fleet().views(now);
        for role in [Role::Proxy, Role::Agent] {
            let connected = views.iter().filter(|v| v.connected && v.identity.role == role).count();
            let label = RoleLabel { role: role_name(role) };
            let gauge = metrics.nodes.get_or_create(&label);
            gauge.set(i64::try_from(connected).unwrap_or(i64::MAX));
        }
        let view = view(&publisher, announcers.look(&views, publisher.fleet().unexamined(), now));
        if told.as_ref() != Some(&view) {
            inbox.send(Input::Fleet(view.clone()));
            told = Some(view);
        }
    }
}

fn view(publisher: &Publisher, announcers: BTreeSet<String>) -> FleetView {
    let (version, said) = publisher.confirmation();
    let kept = said.refused.iter().filter(|refused| refused.kept).map(|r| r.key.clone()).collect();
    let refused = said.refused.into_iter().map(|r| (r.key, r.reason, r.message)).collect();
    let confirmation = Confirmation { refused, kept, acknowledged: said.acknowledged };
    FleetView { version, confirmation, members: said.members, announcers }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Proxy => "proxy",
        Role::Agent => "agent",
    }
}
