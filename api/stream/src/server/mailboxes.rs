//! Addresses of nodes: what each is told, and what it said last.

use parking_lot::Mutex;
use penstock_config::address::{NodeAddresses, Report, wire::Addresses};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::{Notify, watch};

/// What a node is told; `None` before there is something.
pub(super) type Told = Option<Arc<Addresses>>;

/// What nodes are told of their addresses, and what they said: the newest of each, whether the node
/// is connected or not.
#[derive(Debug, Default)]
pub struct Mailboxes {
    /// By name of the Node.
    told: Mutex<BTreeMap<String, watch::Sender<Told>>>,
    said: Mutex<BTreeMap<String, Report>>,
    posted: Notify,
}

impl Mailboxes {
    /// Tells a node, at once where it is connected, and whenever its agent connects again.
    pub fn tell(&self, node: &str, told: &NodeAddresses) {
        let told = Arc::new(Addresses::from(told));
        self.told.lock().entry(node.to_owned()).or_default().send_replace(Some(told));
    }

    /// A node is gone.
    pub fn forget(&self, node: &str) {
        self.told.lock().remove(node);
        self.said.lock().remove(node);
    }

    /// Waits until nodes said something, and gives the newest of each. There is one that waits.
    pub async fn reports(&self) -> BTreeMap<String, Report> {
        loop {
            let said = std::mem::take(&mut *self.said.lock());
            if !said.is_empty() {
                return said;
            }
            self.posted.notified().await;
        }
    }

    /// Another replica leads: nothing of this counts any more.
    pub(super) fn clear(&self) {
        self.told.lock().values().for_each(|told| _ = told.send_replace(None));
        self.said.lock().clear();
    }

    pub(super) fn post(&self, node: &str, report: Report) {
        self.said.lock().insert(node.to_owned(), report);
        self.posted.notify_one();
    }

    pub(super) fn subscribe(&self, node: &str) -> watch::Receiver<Told> {
        self.told.lock().entry(node.to_owned()).or_default().subscribe()
    }
}
