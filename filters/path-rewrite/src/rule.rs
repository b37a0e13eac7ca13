//! One rule, compiled.

use penstock_filter::template::{Template, TemplateError};
use penstock_filter::{
    Fault, Guard, Inputs, PathDecision, PathEdit, Predicate, Problem, Problems, Redirect, Rewrite,
    Selector, Slot, Stage,
};

use crate::config;
use crate::pattern::{Capture, Found, Pattern};

/// A rule, ready to decide.
#[derive(Debug)]
pub(crate) struct Rule {
    pattern: Pattern,
    guards: Vec<Guard>,
    action: Action,
}

/// A variable of a template: an input, or a part of what matched.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Variable {
    Input(Slot),
    Match(Capture),
}

type Text = Template<Variable>;

#[derive(Debug)]
enum Action {
    Rewrite {
        host: Option<Text>,
        path: Option<Path>,
        query: Option<Text>,
    },
    Redirect {
        status: u16,
        scheme: Option<String>,
        host: Option<Text>,
        port: Option<u16>,
        path: Option<Path>,
    },
    Backend(Text),
}

#[derive(Debug)]
enum Path {
    Full(Text),
    Prefix(Text),
}

impl Rule {
    /// Compiles the rule that stands at a JSON Pointer, with the conditions that are its own, and
    /// declares what it reads. What is wrong is added to the problems.
    pub(crate) fn compile(
        rule: &config::Rule,
        own: Vec<Predicate>,
        pointer: &str,
        stage: &mut Stage,
        problems: &mut Problems,
    ) -> Option<Rule> {
        let before = problems.len();
        let pattern = Pattern::compile(rule.pattern.as_ref(), &format!("{pointer}/match"));
        let pattern = match pattern {
            Ok(pattern) => pattern,
            Err(problem) => {
                problems.push(problem);
                return None;
            }
        };
        let guards = own.into_iter().map(|own| Guard::new(own, stage)).collect();
        let action = Compiler { pattern: &pattern, stage, problems }.action(rule, pointer);
        if problems.len() > before {
            return None;
        }
        Some(Rule { pattern, guards, action: action? })
    }

    /// Which paths the rule is for.
    pub(crate) fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Decides, where the rule is for this path.
    pub(crate) fn decide(
        &self,
        path: &str,
        inputs: &Inputs<'_>,
    ) -> Option<Result<PathDecision, Fault>> {
        if !self.guards.iter().all(|guard| guard.holds(inputs)) {
            return None;
        }
        let found = self.pattern.find(path)?;
        Some(self.action.decide(&Values { inputs, found: &found }))
    }
}

/// The conditions of the rule that stands at a JSON Pointer. What is wrong is added to the problems.
pub(crate) fn conditions(
    rule: &config::Rule,
    pointer: &str,
    problems: &mut Problems,
) -> Vec<Predicate> {
    let conditions = rule.when.iter().enumerate().filter_map(|(at, condition)| {
        let pointer = format!("{pointer}/when/{at}");
        let checked = condition.predicate(&pointer).and_then(|predicate| {
            let input = format!("{pointer}/input");
            readable(predicate.selector()).map_err(|reason| Problem::at(input, reason))?;
            Ok(predicate)
        });
        checked.map_err(|problem| problems.push(problem)).ok()
    });
    conditions.collect()
}

/// What the variables of a template stand for in one call.
struct Values<'a> {
    inputs: &'a Inputs<'a>,
    found: &'a Found<'a>,
}

impl Values<'_> {
    fn text(&self, template: &Text) -> Result<String, Fault> {
        let text = template.render(|variable| match variable {
            Variable::Input(slot) => self.inputs.get(*slot),
            // A group that took no part in the match stands for nothing.
            Variable::Match(capture) => self.found.get(capture).or(Some("")),
        });
        text.ok_or_else(|| Fault("a template's input is absent and has no fallback".to_owned()))
    }

    fn optional(&self, template: Option<&Text>) -> Result<Option<String>, Fault> {
        template.map(|template| self.text(template)).transpose()
    }

    fn path(&self, path: Option<&Path>) -> Result<Option<PathEdit>, Fault> {
        Ok(match path {
            None => None,
            Some(Path::Full(template)) => {
                let path = self.text(template)?;
                // `/old` + prefix rest: "" would be no path.
                Some(PathEdit::Full(if path.is_empty() { "/".to_owned() } else { path }))
            }
            Some(Path::Prefix(template)) => Some(PathEdit::Prefix(self.text(template)?)),
        })
    }
}

