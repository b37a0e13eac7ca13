//! The operator as a value: what happens goes in, what is to be done comes out. No API server, no
//! socket and no clock is touched here.

mod book;
mod event;
mod listing;
mod modules;
mod notice;
mod pace;
mod services;
mod serving;
mod status;
mod taints;

pub use event::{
    Action, FleetView, InUse, Input, Notice, Now, Question, Revision, Settled, StatusWrite,
    WriteError,
};
pub use listing::is_built_in;
pub(crate) use modules::name_of;
pub use status::{Observed, Status, merge_patch};
pub use taints::{Retaint, TaintBook};

use book::StatusBook;
use listing::Listing;
use modules::ModuleBook;
use penstock_config::{State, Version};
use penstock_gateway::{Index, Mode, Name, Settings, Statuses, Translator};
use penstock_resources::{Kind, Object, ObjectId};
use services::ServiceBook;
use serving::{Decision, Serving};
use std::{sync::Arc, time::Duration};

/// How often everything is translated again only because time passes (certificates expire).
const CLOCK_STEP: Duration = Duration::from_secs(60);

/// What the core has to know from the start.
#[derive(Clone, Debug)]
pub struct CoreOptions {
    /// Namespace of Penstock itself.
    pub namespace: String,
    /// For how long a new leader gives nodes to find it.
    pub grace: Duration,
    /// After which time it is looked up again what the tag of a module means.
    pub refresh: Duration,
}

/// Everything that the operator knows.
#[derive(Debug)]
pub struct Core {
    index: Index,
    translator: Translator,
    listing: Listing,
    modules: ModuleBook,
    serving: Serving,
    statuses: StatusBook,
    services: ServiceBook,
    /// The index says something else than what was translated last.
    changed: bool,
    /// Statuses may have something else to say than when they were made last.
    unsaid: bool,
    /// Filters or ConfigMaps changed, so that modules may have to be looked at.
    modules_changed: bool,
    translated: Option<Translated>,
}

/// What the index came to.
#[derive(Debug)]
struct Translated {
    at: Duration,
    state: Arc<State>,
    version: Version,
    statuses: Statuses,
    /// Whether the nodes' acknowledgement of it was noted.
    acknowledged: bool,
}

impl Core {
    /// Knows nothing yet.
    pub fn new(options: CoreOptions) -> Self {
        let settings = Settings {
            mode: Mode::Cluster,
            namespace: options.namespace.clone(),
            ..Settings::default()
        };
        Self {
            index: Index::new(settings),
            translator: Translator::default(),
            listing: Listing::default(),
            modules: ModuleBook::new(options.refresh),
            serving: Serving::new(options.grace),
            statuses: StatusBook::default(),
            services: ServiceBook::new(options.namespace),
            changed: false,
            unsaid: false,
            modules_changed: true,
            translated: None,
        }
    }

    /// Takes in something that happened. Does nothing about it before [`Core::settle`].
    pub fn take(&mut self, input: Input, now: Now) {
        match input {
            Input::Definitions { installed, bundle_version } => {
                for id in self.listing.definitions(installed) {
                    self.forget(&id);
                }
                let settings = self.index.settings_mut();
                self.changed |= settings.bundle_version != bundle_version;
                settings.bundle_version = bundle_version;
            }
            Input::ListBegins(kind) => self.listing.begin(kind),
            Input::Listed(object) => self.apply(object, true),
            Input::ListEnds(kind) => {
                for id in self.listing.end(kind) {
                    self.forget(&id);
                }
            }
            Input::Applied(object) => self.apply(object, false),
            Input::Removed(id) => {
                self.listing.absent(&id);
                self.forget(&id);
            }
            Input::Leading(leading) => {
                self.serving.set_leading(leading, now.since_start);
                self.unsaid = true;
                if leading {
                    self.statuses.look_at_all();
                    self.services.look_at_all();
                }
            }
            Input::Fleet(fleet) => {
                self.serving.heard(fleet);
                self.unsaid = true;
            }
            Input::Facts { filter, asked, facts } => {
                if self.modules.answer(&filter, &asked, &facts, now.since_start) {
                    self.changed |= self.index.set_filter_facts(&filter.to_string(), facts);
                }
            }
            Input::Wrote { id, result } => self.statuses.wrote(&id, result),
            Input::Serviced { name, result } => self.services.wrote(&name, result),
        }
    }

    /// What there is to do by now.
    pub fn settle(&mut self, now: Now) -> Settled {
        let mut settled = Settled { waiting_for: self.listing.waiting_for(), ..Settled::default() };
        if !settled.waiting_for.is_empty() {
            return settled;
        }
        self.ask(now, &mut settled);
        let (announcers, complete, wake) = self.serving.announcers(now.since_start);
        settled.add(Vec::new(), wake);
        self.changed |= self.index.set_nodes(announcers.clone(), complete);
        if self.is_due(now) && !self.waits_for_modules(now, &mut settled) {
            self.translate(now, &mut settled);
        }
        self.acknowledge(&mut settled);
        self.say(now, &mut settled);
        // Before the first translation nothing is wanted yet: what is there would be deleted.
        if self.serving.is_leading() && self.translated.is_some() {
            let (actions, wake) = self.services.due(now.since_start);
            settled.add(actions, wake);
            let (actions, wake) = self.statuses.due(now);
            settled.add(actions, wake);
        }
        let tick = self.translated.as_ref().map(|translated| translated.at + CLOCK_STEP);
        settled.add(Vec::new(), tick);
        settled.add(Vec::new(), self.modules.wake());
        settled
    }

