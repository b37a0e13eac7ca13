//! What the operator is permitted to do. All other scenarios run with the chart's role.

use anyhow::{Context as _, Result, ensure};
use penstock_e2e::Site;
use penstock_test_cluster::install;
use serde_json::{Value, json};

pub(crate) const ALL: &[super::Scenario] =
    &[("a verb that the operator's role lacks is named with the remedy", verbs)];

fn verbs(site: &Site) -> Result<()> {
    // Routes cannot be watched, Services not made.
    let routes = Role::take(site, "clusterrole", "httproutes", "watch")?;
    let services = Role::take(site, "role", "services", "create")?;
    restart(site)?;
    let pods = site.eventually("what is missing is named", || {
        let pods = named(site)?;
        ensure!(!pods.is_empty(), "no new replica names both");
        Ok(pods)
    })?;
    // One without its lists is not ready; the API server keeps its words to itself.
    let path =
        format!("/api/v1/namespaces/{}/pods/{}:9090/proxy/readyz", install::NAMESPACE, pods[0]);
    let health = site.kubectl(&["get", "--raw", &path]);
    ensure!(health.is_err(), "it is ready: {health:?}");
    routes.restore()?;
    services.restore()?;
    // Nothing has to be restarted for it.
    site.eventually("the operator goes on", || site.kubectl(&["get", "--raw", &path]).map(drop))?;
    ready(site)
}

/// Replicas that name what is missing, as an error, with what to do about it.
fn named(site: &Site) -> Result<Vec<String>> {
    let label = "app.kubernetes.io/name=penstock-operator";
    let names = ["get", "pods", "-n", install::NAMESPACE, "-l", label, "-o"];
    let names = site.kubectl(&[&names[..], &["jsonpath={.items[*].metadata.name}"]].concat())?;
    let mut naming = Vec::new();
    for name in names.split_whitespace() {
        let log = site.kubectl(&["logs", "-n", install::NAMESPACE, name]).unwrap_or_default();
        let names = |verb: &str, resource: &str| {
            log.lines().any(|line| {
                let parts = [&format!("verb=\"{verb}\""), &format!("resource=\"{resource}\"")];
                line.contains("ERROR")
                    && parts.iter().all(|part| line.contains(*part))
                    && line.contains("add it to the operator's role")
            })
        };
        if names("watch", "httproutes") && names("create", "services") {
            ensure!(log.matches("this is not permitted").count() == 2, "more is missing\n{log}");
            naming.push(name.to_owned());
        }
    }
    Ok(naming)
}

fn restart(site: &Site) -> Result<()> {
    let deployment = "deployment/penstock-operator";
    site.kubectl(&["rollout", "restart", "-n", install::NAMESPACE, deployment]).map(drop)
}

fn ready(site: &Site) -> Result<()> {
    let deployment = "deployment/penstock-operator";
    let status = ["rollout", "status", "-n", install::NAMESPACE, deployment, "--timeout=60s"];
    site.kubectl(&status).map(drop)
}

/// A role that lacks a verb, until this is dropped.
struct Role<'a> {
    site: &'a Site,
    role: Value,
}

impl<'a> Role<'a> {
    fn take(site: &'a Site, kind: &str, resource: &str, verb: &str) -> Result<Self> {
        let mut role = site.object(install::NAMESPACE, kind, "penstock-operator")?;
        for field in ["resourceVersion", "uid", "managedFields", "creationTimestamp"] {
            role["metadata"].as_object_mut().context("no metadata")?.remove(field);
        }
        let this = Self { site, role: role.clone() };
        let rules = role["rules"].as_array_mut().context("no rules")?;
        let at = rules.iter().position(|rule| has(&rule["resources"], resource));
        let rule = &mut rules[at.with_context(|| format!("no rule for {resource}"))?];
        let mut of_resource = rule.clone();
        without(&mut rule["resources"], resource);
        of_resource["resources"] = json!([resource]);
        ensure!(without(&mut of_resource["verbs"], verb), "{verb} is not there");
        rules.retain(|rule| rule["resources"] != json!([]));
        rules.push(of_resource);
        this.replace(&role)?;
        Ok(this)
    }

    fn restore(self) -> Result<()> {
        self.replace(&self.role)
    }

    fn replace(&self, role: &Value) -> Result<()> {
        let file = self.site.cluster().dir().join("role.json");
        std::fs::write(&file, role.to_string())?;
        let file = file.to_str().context("no path")?;
        self.site.kubectl(&["replace", "-f", file]).map(drop)
    }
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        let _ = self.replace(&self.role);
    }
}

fn has(list: &Value, text: &str) -> bool {
    list.as_array().is_some_and(|all| all.iter().any(|one| one == text))
}

/// Removes a text from a list; says whether it was there.
fn without(list: &mut Value, text: &str) -> bool {
    let there = has(list, text);
    if let Some(all) = list.as_array_mut() {
        all.retain(|one| one != text);
    }
    there
}