impl Action {
    fn decide(&self, values: &Values<'_>) -> Result<PathDecision, Fault> {
        Ok(match self {
            Action::Rewrite { host, path, query } => PathDecision::Rewrite(Rewrite {
                host: values.optional(host.as_ref())?,
                path: values.path(path.as_ref())?,
                query: values.optional(query.as_ref())?,
            }),
            Action::Redirect { status, scheme, host, port, path } => {
                PathDecision::Redirect(Redirect {
                    status: *status,
                    scheme: scheme.clone(),
                    host: values.optional(host.as_ref())?,
                    port: *port,
                    path: values.path(path.as_ref())?,
                })
            }
            Action::Backend(name) => PathDecision::Backend(values.text(name)?),
        })
    }
}

struct Compiler<'a> {
    pattern: &'a Pattern,
    stage: &'a mut Stage,
    problems: &'a mut Problems,
}

impl Compiler<'_> {
    fn action(&mut self, rule: &config::Rule, pointer: &str) -> Option<Action> {
        match (&rule.rewrite, &rule.redirect, &rule.backend) {
            (Some(rewrite), None, None) => self.rewrite(rewrite, &format!("{pointer}/rewrite")),
            (None, Some(redirect), None) => self.redirect(redirect, &format!("{pointer}/redirect")),
            (None, None, Some(name)) => {
                self.text(name, &format!("{pointer}/backend")).map(Action::Backend)
            }
            _ => self.refuse(pointer, "give exactly one of rewrite, redirect, backend"),
        }
    }

    fn rewrite(&mut self, rewrite: &config::Rewrite, pointer: &str) -> Option<Action> {
        let config::Rewrite { host, path, prefix, query } = rewrite;
        if host.is_none() && path.is_none() && prefix.is_none() && query.is_none() {
            return self.refuse(pointer, "give at least one of host, path, prefix, query");
        }
        Some(Action::Rewrite {
            host: self.optional(host.as_ref(), &format!("{pointer}/host")),
            path: self.path(path.as_ref(), prefix.as_ref(), pointer),
            query: self.optional(query.as_ref(), &format!("{pointer}/query")),
        })
    }

    fn redirect(&mut self, redirect: &config::Redirect, pointer: &str) -> Option<Action> {
        let config::Redirect { status, scheme, host, port, path, prefix } = redirect;
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            let _: Option<()> = self
                .refuse(&format!("{pointer}/status"), "a redirect is 301, 302, 303, 307 or 308");
        }
        if scheme.as_deref().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
            let _: Option<()> = self.refuse(&format!("{pointer}/scheme"), "http or https");
        }
        Some(Action::Redirect {
            status: *status,
            scheme: scheme.clone(),
            host: self.optional(host.as_ref(), &format!("{pointer}/host")),
            port: *port,
            path: self.path(path.as_ref(), prefix.as_ref(), pointer),
        })
    }

    fn path(
        &mut self,
        path: Option<&String>,
        prefix: Option<&String>,
        pointer: &str,
    ) -> Option<Path> {
        match (path, prefix) {
            (None, None) => None,
            (Some(path), None) => self.text(path, &format!("{pointer}/path")).map(Path::Full),
            (None, Some(text)) => self.text(text, &format!("{pointer}/prefix")).map(Path::Prefix),
            (Some(_), Some(_)) => self.refuse(pointer, "give path or prefix, not both"),
        }
    }

    fn optional(&mut self, text: Option<&String>, pointer: &str) -> Option<Text> {
        text.and_then(|text| self.text(text, pointer))
    }

    fn text(&mut self, text: &str, pointer: &str) -> Option<Text> {
        let (pattern, stage) = (self.pattern, &mut *self.stage);
        let template = Template::parse(text, |name| match name.strip_prefix("match.") {
            Some(name) => pattern.capture(name).map(Variable::Match),
            None => {
                let selector: Selector = name.parse().map_err(|error| format!("{error}"))?;
                readable(&selector)?;
                Ok(Variable::Input(stage.input(selector)))
            }
        });
        template
            .map_err(|error: TemplateError| self.problems.push(Problem::at(pointer, error)))
            .ok()
    }

    fn refuse<T>(&mut self, pointer: &str, message: &str) -> Option<T> {
        self.problems.push(Problem::at(pointer, message));
        None
    }
}

fn readable(selector: &Selector) -> Result<(), String> {
    if selector.is_of_response() {
        return Err("a request has no status and no response headers yet".to_owned());
    }
    Ok(())
}
