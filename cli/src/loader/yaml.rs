//! YAML (and so JSON) text to documents with positions.
//!
//! Aliases share the node that they name, so memory follows the file, not its expansion; the
//! expanded size and depth are counted and limited.

use super::{
    node::{Content, Entry, Node, Position, Scalar},
    scalar,
};
use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};
use std::{collections::HashMap, sync::Arc};

/// Nodes that the documents of one file may have with every alias followed.
const MAX_NODES: usize = 1_000_000;
/// How deep a document may nest with every alias followed.
const MAX_DEPTH: usize = 100;

/// Why a text cannot be read.
#[derive(Debug, PartialEq)]
pub(crate) struct SyntaxError {
    /// Where.
    pub(crate) at: Position,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do; may be empty.
    pub(crate) remedy: String,
}

impl SyntaxError {
    fn new(at: Position, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { at, message: message.into(), remedy: remedy.into() }
    }
}

/// Reads all documents of a text. Empty documents are left out.
///
/// # Errors
/// The first thing that is no YAML, or that Kubernetes would not take as YAML.
pub(crate) fn documents(text: &str) -> Result<Vec<Arc<Node>>, SyntaxError> {
    let mut options = granit_parser::options! { flow_nesting_limit: 64, block_nesting_limit: 64 };
    options.set_emit_comments(false);
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|e| {
            SyntaxError::new(
                Position { line: e.marker().line(), column: e.marker().col() + 1 },
                e.info(),
                "",
            )
        })?;
        builder.event(event, &span)?;
    }
    Ok(builder.documents)
}

#[derive(Default)]
struct Builder {
    documents: Vec<Arc<Node>>,
    open: Vec<Open>,
    anchors: HashMap<usize, Arc<Node>>,
    nodes: usize,
}

/// A collection whose end has not come yet.
struct Open {
    at: Position,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Arc<Node>>),
    Map { entries: Vec<Entry>, merges: Vec<Arc<Node>>, key: Option<(String, Position)> },
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), SyntaxError> {
        let at = Position { line: span.start.line(), column: span.start.col() + 1 };
        match event {
            Event::DocumentStart(..) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = resolve(&text, style, tag.as_deref(), at)?;
                self.value(Node::new(at, Content::Scalar(scalar)), anchor)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                collection_tag(tag.as_deref(), "seq", at)?;
                self.open.push(Open { at, anchor, kind: OpenKind::List(Vec::new()) });
            }
            Event::MappingStart(_, anchor, tag) => {
                collection_tag(tag.as_deref(), "map", at)?;
                let kind = OpenKind::Map { entries: Vec::new(), merges: Vec::new(), key: None };
                self.open.push(Open { at, anchor, kind });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    let content = match open.kind {
                        OpenKind::List(items) => Content::List(items),
                        OpenKind::Map { entries, merges, .. } => {
                            Content::Map(merge(entries, &merges, open.at)?)
                        }
                    };
                    self.value(Node::new(open.at, content), open.anchor)?;
                }
            }
            Event::Alias(id) => {
                let Some(target) = self.anchors.get(&id).cloned() else {
                    return Err(SyntaxError::new(
                        at,
                        "the alias stands inside the value that it names",
                        "write the value out",
                    ));
                };
                let copied = target.size;
                self.place(target, at, copied)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn value(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        let (at, node) = (node.at, Arc::new(node));
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.place(node, at, 1)
    }

    /// Puts a finished node where it belongs: document, list, key or value. `added` is the number
    /// of nodes that this adds to the file.
    fn place(&mut self, node: Arc<Node>, at: Position, added: usize) -> Result<(), SyntaxError> {
        self.limit(&node, at, added)?;
        match self.open.last_mut().map(|o| &mut o.kind) {
            None => {
                if !matches!(node.content, Content::Scalar(Scalar::Null)) {
                    self.documents.push(node);
                }
            }
            Some(OpenKind::List(items)) => items.push(node),
            Some(OpenKind::Map { entries, merges, key }) => match key.take() {
                None => *key = Some((key_text(&node)?, node.at)),
                Some((name, _)) if name == "<<" => merges.push(node),
                Some((name, key_at)) => {
                    if let Some(first) = entries.iter().find(|e| e.key == name) {
                        return Err(SyntaxError::new(
                            key_at,
                            format!("the key {name} stands twice, first at {}", first.at),
                            "keep one of them",
                        ));
                    }
                    entries.push(Entry { key: name, at: key_at, value: node });
                }
            },
        }
        Ok(())
    }

    fn limit(&mut self, node: &Node, at: Position, added: usize) -> Result<(), SyntaxError> {
        self.nodes = self.nodes.saturating_add(added);
        if self.nodes > MAX_NODES {
            return Err(SyntaxError::new(
                at,
                format!("the file has more than {MAX_NODES} values with its aliases followed"),
                "split the file, or write aliases out where they repeat large values",
            ));
        }
        if node.depth > MAX_DEPTH {
            return Err(SyntaxError::new(
                at,
                format!("the value nests deeper than {MAX_DEPTH} levels"),
                "flatten it",
            ));
        }
        Ok(())
    }
}

