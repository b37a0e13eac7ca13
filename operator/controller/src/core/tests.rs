//! Events in, actions out.

use super::*;
use jiff::Timestamp;
use penstock_config::{Key, ResourceKind};
use penstock_gateway::Confirmation;
use penstock_resources::{KINDS, gateway_api::GROUP};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A core, the clock, and what the API server would have.
struct Rig {
    core: Core,
    now: Duration,
    /// Counts resource versions.
    version: u64,
    published: Option<Arc<State>>,
    /// Nodes that can announce addresses.
    announcers: BTreeSet<String>,
}

impl Rig {
    /// A leader whose lists are complete and whose nodes have all acknowledged nothing.
    fn new(objects: &[Value]) -> Self {
        let mut rig = Self::listed(objects);
        rig.take(Input::Leading(true));
        rig
    }

    /// The same without a lease.
    fn listed(objects: &[Value]) -> Self {
        let options = CoreOptions {
            namespace: "penstock-system".into(),
            grace: Duration::from_secs(10),
            refresh: Duration::from_secs(300),
        };
        let mut rig = Self {
            core: Core::new(options),
            now: Duration::from_secs(60),
            version: 1,
            published: None,
            announcers: BTreeSet::new(),
        };
        let installed = KINDS.into_iter().filter(|kind| !is_built_in(*kind)).collect();
        rig.take(Input::Definitions { installed, bundle_version: Some("v1.6.1".into()) });
        for object in std::iter::once(&pool()).chain(objects) {
            let object = rig.object(object.clone());
            rig.take(Input::Listed(object));
        }
        for kind in KINDS {
            rig.take(Input::ListEnds(kind));
        }
        rig
    }

    fn now(&self) -> Now {
        let wall = Timestamp::from_second(1_790_000_000).expect("a time");
        Now { wall: wall + self.now, since_start: self.now }
    }

    fn object(&mut self, mut value: Value) -> Object {
        self.version += 1;
        let metadata = &mut value["metadata"];
        metadata["resourceVersion"] = json!(self.version.to_string());
        let name = metadata["name"].as_str().unwrap_or_default().to_owned();
        metadata["uid"] = json!(format!("uid-{name}"));
        if metadata["generation"].is_null() {
            metadata["generation"] = json!(1);
        }
        Object::from_json(value).expect("an object")
    }

    fn take(&mut self, input: Input) {
        let now = self.now();
        self.core.take(input, now);
    }

    fn apply(&mut self, value: Value) {
        let object = self.object(value);
        self.take(Input::Applied(object));
    }

    fn settle(&mut self) -> Vec<Action> {
        let now = self.now();
        let settled = self.core.settle(now);
        for action in &settled.actions {
            if let Action::Publish(_, state) = action {
                self.published = Some(state.clone());
            }
        }
        settled.actions
    }

    /// The nodes answer to what was published last.
    fn fleet(&mut self, members: usize, acknowledged: bool, refused: &[(Key, &str, &str)]) {
        let refused = refused
            .iter()
            .map(|(key, reason, message)| {
                (key.clone(), (*reason).to_owned(), (*message).to_owned())
            })
            .collect();
        let view = FleetView {
            version: self.published.as_ref().map(|state| state.version()),
            confirmation: Confirmation { acknowledged, refused, ..Confirmation::default() },
            members,
            announcers: self.announcers.clone(),
            blind: false,
        };
        self.take(Input::Fleet(view));
    }

    /// Settles, has the nodes acknowledge, settles again, and writes as an API server does, until
    /// there is nothing to do any more.
    fn serve(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..5 {
            let mut actions = self.settle();
            self.fleet(1, true, &[]);
            actions.extend(self.settle());
            self.write(&actions);
            if actions.is_empty() {
                return all;
            }
            all.extend(actions.iter().filter_map(shown));
        }
        panic!("it never rests: {all:?}");
    }