    /// How many objects carry a status of ours, for a metric.
    pub fn statuses(&self) -> &Statuses {
        self.statuses.wanted()
    }

    fn apply(&mut self, mut object: Object, listed: bool) {
        let id = object.id();
        if !self.listing.is_watched(id.kind) {
            // The last words of a watch that has ended.
            return;
        }
        self.listing.present(&id, listed);
        let metadata = object.metadata();
        let (uid, resource_version) =
            (metadata.uid.clone(), metadata.resource_version.clone().unwrap_or_default());
        if let Some(status) = Status::take(&mut object) {
            let uid = uid.unwrap_or_default();
            self.statuses.observe(&id, Observed { uid, resource_version, status });
        }
        if let Object::Service(service) = &object {
            self.services.observe(service);
        }
        forget_bookkeeping(&mut object);
        self.modules_changed |= matches!(id.kind, Kind::WasmFilter | Kind::ConfigMap);
        self.changed |= self.index.apply(object);
    }

    fn forget(&mut self, id: &ObjectId) {
        self.statuses.forget(id);
        if id.kind == Kind::Service {
            self.services.forget(&Name::new(&id.namespace, &id.name));
        }
        self.modules_changed |= matches!(id.kind, Kind::WasmFilter | Kind::ConfigMap);
        self.changed |= self.index.remove(id);
    }

    /// Asks about modules.
    fn ask(&mut self, now: Now, settled: &mut Settled) {
        let due = self.modules.wake().is_some_and(|at| at <= now.since_start);
        if !std::mem::take(&mut self.modules_changed) && !due {
            return;
        }
        let questions = self.modules.questions(&self.index, now.since_start);
        if !questions.is_empty() {
            settled.actions.push(Action::Resolve(questions));
        }
    }

    fn is_due(&self, now: Now) -> bool {
        let Some(translated) = &self.translated else { return true };
        self.changed || now.since_start >= translated.at + CLOCK_STEP
    }

    /// Only the first time: what nodes serve already needs its modules.
    fn waits_for_modules(&self, now: Now, settled: &mut Settled) -> bool {
        let until = self.modules.waiting(now.since_start).filter(|_| self.translated.is_none());
        settled.add(Vec::new(), until);
        until.is_some()
    }

    fn translate(&mut self, now: Now, settled: &mut Settled) {
        self.index.settings_mut().now = Some(now.wall.as_second());
        let translation = self.translator.translate(&self.index);
        (self.changed, self.unsaid) = (false, true);
        self.index.assume(translation.services.clone());
        self.services.want(translation.services);
        let version = translation.state.version();
        let before = self.translated.take();
        let same = before.filter(|before| before.version == version);
        let (state, acknowledged) = match same {
            Some(before) => (before.state, before.acknowledged),
            None => {
                let state = Arc::new(translation.state);
                self.serving.published(version, now.since_start);
                settled.actions.push(Action::Publish(version, state.clone()));
                (state, false)
            }
        };
        let statuses = translation.statuses;
        self.translated =
            Some(Translated { at: now.since_start, state, version, statuses, acknowledged });
    }

    /// Notes what nodes serve from now on, once for each configuration.
    fn acknowledge(&mut self, settled: &mut Settled) {
        let Some(translated) = self.translated.as_mut().filter(|t| !t.acknowledged) else { return };
        let Some(fleet) = self.serving.answer().filter(|f| f.confirmation.acknowledged) else {
            return;
        };
        translated.acknowledged = true;
        self.index.confirm(&translated.state, &fleet.confirmation);
        settled.actions.push(Action::Retain(modules::in_use(&self.index)));
    }

    /// What statuses say by now.
    fn say(&mut self, now: Now, settled: &mut Settled) {
        let Some(translated) = self.translated.as_ref().filter(|_| self.unsaid) else { return };
        match self.serving.decide(now.since_start) {
            Decision::Wait(until) => settled.add(Vec::new(), until),
            Decision::Say { confirmation, sticky } => {
                self.unsaid = false;
                let mut statuses = translated.statuses.confirm(&confirmation);
                if sticky {
                    serving::keep_programmed(self.statuses.wanted(), &mut statuses);
                }
                let notices = notice::notices(&self.statuses, &statuses);
                self.statuses.want(statuses);
                settled.actions.extend(notices.into_iter().map(Action::Tell));
            }
        }
    }
}

impl Settled {
    fn add(&mut self, actions: Vec<Action>, wake: Option<Duration>) {
        self.actions.extend(actions);
        self.wake = [self.wake, wake].into_iter().flatten().min();
    }
}

/// What changes with each write and says nothing about what is served.
fn forget_bookkeeping(object: &mut Object) {
    let keep_version = object.kind() == Kind::ConfigMap;
    let metadata = match object {
        Object::GatewayClass(o) => &mut o.metadata,
        Object::Gateway(o) => &mut o.metadata,
        Object::HttpRoute(o) => &mut o.metadata,
        Object::ReferenceGrant(o) => &mut o.metadata,
        Object::Service(o) => &mut o.metadata,
        Object::EndpointSlice(o) => &mut o.metadata,
        Object::Secret(o) => &mut o.metadata,
        Object::ConfigMap(o) => &mut o.metadata,
        Object::Namespace(o) => &mut o.metadata,
        Object::WasmFilter(o) => &mut o.metadata,
        Object::GatewayConfig(o) => &mut o.metadata,
        Object::LoadBalancerPool(o) => &mut o.metadata,
    };
    metadata.managed_fields = None;
    if !keep_version {
        metadata.resource_version = None;
    }
}

#[cfg(test)]
mod tests;
