//! What IAM permits: a policy in its own language, as far as the chart's needs it
//! (IAM User Guide, "Policies and permissions", and Service Authorization Reference, "Amazon EC2").

use super::ask::Ask;
use crate::model::{Ec2Error, Model};
use penstock_config::address::InterfaceId;
use serde_json::Value;
use std::collections::BTreeMap;

/// Whose requests are judged.
const ROLE: &str = "arn:aws:sts::111122223333:assumed-role/penstock-operator/test";

/// An identity's policy: what no statement allows is not permitted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// `None`: everything is.
    statements: Option<Vec<Value>>,
}

/// Something that a call needs a permission for.
#[derive(Clone, Debug)]
struct Resource {
    /// The end of its ARN: `subnet/subnet-1`. Empty: `*`.
    end: String,
    /// The keys of conditions.
    keys: BTreeMap<String, String>,
}

impl Policy {
    /// From its JSON.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        let policy: Value = serde_json::from_str(json)?;
        let statements = policy["Statement"].as_array().cloned().unwrap_or_default();
        Ok(Self { statements: Some(statements) })
    }

    /// The chart's.
    ///
    /// # Panics
    /// Where the file is not there or no policy.
    pub fn of_the_chart() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/penstock/iam-policy.json");
        let text = std::fs::read_to_string(path).expect("the chart has a policy");
        Self::parse(&text).expect("it is JSON")
    }

    /// The same without an action, `ec2:CreateTags`.
    #[must_use]
    pub fn without(mut self, action: &str) -> Self {
        for statement in self.statements.iter_mut().flatten() {
            let kept = texts(&statement["Action"]).filter(|kept| *kept != action);
            statement["Action"] = kept.map(str::to_owned).collect();
        }
        self
    }

    /// The answer to a call that is not permitted, with IAM's words; `None` where it is.
    pub(super) fn refuses(&self, model: &Model, ask: &Ask) -> Option<Ec2Error> {
        let statements = self.statements.as_ref()?;
        let needs = needs(model, ask);
        let (action, resource) = needs.iter().find(|(action, resource)| {
            !statements.iter().any(|statement| allows(statement, action, resource))
        })?;
        let arn = match resource.end.as_str() {
            "" => "*".to_owned(),
            end => format!("arn:aws:ec2:eu-central-1:111122223333:{end}"),
        };
        let message = format!(
            "You are not authorized to perform this operation. User: {ROLE} is not authorized to \
             perform: {action} on resource: {arn} because no identity-based policy allows the {action} \
             action. Encoded authorization failure message: AQoDYXdzEJr"
        );
        Some(Ec2Error { code: "UnauthorizedOperation", message })
    }
}

/// The permissions that a call needs.
fn needs(model: &Model, ask: &Ask) -> Vec<(String, Resource)> {
    let action = format!("ec2:{}", ask.action());
    let all = |resources: Vec<Resource>| -> Vec<_> {
        resources.into_iter().map(|resource| (action.clone(), resource)).collect()
    };
    let plain = |end: String| Resource { end, keys: BTreeMap::new() };
    match ask.action() {
        "CreateNetworkInterface" => {
            let tags = ask.tags();
            let keys = tags.iter().map(|(key, value)| (format!("aws:RequestTag/{key}"), value));
            let mut keys: BTreeMap<_, _> = keys.map(|(key, value)| (key, value.clone())).collect();
            let new = Resource { end: "network-interface/*".into(), keys: keys.clone() };
            let mut resources = vec![new, plain(format!("subnet/{}", ask.text("SubnetId")))];
            let groups = ask.list("SecurityGroupId");
            resources.extend(groups.iter().map(|id| plain(format!("security-group/{id}"))));
            let mut needed = all(resources);
            if !tags.is_empty() {
                keys.insert("ec2:CreateAction".into(), "CreateNetworkInterface".into());
                let tagged = Resource { end: "network-interface/*".into(), keys };
                needed.push(("ec2:CreateTags".to_owned(), tagged));
            }
            needed
        }
        "AttachNetworkInterface" => {
            let eni = interface(model, &ask.text("NetworkInterfaceId").into());
            all(vec![eni, plain(format!("instance/{}", ask.text("InstanceId")))])
        }
        "DetachNetworkInterface" => {
            let id = ask.text("AttachmentId");
            let found = model.interfaces.values().find_map(|eni| {
                let (instance, at) = eni.attached.as_ref()?;
                (at.id == id).then_some((&eni.id, instance))
            });
            let none = (&InterfaceId::from("*"), &"*".to_owned());
            let (eni, instance) = found.unwrap_or(none);
            all(vec![interface(model, eni), plain(format!("instance/{instance}"))])
        }
        "AssignPrivateIpAddresses"
        | "DeleteNetworkInterface"
        | "ModifyNetworkInterfaceAttribute"
        | "UnassignPrivateIpAddresses" => {
            all(vec![interface(model, &ask.text("NetworkInterfaceId").into())])
        }
        _ => all(vec![plain(String::new())]),
    }
}