    /// Has the API server take every write.
    fn write(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::WriteStatus(write) => {
                    let now = self.now();
                    let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now.wall);
                    let old = write.observed.status.as_ref();
                    let status = Status::merge(old, &write.wanted, &time);
                    assert!(status.is_some(), "a write that writes nothing: {}", write.id);
                    self.version += 1;
                    let observed = Observed {
                        uid: write.observed.uid.clone(),
                        resource_version: self.version.to_string(),
                        status,
                    };
                    self.take(Input::Wrote { id: write.id.clone(), result: Ok(observed) });
                }
                Action::ApplyService(service) => {
                    self.take(Input::Applied(Object::Service(service.clone())));
                    let metadata = service.metadata.clone();
                    let name = Name::new(
                        metadata.namespace.unwrap_or_default(),
                        metadata.name.unwrap_or_default(),
                    );
                    self.take(Input::Serviced { name, result: Ok(Some(service.clone())) });
                }
                _ => {}
            }
        }
    }

    /// `status reason` of a condition that the API server has.
    fn condition(&self, kind: Kind, namespace: &str, name: &str, type_: &str) -> String {
        let id = ObjectId { kind, namespace: namespace.into(), name: name.into() };
        let observed = self.core.statuses.observed(&id).expect("it is there");
        let Some(status) = &observed.status else { return "none".into() };
        let found = status.conditions().into_iter().flatten().find(|c| c.type_ == type_).cloned();
        found.map_or("none".into(), |c| {
            format!("{} {} {}", c.status, c.reason, c.observed_generation.unwrap_or_default())
        })
    }

    fn programmed(&self) -> String {
        self.condition(Kind::Gateway, "n", "web", "Programmed")
    }
}

fn shown(action: &Action) -> Option<String> {
    Some(match action {
        Action::Publish(..) => "publish".into(),
        Action::WriteStatus(write) => format!("status {}", write.id),
        Action::ApplyService(s) => {
            format!("apply Service {}", s.metadata.name.as_deref().unwrap_or_default())
        }
        Action::DeleteService(name) => format!("delete Service {}", name.name),
        Action::Tell(notice) => format!("tell {} {}", notice.id, notice.reason),
        Action::Resolve(questions) => format!("resolve {}", questions.len()),
        Action::Retain(_) => return None,
    })
}

/// An address for each Gateway.
fn pool() -> Value {
    json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "LoadBalancerPool",
        "metadata": {"name": "pool"}, "spec": {"ranges": [{"cidr": "192.0.2.0/28"}]},
    })
}

fn class() -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "GatewayClass",
        "metadata": {"name": "penstock"},
        "spec": {"controllerName": "penstock.dev/gateway-controller"},
    })
}

fn gateway(port: u16, generation: i64) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "Gateway",
        "metadata": {"name": "web", "namespace": "n", "generation": generation},
        "spec": {
            "gatewayClassName": "penstock",
            "listeners": [{"name": "http", "protocol": "HTTP", "port": port}],
        },
    })
}

fn route(name: &str, path: &str) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "n"},
        "spec": {
            "parentRefs": [{"name": "web"}],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": path}}],
                "filters": [{"type": "RequestRedirect", "requestRedirect": {"statusCode": 301}}],
            }],
        },
    })
}

fn is_status(action: &Action) -> bool {
    matches!(action, Action::WriteStatus(_))
}

#[test]
fn nothing_is_published_or_written_before_all_lists_are_complete() {
    let options =
        CoreOptions { namespace: "p".into(), grace: Duration::ZERO, refresh: Duration::ZERO };
    let mut core = Core::new(options);
    let now = Now { wall: Timestamp::UNIX_EPOCH, since_start: Duration::ZERO };
    core.take(Input::Leading(true), now);
    let object = Object::from_json(class()).expect("a class");
    core.take(Input::Listed(object), now);
    let settled = core.settle(now);
    assert_eq!(settled.actions, []);
    assert_eq!(settled.waiting_for.len(), KINDS.len());
}

