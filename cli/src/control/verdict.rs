//! What a status says, object by object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use penstock_config::short_digest;
use penstock_gateway::{Name, Statuses};
use penstock_resources::{
    Kind, ObjectId,
    gateway_api::{gateways::GatewayStatus, httproutes::HttpRouteStatusParents},
    wasm_filter::WasmFilterStatus,
};
use serde::Serialize;
use serde_json::{Value, json};

/// What the status of one object says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// The object.
    pub(crate) id: ObjectId,
    /// The whole status.
    pub(crate) status: Value,
    /// What is not as its author wants it; empty where everything is.
    pub(crate) problems: Vec<Finding>,
    /// Some words on what is well.
    pub(crate) summary: String,
}

/// One condition that is not as the author of the object wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The part of the object: `listener http`, `parent default/web`; empty for the whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) part: String,
    /// Type of the condition.
    pub(crate) condition: String,
    /// Its reason.
    pub(crate) reason: String,
    /// Its message: cause and remedy.
    pub(crate) message: String,
}

/// The verdicts of all objects that have a status, sorted.
pub(crate) fn verdicts(statuses: &Statuses) -> Vec<Verdict> {
    let classes = statuses.gateway_classes.iter().map(|(name, status)| {
        let id =
            ObjectId { kind: Kind::GatewayClass, namespace: String::new(), name: name.clone() };
        let problems = problems("", status.conditions.as_deref());
        Verdict { id, status: json(status), problems, summary: String::new() }
    });
    let gateways = statuses.gateways.iter().map(|(name, s)| gateway(name, s));
    let routes = statuses.http_routes.iter().map(|(name, status)| {
        let (mut found, mut parents) = (Vec::new(), Vec::new());
        for parent in &status.parents {
            let label = parent_label(name, parent);
            found.extend(problems(&format!("parent {label}"), Some(&parent.conditions)));
            parents.push(label);
        }
        let summary = format!("attached to {}", parents.join(", "));
        Verdict { id: id(Kind::HttpRoute, name), status: json(status), problems: found, summary }
    });
    let filters = statuses.wasm_filters.iter().map(|(name, s)| filter(name, s));
    classes.chain(gateways).chain(routes).chain(filters).collect()
}

fn gateway(name: &Name, status: &GatewayStatus) -> Verdict {
    let mut found = problems("", status.conditions.as_deref());
    let mut listeners = Vec::new();
    for listener in status.listeners.iter().flatten() {
        found.extend(problems(&format!("listener {}", listener.name), Some(&listener.conditions)));
        let routes = match listener.attached_routes {
            1 => "1 route".to_owned(),
            n => format!("{n} routes"),
        };
        listeners.push(format!("listener {} with {routes}", listener.name));
    }
    let id = id(Kind::Gateway, name);
    Verdict { id, status: json(status), problems: found, summary: listeners.join(", ") }
}

fn filter(name: &Name, status: &WasmFilterStatus) -> Verdict {
    let mut words = Vec::new();
    words.extend(status.kind.as_ref().map(|kind| format!("{kind} policy")));
    words.extend(status.plan.as_ref().and_then(|p| p.tier.clone()));
    words.extend(status.digest.as_deref().map(|digest| short_digest(digest).to_owned()));
    Verdict {
        id: id(Kind::WasmFilter, name),
        status: json(status),
        problems: problems("", Some(&status.conditions)),
        summary: words.join(", "),
    }
}

/// The conditions that say that something is wrong.
fn problems(part: &str, conditions: Option<&[Condition]>) -> Vec<Finding> {
    let found = penstock_gateway::problems(conditions.unwrap_or_default());
    found
        .map(|condition| Finding {
            part: part.to_owned(),
            condition: condition.type_.clone(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        })
        .collect()
}

fn parent_label(route: &Name, parent: &HttpRouteStatusParents) -> String {
    let parent = &parent.parent_ref;
    let namespace = parent.namespace.as_deref().unwrap_or(&route.namespace);
    let section = parent.section_name.iter().map(|s| format!("/{s}"));
    let port = parent.port.iter().map(|p| format!(":{p}"));
    format!("{namespace}/{}", parent.name) + &section.chain(port).collect::<String>()
}

fn id(kind: Kind, name: &Name) -> ObjectId {
    ObjectId { kind, namespace: name.namespace.clone(), name: name.name.clone() }
}

/// A status without the times of its conditions: nobody knows them here.
fn json(status: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    strip_times(&mut value);
    value
}

fn strip_times(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("lastTransitionTime");
            map.values_mut().for_each(strip_times);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_times),
        _ => {}
    }
}

impl Finding {
    /// For machines, with the object.
    pub(crate) fn to_json(&self, id: &ObjectId) -> Value {
        let mut value = json!(self);
        value["object"] = json!(id.to_string());
        value
    }
}

/// One line for an object, and one for each problem.
impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.problems.is_empty() {
            write!(f, "accepted  {}", self.id)?;
            return if self.summary.is_empty() { Ok(()) } else { write!(f, ": {}", self.summary) };
        }
        write!(f, "refused   {}", self.id)?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n            {problem}"))
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.part.is_empty() {
            write!(f, "{}: ", self.part)?;
        }
        write!(f, "{} ({}): {}", self.condition, self.reason, self.message)
    }
}