fn key_text(node: &Node) -> Result<String, SyntaxError> {
    match &node.content {
        Content::Scalar(Scalar::Text(text)) => Ok(text.clone()),
        Content::Scalar(Scalar::Number(number)) => Ok(number.to_string()),
        Content::Scalar(Scalar::Bool(value)) => Ok(value.to_string()),
        Content::Scalar(Scalar::Null) => Ok("null".into()),
        Content::List(_) | Content::Map(_) => {
            Err(SyntaxError::new(node.at, "a key must be a text", "write a plain or quoted name"))
        }
    }
}

/// Merge keys (`<<`): entries of the map itself win, then earlier merged maps.
fn merge(
    mut entries: Vec<Entry>,
    merges: &[Arc<Node>],
    at: Position,
) -> Result<Vec<Entry>, SyntaxError> {
    let sources = merges.iter().flat_map(|node| match node.items() {
        Some(items) => items.iter().collect::<Vec<_>>(),
        None => vec![node],
    });
    for source in sources {
        let Content::Map(more) = &source.content else {
            return Err(SyntaxError::new(
                at,
                "<< takes a map or a list of maps",
                "name an anchor of a map",
            ));
        };
        for entry in more {
            if entries.iter().all(|e| e.key != entry.key) {
                entries.push(entry.clone());
            }
        }
    }
    Ok(entries)
}

fn resolve(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    at: Position,
) -> Result<Scalar, SyntaxError> {
    let fail = |(message, remedy): (String, String)| SyntaxError::new(at, message, remedy);
    let Some(tag) = tag else {
        return match style {
            ScalarStyle::Plain => scalar::plain(text).map_err(fail),
            _ => Ok(Scalar::Text(text.to_owned())),
        };
    };
    let mismatch = || fail((format!("{text:?} is no {}", tag.suffix()), "remove the tag".into()));
    match tag.core_suffix() {
        Some("str") => Ok(Scalar::Text(text.to_owned())),
        Some("null") => Ok(Scalar::Null),
        Some("bool") => match text.to_ascii_lowercase().as_str() {
            "true" => Ok(Scalar::Bool(true)),
            "false" => Ok(Scalar::Bool(false)),
            _ => Err(mismatch()),
        },
        Some("int" | "float") => match scalar::number(text).map_err(fail)? {
            Some(number) => Ok(Scalar::Number(number)),
            None => Err(mismatch()),
        },
        // A text, whatever it looks like.
        None if is_non_specific(tag) => Ok(Scalar::Text(text.to_owned())),
        _ => Err(unknown_tag(tag, at)),
    }
}

fn collection_tag(tag: Option<&Tag>, expected: &str, at: Position) -> Result<(), SyntaxError> {
    match tag {
        Some(tag) if tag.core_suffix() != Some(expected) && !is_non_specific(tag) => {
            Err(unknown_tag(tag, at))
        }
        _ => Ok(()),
    }
}

/// The tag `!` (YAML 1.2.2, section 6.9.1).
fn is_non_specific(tag: &Tag) -> bool {
    tag.handle().len() + tag.suffix().len() == 1
}