#[test]
fn a_status_is_written_once_the_nodes_have_acknowledged_and_at_rest_nothing_is() {
    let mut rig = Rig::new(&[class(), gateway(80, 1), route("r", "/")]);
    let actions = rig.settle();
    assert!(actions.iter().any(|a| matches!(a, Action::Publish(..))), "{actions:?}");
    assert!(!actions.iter().any(is_status), "nobody has acknowledged: {actions:?}");
    rig.fleet(1, false, &[]);
    assert!(!rig.settle().iter().any(is_status), "the nodes are at it");
    rig.fleet(1, true, &[]);
    let actions = rig.settle();
    rig.write(&actions);
    let mut written: Vec<String> =
        actions.iter().filter(|a| is_status(a)).filter_map(shown).collect();
    written.sort();
    assert_eq!(
        written,
        [
            "status Gateway n/web",
            "status GatewayClass penstock",
            "status HTTPRoute n/r",
            "status LoadBalancerPool pool",
        ]
    );
    rig.serve();
    assert_eq!(rig.settle(), [], "at rest");
    rig.now += Duration::from_secs(61);
    assert_eq!(rig.settle(), [], "time alone changes nothing");
}

#[test]
fn the_echo_of_a_write_is_no_change() {
    let mut rig = Rig::new(&[class(), gateway(80, 1), route("r", "/")]);
    rig.serve();
    let id = ObjectId { kind: Kind::HttpRoute, namespace: "n".into(), name: "r".into() };
    let mut echo = route("r", "/");
    let status = rig.core.statuses.observed(&id).and_then(|o| o.status.clone()).expect("written");
    echo["status"] = status.to_json().expect("JSON");
    rig.apply(echo);
    assert!(!rig.core.changed, "a status is no input of the translation");
    assert_eq!(rig.settle(), []);
}

#[test]
fn what_somebody_else_broke_is_written_again_and_what_is_theirs_stays() {
    let mut rig = Rig::new(&[class(), gateway(80, 1), route("r", "/")]);
    rig.serve();
    let mut broken = route("r", "/");
    let parent = json!({"name": "other"});
    broken["status"] = json!({"parents": [{
        "controllerName": "example.com/other", "parentRef": parent, "conditions": [],
    }]});
    rig.apply(broken);
    let actions = rig.settle();
    rig.write(&actions);
    assert_eq!(actions.iter().filter_map(shown).collect::<Vec<_>>(), ["status HTTPRoute n/r"]);
    let id = ObjectId { kind: Kind::HttpRoute, namespace: "n".into(), name: "r".into() };
    let status = rig.core.statuses.observed(&id).and_then(|o| o.status.clone()).expect("a status");
    let parents = status.to_json().expect("JSON")["parents"].clone();
    assert_eq!(parents[0]["controllerName"], "example.com/other", "{parents}");
    assert_eq!(parents[1]["parentRef"]["name"], "web", "{parents}");
}

#[test]
fn a_refusal_names_the_route_and_leaves_the_rest() {
    let mut rig = Rig::new(&[class(), gateway(80, 1)]);
    rig.serve();
    rig.apply(route("good", "/good"));
    rig.apply(route("bad", "/bad"));
    rig.settle();
    let state = rig.published.clone().expect("published");
    let key = state.iter().map(|r| &r.key).find(|k| k.name.starts_with("n/bad/")).expect("a rule");
    rig.fleet(1, true, &[(key.clone(), "UnsupportedValue", "the path is too clever")]);
    let actions = rig.settle();
    rig.write(&actions);
    let invalid = |name| rig.condition(Kind::HttpRoute, "n", name, "PartiallyInvalid");
    assert_eq!(invalid("bad"), "True UnsupportedValue 1");
    assert_eq!(invalid("good"), "none");
    assert_eq!(rig.programmed(), "True Programmed 1");
    let told: Vec<_> = actions.iter().filter(|a| matches!(a, Action::Tell(_))).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let Action::Tell(notice) = told[0] else { panic!("a notice") };
    assert_eq!((notice.id.name.as_str(), notice.warning), ("bad", true));
    assert!(notice.message.contains("the path is too clever"), "{}", notice.message);
}

