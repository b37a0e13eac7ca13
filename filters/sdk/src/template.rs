//! Texts with variables: `/users/{match.id}`, `{header.x-user|anonymous}`.
//!
//! A variable stands in braces; after a `|` follows what to use where it has no value. A brace is
//! written twice to stand for itself.

use std::fmt::{self, Display};

/// A text with variables of the kind `V`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template<V>(Vec<Part<V>>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part<V> {
    Text(String),
    Variable { variable: V, fallback: Option<String> },
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateError {
    /// A brace without its partner, at this byte.
    Brace(usize),
    /// What is between the braces names nothing; the reason.
    Variable(String),
}

impl Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TemplateError::Brace(at) => write!(
                f,
                "the brace at byte {at} has no partner; write it twice to mean the character"
            ),
            TemplateError::Variable(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for TemplateError {}

impl<V> Template<V> {
    /// Reads a template; `variable` makes a variable of a name, or says what is wrong with it.
    ///
    /// # Errors
    /// A lone brace, or what `variable` says.
    pub fn parse<E: Display>(
        text: &str,
        mut variable: impl FnMut(&str) -> Result<V, E>,
    ) -> Result<Template<V>, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from_brace) = rest.split_at(at);
            literal.push_str(before);
            if from_brace.starts_with("{{") || from_brace.starts_with("}}") {
                literal.push_str(&from_brace[..1]);
                rest = &from_brace[2..];
                continue;
            }
            let lone = TemplateError::Brace(text.len() - from_brace.len());
            let inside = from_brace.strip_prefix('{').and_then(|inside| inside.split_once('}'));
            let Some((inside, after)) = inside else { return Err(lone) };
            if inside.contains('{') {
                return Err(lone);
            }
            let (name, fallback) = match inside.split_once('|') {
                Some((name, fallback)) => (name, Some(fallback.to_owned())),
                None => (inside, None),
            };
            let variable =
                variable(name).map_err(|error| TemplateError::Variable(error.to_string()))?;
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Variable { variable, fallback });
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Template(parts))
    }

    /// The text, where it does not depend on anything.
    pub fn constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The variables in order.
    pub fn variables(&self) -> impl Iterator<Item = &V> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Variable { variable, .. } => Some(variable),
        })
    }

    /// The text with the values filled in; `None` where a variable has neither a value nor a
    /// fallback.
    pub fn render<'v>(&self, value: impl Fn(&V) -> Option<&'v str>) -> Option<String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Variable { variable, fallback } => {
                    text.push_str(value(variable).or(fallback.as_deref())?);
                }
            }
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template(text: &str) -> Result<Template<String>, TemplateError> {
        Template::parse(text, |name| {
            if name.is_empty() { Err("a variable needs a name") } else { Ok(name.to_owned()) }
        })
    }

    #[test]
    fn variables_are_filled_in() {
        let template = template("/u/{id}/{what|all}?").unwrap();
        let value = |name: &String| (name == "id").then_some("7");
        assert_eq!(template.render(value).as_deref(), Some("/u/7/all?"));
    }

    #[test]
    fn a_variable_without_value_and_fallback_makes_no_text() {
        assert_eq!(template("a{id}").unwrap().render(|_| None), None);
        assert_eq!(template("a{id|}").unwrap().render(|_| None).as_deref(), Some("a"));
    }

    #[test]
    fn doubled_braces_stand_for_themselves() {
        assert_eq!(template("{{id}}").unwrap().constant(), Some("{id}"));
    }

    #[test]
    fn a_lone_brace_is_refused_with_its_place() {
        for (text, at) in [("a{b", 1), ("a}b", 1), ("é{a{b}", 2), ("{a}}", 3)] {
            assert_eq!(template(text), Err(TemplateError::Brace(at)), "{text}");
        }
        assert!(matches!(template("{}"), Err(TemplateError::Variable(_))));
    }

    proptest! {
        #[test]
        fn any_text_with_its_braces_doubled_stands_for_itself(text in ".*") {
            let escaped = text.replace('{', "{{").replace('}', "}}");
            let template = template(&escaped).unwrap();
            prop_assert_eq!(template.constant(), Some(text.as_str()));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[{}a|é]*") {
            let _ = template(&text);
        }
    }
}