fn unknown_tag(tag: &Tag, at: Position) -> SyntaxError {
    SyntaxError::new(
        at,
        format!("the tag {}{} has no meaning here", tag.original_handle(), tag.suffix()),
        "remove it and write the value itself",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values(text: &str) -> Vec<serde_json::Value> {
        documents(text).expect("valid").iter().map(|d| d.to_json()).collect()
    }

    fn error(text: &str) -> String {
        let e = documents(text).expect_err("invalid");
        format!("{}: {}", e.at, e.message)
    }

    #[test]
    fn documents_of_one_text() {
        assert_eq!(
            values("# only a comment\n---\na: 1\n---\n---\nb: [x, {y: null}]\n...\n"),
            [json!({"a": 1}), json!({"b": ["x", {"y": null}]})]
        );
        assert_eq!(values("\u{feff}a: 1\n"), [json!({"a": 1})]);
        assert_eq!(values(""), [] as [serde_json::Value; 0]);
    }

    #[test]
    fn json_is_yaml() {
        assert_eq!(
            values("{\n\t\"a\": [1, true, null, \"\\u00e9\\/\\ud83d\\ude00\"],\n\t\"b\": {}\n}\n"),
            [json!({"a": [1, true, null, "é/😀"], "b": {}})]
        );
    }

    #[test]
    fn block_scalars_and_quotes_are_texts() {
        assert_eq!(
            values("a: |\n  1\n  2\nb: 'yes'\nc: \"0777\"\nd: !!str 5\ne: ! true\n"),
            [json!({"a": "1\n2\n", "b": "yes", "c": "0777", "d": "5", "e": "true"})]
        );
    }

    #[test]
    fn aliases_and_merge_keys_are_followed() {
        assert_eq!(
            values("base: &b {x: 1, y: 2}\nuse: *b\nmore: {<<: *b, y: 3}\n"),
            [json!({"base": {"x": 1, "y": 2}, "use": {"x": 1, "y": 2}, "more": {"x": 1, "y": 3}})]
        );
    }

    #[test]
    fn a_billion_laughs_are_refused_quickly() {
        let mut text = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
        for i in 1..12 {
            let names = vec![format!("*a{}", i - 1); 9].join(", ");
            text.push_str(&format!("a{i}: &a{i} [{names}]\n"));
        }
        let started = std::time::Instant::now();
        assert!(error(&text).contains("more than 1000000 values"));
        assert!(started.elapsed().as_secs() < 2);
    }

    #[test]
    fn nesting_is_limited_also_through_aliases() {
        assert!(documents(&format!("a: {}{}", "[".repeat(2000), "]".repeat(2000))).is_err());
        let mut text = format!("a0: &a0 {}1{}\n", "[".repeat(50), "]".repeat(50));
        text.push_str(&format!("a1: &a1 {}*a0{}\n", "[".repeat(50), "]".repeat(50)));
        assert!(error(&text).contains("nests deeper"));
    }

    #[test]
    fn errors_say_where() {
        for (text, expected) in [
            ("a: 1\nb: 2\na: 3\n", "3:1: the key a stands twice, first at 1:1"),
            ("a:\n  b: yes\n", "2:6: yes without quotes"),
            ("a: !include x\n", "1:13: the tag !include has no meaning here"),
            ("a: &x [*x]\n", "1:8: the alias stands inside"),
            ("? [a]\n: b\n", "1:3: a key must be a text"),
            ("a: !!int x\n", "1:10: \"x\" is no int"),
        ] {
            let actual = error(text);
            assert!(actual.starts_with(expected), "{actual}");
        }
        assert!(error("a: [1\nb: 2\n").starts_with("2:"), "{}", error("a: [1\nb: 2\n"));
        assert!(error("a: *nowhere\n").starts_with("1:4"), "{}", error("a: *nowhere\n"));
    }

    #[test]
    fn a_pointer_finds_its_line() {
        let text = "kind: X\nspec:\n  rules:\n  - name: a\n  - name: b\n    port: 1\n";
        let document = &documents(text).expect("valid")[0];
        let at = |pointer: &str| document.locate(pointer).to_string();
        assert_eq!(at(""), "1:1");
        assert_eq!(at("/spec/rules"), "3:3");
        assert_eq!(at("/spec/rules/1"), "5:5");
        assert_eq!(at("/spec/rules/1/port"), "6:5");
        assert_eq!(at("/spec/rules/1/missing"), "5:5");
        assert_eq!(at("/spec/rules/9/name"), "3:3");
    }
}