fn interface(model: &Model, id: &InterfaceId) -> Resource {
    let tags = model.interfaces.get(id).map(|eni| eni.tags.clone()).unwrap_or_default();
    let keys = tags.into_iter().map(|(key, value)| (format!("aws:ResourceTag/{key}"), value));
    Resource { end: format!("network-interface/{id}"), keys: keys.collect() }
}

fn allows(statement: &Value, action: &str, resource: &Resource) -> bool {
    let Resource { end, keys } = resource;
    let arn = format!("arn:aws:ec2:region:account:{end}");
    let named = texts(&statement["Resource"])
        .any(|pattern| pattern == "*" || (!end.is_empty() && is_like(&arn, pattern)));
    let conditions = statement["Condition"].as_object().into_iter().flatten();
    let holds = conditions.flat_map(|(operator, wanted)| {
        let wanted = wanted.as_object().into_iter().flatten();
        wanted.map(move |(key, values)| (operator.as_str(), key, values))
    });
    let mut holds = holds.map(|(operator, key, values)| {
        // A condition on a key that is not there does not hold.
        keys.get(key).is_some_and(|is| {
            texts(values).any(|wanted| match operator {
                "StringEquals" => is == wanted,
                "StringLike" => is_like(is, wanted),
                other => panic!("condition {other} is not known to the model"),
            })
        })
    });
    let acts = texts(&statement["Action"]).any(|allowed| allowed == action);
    statement["Effect"] == "Allow" && acts && named && holds.all(|holds| holds)
}

/// A text, or each of a list.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    list.iter().filter_map(Value::as_str)
}

/// Whether a text is like a pattern in which `*` stands for anything.
fn is_like(text: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => text == pattern,
        Some((begin, rest)) => text.strip_prefix(begin).is_some_and(|text| {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.into_iter().any(|at| is_like(&text[at..], rest))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (text, pattern, like) in [
            ("arn:aws:ec2:r:a:subnet/subnet-1", "arn:aws:ec2:*:*:subnet/*", true),
            ("arn:aws:ec2:r:a:instance/i-1", "arn:aws:ec2:*:*:subnet/*", false),
            ("", "*", true),
            ("a", "", false),
        ] {
            assert_eq!(is_like(text, pattern), like, "{text} {pattern}");
        }
    }

    #[test]
    fn what_no_statement_allows_is_refused_with_action_and_resource() {
        let model = Model::new();
        let ask = Ask::new(b"Action=DescribeSubnets");
        let policy = Policy::of_the_chart();
        assert_eq!(policy.refuses(&model, &ask), None);
        let refused = policy.without("ec2:DescribeSubnets").refuses(&model, &ask).expect("refused");
        assert_eq!(refused.code, "UnauthorizedOperation");
        let words = "not authorized to perform: ec2:DescribeSubnets on resource: * because";
        assert!(refused.message.contains(words), "{refused}");
        assert_eq!(Policy::default().refuses(&model, &ask), None);
    }
}
