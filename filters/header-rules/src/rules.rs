//! The rules of one stage, compiled: what holds for all of them is left to the host.

use penstock_filter::template::Template;
use penstock_filter::{
    Edit, Edits, Field, Guard, Inputs, Predicate, Problem, Problems, Selector, Slot, Stage,
    shared_conditions,
};

use crate::config::Rule;
use crate::names;

/// The rules of requests, or those of responses.
#[derive(Debug)]
pub(crate) struct Rules {
    stage: Stage,
    rules: Vec<CompiledRule>,
}

/// Where the rules apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
}

#[derive(Debug)]
struct CompiledRule {
    guards: Vec<Guard>,
    changes: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Remove(String),
    Set(String, Template<Slot>),
    Append(String, Template<Slot>),
}

impl Rules {
    /// Compiles rules that stand at a JSON Pointer; what is wrong is added to the problems. `None`
    /// where there is nothing to do.
    pub(crate) fn compile(
        rules: &[Rule],
        side: Side,
        remember: u32,
        problems: &mut Problems,
    ) -> Option<Rules> {
        let pointer = match side {
            Side::Request => "/request",
            Side::Response => "/response",
        };
        let mut compiler = Compiler { side, stage: Stage::new(), problems };
        let conditions: Vec<Vec<Predicate>> = rules
            .iter()
            .enumerate()
            .map(|(at, rule)| compiler.conditions(rule, &format!("{pointer}/{at}")))
            .collect();
        // What every rule asks for decides whether there is anything to do at all: the host tests
        // it without a call. The rest is tested here, rule by rule.
        let (shared, own) = shared_conditions(conditions);
        let rules: Vec<_> = rules
            .iter()
            .zip(own)
            .enumerate()
            .map(|(at, (rule, own))| compiler.rule(rule, own, &format!("{pointer}/{at}")))
            .collect();
        let mut stage = shared.into_iter().fold(compiler.stage, Stage::when);
        if rules.iter().all(|rule| rule.changes.is_empty()) {
            return None;
        }
        if remember > 0 {
            stage = stage.memo(remember);
        }
        if let Some(edits) = constant(&rules) {
            stage = stage.constant(edits);
        }
        Some(Rules { stage, rules })
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage.clone()
    }

    /// The changes for the values of a call.
    pub(crate) fn edits(&self, inputs: &Inputs<'_>) -> Edits {
        let rules = self.rules.iter().filter(|rule| rule.guards.iter().all(|g| g.holds(inputs)));
        rules.flat_map(|rule| &rule.changes).filter_map(|change| change.edit(inputs)).collect()
    }
}

impl Change {
    fn edit(&self, inputs: &Inputs<'_>) -> Option<Edit> {
        // A value that no field can carry counts as absent, so that `?q=%0d%0a` makes no fault.
        let value = |slot: &Slot| inputs.get(*slot).filter(|text| is_field_value(text));
        match self {
            Change::Remove(name) => Some(Edit::Remove(name.clone())),
            Change::Set(name, template) => Some(match template.render(value) {
                Some(value) => Edit::Set(Field { name: name.clone(), value }),
                // Else a client could send what only the gateway may say.
                None => Edit::Remove(name.clone()),
            }),
            Change::Append(name, template) => {
                Some(Edit::Append(Field { name: name.clone(), value: template.render(value)? }))
            }
        }
    }
}

/// Every change, where none depends on the exchange.
fn constant(rules: &[CompiledRule]) -> Option<Edits> {
    let independent = |change: &Change| match change {
        Change::Remove(_) => true,
        Change::Set(_, template) | Change::Append(_, template) => template.constant().is_some(),
    };
    let all =
        rules.iter().all(|rule| rule.guards.is_empty() && rule.changes.iter().all(independent));
    let changes = rules.iter().flat_map(|rule| &rule.changes);
    all.then(|| changes.filter_map(|change| change.edit(&Inputs::new(&[]))).collect())
}

/// RFC 9110, section 5.5: visible characters, spaces and tabs, and what is beyond ASCII.
fn is_field_value(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

struct Compiler<'a> {
    side: Side,
    stage: Stage,
    problems: &'a mut Problems,
}

impl Compiler<'_> {
    fn conditions(&mut self, rule: &Rule, pointer: &str) -> Vec<Predicate> {
        let conditions = rule.when.iter().enumerate().filter_map(|(at, condition)| {
            let pointer = format!("{pointer}/when/{at}");
            let checked = condition.predicate(&pointer).and_then(|predicate| {
                let input = format!("{pointer}/input");
                readable(self.side, predicate.selector())
                    .map_err(|reason| Problem::at(input, reason))?;
                Ok(predicate)
            });
            checked.map_err(|problem| self.problems.push(problem)).ok()
        });
        conditions.collect()
    }

    fn rule(&mut self, rule: &Rule, own: Vec<Predicate>, pointer: &str) -> CompiledRule {
        let guards = own.into_iter().map(|own| Guard::new(own, &mut self.stage)).collect();
        let mut changes = Vec::new();
        for (at, name) in rule.remove.iter().enumerate() {
            if let Some(name) = self.name(name, &format!("{pointer}/remove/{at}")) {
                changes.push(Change::Remove(name));
            }
        }
        for (name, value) in &rule.set {
            let change = self.change(name, value, &format!("{pointer}/set"));
            changes.extend(change.map(|(name, template)| Change::Set(name, template)));
        }
        for (name, value) in &rule.append {
            let change = self.change(name, value, &format!("{pointer}/append"));
            changes.extend(change.map(|(name, template)| Change::Append(name, template)));
        }
        if rule.remove.is_empty() && rule.set.is_empty() && rule.append.is_empty() {
            let message = "a rule needs at least one of remove, set, append";
            self.problems.push(Problem::at(pointer, message));
        }
        CompiledRule { guards, changes }
    }

    fn change(
        &mut self,
        name: &str,
        value: &str,
        pointer: &str,
    ) -> Option<(String, Template<Slot>)> {
        let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        let name = self.name(name, &pointer);
        if !is_field_value(value) {
            let message = "a header value holds no control characters";
            self.problems.push(Problem::at(pointer, message));
            return None;
        }
        let (side, stage) = (self.side, &mut self.stage);
        let template = Template::parse(value, |text| {
            let selector: Selector = text.parse().map_err(|error| format!("{error}"))?;
            readable(side, &selector)?;
            Ok::<_, String>(stage.input(selector))
        });
        match template {
            Ok(template) => name.map(|name| (name, template)),
            Err(error) => {
                self.problems.push(Problem::at(pointer, error));
                None
            }
        }
    }

    /// The name in lower case, declared as written by the stage.
    fn name(&mut self, name: &str, pointer: &str) -> Option<String> {
        match names::check(name) {
            Ok(name) => {
                self.stage = std::mem::take(&mut self.stage).writes(&name);
                Some(name)
            }
            Err(reason) => {
                self.problems.push(Problem::at(pointer, reason));
                None
            }
        }
    }
}

fn readable(side: Side, selector: &Selector) -> Result<(), String> {
    if side == Side::Request && selector.is_of_response() {
        return Err("a request has no status and no response headers yet".to_owned());
    }
    if *selector == Selector::ResponseHeader("set-cookie".to_owned()) {
        return Err("set-cookie cannot be read: several of them have no joined form".to_owned());
    }
    Ok(())
}