#[test]
fn programmed_stays_while_a_later_configuration_is_on_its_way() {
    let mut rig = Rig::new(&[class(), gateway(80, 1)]);
    rig.serve();
    assert_eq!(rig.programmed(), "True Programmed 1");
    rig.apply(route("r", "/"));
    rig.settle();
    rig.fleet(1, false, &[]);
    rig.now += Duration::from_secs(9);
    let actions = rig.settle();
    rig.write(&actions);
    assert!(actions.iter().any(is_status), "the route attaches: {actions:?}");
    assert_eq!(rig.programmed(), "True Programmed 1", "only a slow node");
    // The Gateway itself changed: what is true of the new generation is not known yet.
    rig.apply(gateway(81, 2));
    // Its Service has another port first.
    let actions = rig.settle();
    rig.write(&actions);
    rig.settle();
    rig.fleet(1, false, &[]);
    rig.now += Duration::from_secs(9);
    let actions = rig.settle();
    rig.write(&actions);
    assert_eq!(rig.programmed(), "False Pending 2");
    rig.serve();
    assert_eq!(rig.programmed(), "True Programmed 2");
}

#[test]
fn programmed_falls_when_no_node_is_left_but_not_at_a_failover() {
    let mut rig = Rig::new(&[class(), gateway(80, 1)]);
    rig.serve();
    rig.now += Duration::from_secs(60);
    rig.take(Input::Leading(false));
    rig.take(Input::Leading(true));
    rig.fleet(0, false, &[]);
    assert_eq!(rig.settle(), [], "nodes need some seconds to find a new leader");
    rig.now += Duration::from_secs(11);
    let actions = rig.settle();
    rig.write(&actions);
    assert_eq!(rig.programmed(), "False Pending 1");
}

#[test]
fn a_failover_moves_no_address_before_all_nodes_had_the_time_to_find_the_new_leader() {
    let mut rig = Rig::new(&[class(), gateway(80, 1), route("r", "/a")]);
    rig.announcers = ["a".to_owned(), "b".to_owned()].into();
    rig.serve();
    let announced_by = |rig: &Rig| {
        let state = rig.published.clone().expect("something is published");
        let mut frontends = state.iter().filter_map(|resource| match &*resource.content {
            ResourceKind::Frontend(frontend) => Some(frontend.announced_by.clone()),
            _ => None,
        });
        frontends.next().expect("a port")
    };
    let first = announced_by(&rig);
    let second = if first == "a" { "b" } else { "a" };
    rig.announcers.clear();
    rig.take(Input::Leading(false));
    rig.fleet(0, false, &[]);
    assert_eq!(rig.settle(), [], "a standby hears of no node");
    rig.now += Duration::from_secs(60);
    rig.take(Input::Leading(true));
    rig.announcers.insert(second.to_owned());
    rig.serve();
    assert_eq!(announced_by(&rig), first, "the first may only not have found the leader");
    rig.now += Duration::from_secs(10);
    rig.serve();
    assert_eq!(announced_by(&rig), second, "by now it is known to be gone");
}

#[test]
fn what_a_gateway_was_given_stays_its_own_before_its_service_is_seen() {
    let named = |name: &str| {
        let mut gateway = gateway(80, 1);
        gateway["metadata"]["name"] = json!(name);
        gateway
    };
    let given = |rig: &mut Rig, gateway: &str| {
        rig.settle();
        let state = rig.published.clone().expect("published");
        let found = state.iter().find_map(|resource| match &*resource.content {
            ResourceKind::Frontend(frontend) if frontend.gateway == gateway => {
                Some((frontend.addresses.clone(), frontend.target_port))
            }
            _ => None,
        });
        found.expect("it has a frontend")
    };
    let mut rig = Rig::new(&[class(), named("first"), named("second")]);
    let (first, second) = (given(&mut rig, "n/first"), given(&mut rig, "n/second"));
    assert_ne!(first, second);
    // No Service was seen yet, and the older Gateway goes with what it had.
    let id = ObjectId { kind: Kind::Gateway, namespace: "n".into(), name: "first".into() };
    rig.take(Input::Removed(id));
    rig.apply(named("third"));
    assert_eq!(given(&mut rig, "n/second"), second);
    assert_eq!(given(&mut rig, "n/third").0, first.0, "it was free");
}

#[test]
fn a_standby_publishes_and_writes_nothing() {
    let mut rig = Rig::listed(&[class(), gateway(80, 1), route("r", "/")]);
    let actions = rig.settle();
    assert!(actions.iter().any(|a| matches!(a, Action::Publish(..))), "its index is warm");
    rig.fleet(1, true, &[]);
    let actions = rig.settle();
    let writes = |a: &&Action| !matches!(a, Action::Publish(..) | Action::Retain(_));
    assert_eq!(actions.iter().filter(writes).count(), 0, "{actions:?}");
    rig.take(Input::Leading(true));
    assert!(rig.settle().iter().any(is_status), "now it leads");
}

