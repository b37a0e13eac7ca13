//! What nodes say, as inputs of the core.

use crate::{
    announcers::{Announcers, blind},
    core::{FleetView, Input},
    engine::{Inbox, Publisher},
    metrics::{Metrics, Role as RoleLabel},
};
use penstock_gateway::Confirmation;
use penstock_stream::{NodeView, Role, SILENCE};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::timeout};

/// How late the core may hear that a node fell silent.
const TICK: Duration = Duration::from_millis(250);

/// Follows the nodes; never ends. `agents`: the nodes whose agent is ready.
pub(crate) async fn follow(
    publisher: Publisher,
    inbox: Inbox,
    metrics: Metrics,
    agents: watch::Sender<BTreeSet<String>>,
) {
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
        let blind = blind(publisher.fleet().unexamined(), now);
        agents.send_if_modified(|known| {
            let ready = agents_ready(&views, now);
            // Those that are silent may be as ready as before.
            let changes = *known != ready && !(blind && known.is_superset(&ready));
            if changes {
                *known = ready;
            }
            changes
        });
        let announcers = announcers.look(&views, blind, now);
        let view = FleetView { announcers, blind, ..view(&publisher) };
        if told.as_ref() != Some(&view) {
            inbox.send(Input::Fleet(view.clone()));
            told = Some(view);
        }
    }
}

fn view(publisher: &Publisher) -> FleetView {
    let (version, said) = publisher.confirmation();
    let kept = said.refused.iter().filter(|refused| refused.kept).map(|r| r.key.clone()).collect();
    let refused = said.refused.into_iter().map(|r| (r.key, r.reason, r.message)).collect();
    let confirmation = Confirmation { refused, kept, acknowledged: said.acknowledged };
    FleetView { version, confirmation, members: said.members, ..FleetView::default() }
}

/// The nodes that have an agent that has acknowledged and lives.
fn agents_ready(views: &[NodeView], now: Instant) -> BTreeSet<String> {
    let alive = views.iter().filter(|v| now.saturating_duration_since(v.heard) < SILENCE);
    let ready = alive.filter(|v| v.joined && v.identity.role == Role::Agent);
    ready.map(|view| view.identity.node.clone()).collect()
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Proxy => "proxy",
        Role::Agent => "agent",
    }
}
