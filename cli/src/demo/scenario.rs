//! Sample requests and what is expected of them (`expected.answers`).

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path};

/// The name of the file in a folder. It is YAML, but no object, so it does not end in `.yaml`.
pub(crate) const FILE: &str = "expected.answers";

/// Sample requests for a folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// Where the folder's Gateway listens.
    pub(crate) gateway: SocketAddr,
    /// Where the folder's Service leads: the echo backend listens here.
    pub(crate) backend: SocketAddr,
    /// What to try next, shown at the end.
    pub(crate) next: String,
    /// The requests, in order.
    pub(crate) requests: Vec<Step>,
}

/// One request and what is expected of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// What it shows.
    pub(crate) title: String,
    /// What is sent.
    pub(crate) request: Sent,
    /// Which filters act, by `namespace/name`.
    #[serde(default)]
    pub(crate) filters: Vec<String>,
    /// What reaches the backend; absent: nothing does.
    pub(crate) backend: Option<Reached>,
    /// What comes back.
    pub(crate) answer: Answer,
}

/// A request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sent {
    /// Method.
    #[serde(default = "get")]
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    /// Headers beyond `Host`.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
}

/// What is expected to reach the backend.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reached {
    /// Path without query.
    pub(crate) path: Option<String>,
    /// Headers by lower-case name; null: must be absent.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Option<String>>,
}

/// What is expected to come back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    /// Status code.
    pub(crate) status: u16,
    /// Headers by lower-case name; null: must be absent.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Option<String>>,
    /// The whole body; absent: not looked at.
    pub(crate) body: Option<String>,
}

/// What really happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    /// Status code.
    pub(crate) status: u16,
    /// Headers of the answer; several of one name are joined.
    pub(crate) headers: BTreeMap<String, String>,
    /// Body of the answer.
    pub(crate) body: String,
    /// What each filter that took part did.
    pub(crate) filters: Vec<FilterRun>,
}

/// One filter's part in a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FilterRun {
    /// `namespace/name`
    pub(crate) name: String,
    /// How it decided, for people.
    pub(crate) how: String,
}

/// The request as the echo backend saw it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Echoed {
    /// Method.
    pub(crate) method: String,
    /// Path without query.
    pub(crate) path: String,
    /// Query without `?`.
    pub(crate) query: Option<String>,
    /// Headers by lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Scenario {
    /// Reads a folder's scenario.
    ///
    /// # Errors
    /// When the folder has none, or it is not as it should be.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| {
            format!("{} cannot be read: name a folder with sample requests", path.display())
        })?;
        serde_saphyr::from_str(&text).with_context(|| format!("in {}", path.display()))
    }
}

impl Observed {
    /// What the backend saw; `None` where the answer is not from the echo backend.
    pub(crate) fn echoed(&self) -> Option<Echoed> {
        let body: Value = serde_json::from_str(&self.body).ok()?;
        serde_json::from_value(body).ok()
    }
}

impl Step {
    /// What is not as expected; empty where everything is.
    pub(crate) fn differences(&self, observed: &Observed) -> Vec<String> {
        let mut found = Vec::new();
        if observed.status != self.answer.status {
            found.push(format!("status {}, expected {}", observed.status, self.answer.status));
        }
        headers("answer", &self.answer.headers, &observed.headers, &mut found);
        if let Some(body) = &self.answer.body
            && *body != observed.body
        {
            found.push(format!("body {:?}, expected {body:?}", observed.body));
        }
        match (&self.backend, observed.echoed()) {
            (None, None) => {}
            (None, Some(_)) => found.push("the request reached the backend".into()),
            (Some(_), None) => found.push("the request did not reach the backend".into()),
            (Some(expected), Some(echoed)) => {
                if let Some(path) = &expected.path
                    && *path != echoed.path
                {
                    found.push(format!("the backend saw path {}, expected {path}", echoed.path));
                }
                headers("backend", &expected.headers, &echoed.headers, &mut found);
            }
        }
        let mut names: Vec<&str> = observed.filters.iter().map(|f| f.name.as_str()).collect();
        let mut expected: Vec<&str> = self.filters.iter().map(String::as_str).collect();
        names.sort_unstable();
        expected.sort_unstable();
        if names != expected {
            found.push(format!("filters that acted: {names:?}, expected {expected:?}"));
        }
        found
    }
}

fn headers(
    side: &str,
    expected: &BTreeMap<String, Option<String>>,
    actual: &BTreeMap<String, String>,
    found: &mut Vec<String>,
) {
    for (name, value) in expected {
        let actual = actual.get(name);
        if actual != value.as_ref() {
            let show = |v: Option<&String>| v.map_or("absent".into(), |v| format!("{v:?}"));
            found.push(format!(
                "{side}: header {name} is {}, expected {}",
                show(actual),
                show(value.as_ref())
            ));
        }
    }
}

fn get() -> String {
    "GET".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: &str = "
title: t
request: {path: /a}
filters: [default/f]
backend: {path: /b, headers: {x-in: '1', x-gone: null}}
answer: {status: 200, headers: {x-out: '2', server: null}}
";

    fn observed() -> Observed {
        Observed {
            status: 200,
            headers: BTreeMap::from([("x-out".into(), "2".into())]),
            body: r#"{"method":"GET","path":"/b","query":null,"headers":{"x-in":"1"}}"#.into(),
            filters: vec![FilterRun { name: "default/f".into(), how: "call".into() }],
        }
    }

    #[test]
    fn what_is_as_expected_has_no_differences() {
        let step: Step = serde_saphyr::from_str(STEP).expect("valid");
        assert_eq!(step.differences(&observed()), [] as [&str; 0]);
    }

    #[test]
    fn every_difference_is_found() {
        let step: Step = serde_saphyr::from_str(STEP).expect("valid");
        type Change = fn(&mut Observed);
        let changes: [(&str, Change); 7] = [
            ("status 500", |o| o.status = 500),
            ("answer: header x-out is absent", |o| o.headers.clear()),
            ("answer: header server is \"x\"", |o| {
                o.headers.insert("server".into(), "x".into());
            }),
            ("the request did not reach", |o| o.body = "no".into()),
            ("the backend saw path /a", |o| o.body = o.body.replace("/b", "/a")),
            ("backend: header x-in is \"9\"", |o| o.body = o.body.replace("\"1\"", "\"9\"")),
            ("filters that acted: []", |o| o.filters.clear()),
        ];
        for (expected, change) in changes {
            let mut observed = observed();
            change(&mut observed);
            let found = step.differences(&observed);
            assert!(found.iter().any(|f| f.starts_with(expected)), "{expected}: {found:?}");
        }
    }
}