#[test]
fn the_last_words_of_a_watch_whose_kind_is_not_installed_any_more_are_not_heard() {
    let mut rig = Rig::new(&[class(), gateway(80, 1), route("r", "/")]);
    rig.serve();
    let rules = |rig: &Rig| {
        let state = rig.published.as_ref().expect("published");
        state.iter().filter(|r| r.key.kind() == penstock_config::Kind::Rule).count()
    };
    assert_eq!(rules(&rig), 1);
    let others = |kind: &Kind| !is_built_in(*kind) && *kind != Kind::HttpRoute;
    let installed = KINDS.into_iter().filter(others).collect();
    rig.take(Input::Definitions { installed, bundle_version: Some("v1.6.1".into()) });
    rig.apply(route("late", "/"));
    rig.serve();
    assert_eq!(rules(&rig), 0);
}

#[test]
fn many_routes_are_one_write_each_and_few_for_the_gateway() {
    let mut rig = Rig::new(&[class(), gateway(80, 1)]);
    rig.serve();
    let (mut routes, mut gateways) = (0, 0);
    for n in 0..200 {
        rig.apply(route(&format!("r{n}"), &format!("/{n}")));
        rig.now += Duration::from_millis(50);
        for action in rig.serve() {
            routes += u32::from(action.starts_with("status HTTPRoute"));
            gateways += u32::from(action.starts_with("status Gateway "));
        }
    }
    rig.now += Duration::from_secs(2);
    rig.serve();
    assert_eq!(routes, 200);
    assert!(gateways <= 15, "{gateways}");
    let id = ObjectId { kind: Kind::Gateway, namespace: "n".into(), name: "web".into() };
    let status = rig.core.statuses.observed(&id).and_then(|o| o.status.clone()).expect("a status");
    assert_eq!(status.to_json().expect("JSON")["listeners"][0]["attachedRoutes"], 200, "exact");
}

#[test]
fn the_first_configuration_waits_for_the_modules_of_filters_that_are_there() {
    let filter = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "WasmFilter",
        "metadata": {"name": "f", "namespace": "n"},
        "spec": {"module": {"configMap": {"name": "modules", "key": "f.wasm"}}},
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "penstock-n-web", "namespace": "penstock-system",
            "labels": {"gateway.networking.k8s.io/gateway-name": "web"},
        },
        "spec": {"type": "LoadBalancer", "ports": [{"name": "http", "port": 80}]},
    });
    let mut rig = Rig::new(&[class(), gateway(80, 1), filter.clone(), service]);
    // What an earlier leader made stays meanwhile.
    let actions = rig.settle();
    let [Action::Resolve(questions)] = actions.as_slice() else { panic!("{actions:?}") };
    let asked = questions[0].revision.clone();
    let facts = penstock_gateway::FilterFacts::Failed {
        reason: penstock_gateway::FilterReason::ModuleNotFound,
        message: "there is no ConfigMap".into(),
    };
    let filter_name = Name::new("n", "f");
    let stale = Revision { attempt: 7, ..asked.clone() };
    rig.take(Input::Facts { filter: filter_name.clone(), asked: stale, facts: facts.clone() });
    assert_eq!(rig.settle(), [], "an answer to another question");
    rig.take(Input::Facts { filter: filter_name, asked, facts });
    assert_eq!(rig.serve().first().map(String::as_str), Some("publish"));
    assert_eq!(rig.condition(Kind::WasmFilter, "n", "f", "ResolvedRefs"), "False ModuleNotFound 1");
    // The ConfigMap appears: the module is asked for again.
    rig.apply(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "modules", "namespace": "n"}, "binaryData": {"f.wasm": "AGFzbQ=="},
    }));
    let actions = rig.settle();
    assert!(matches!(actions.first(), Some(Action::Resolve(q)) if q.len() == 1), "{actions:?}");
}
