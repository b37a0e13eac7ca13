//! Documents to objects.

use super::{
    diagnostic::{Cause, Diagnostic},
    files::{Snapshot, SourceFile},
    node::{Content, Node, Position, field_path},
    yaml,
};
use penstock_resources::{
    GROUP, KINDS, Kind, Object, ObjectError, ObjectId, gateway_api, validate,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, btree_map},
    path::{Path, PathBuf},
    sync::Arc,
};

/// An object and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    /// What it is.
    pub(crate) id: ObjectId,
    /// The object, with the defaults that an API server would fill in.
    pub(crate) object: Object,
    /// Where it was written.
    pub(crate) source: Source,
}

/// Where an object was written.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The file.
    pub(crate) file: Arc<Path>,
    node: Arc<Node>,
}

impl Source {
    /// The place of a JSON Pointer into the object.
    pub(crate) fn locate(&self, pointer: &str) -> Position {
        self.node.locate(pointer)
    }
}

/// A finding about `spec.config` of a filter, at the place where it is written. `pointer` leads into
/// `spec.config`.
pub(crate) fn diagnose_config(
    id: &ObjectId,
    source: &Source,
    pointer: &str,
    message: &str,
) -> Diagnostic {
    let pointer = format!("/spec/config{pointer}");
    Diagnostic::error(Cause::Invalid, &source.file.display().to_string(), message)
        .at(source.locate(&pointer))
        .object(id.to_string())
        .field(field_path(&pointer))
}

/// What the files of one moment say.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// The objects that an API server would take, in order of reading.
    pub(crate) objects: Vec<Located>,
    /// What is wrong with the others.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// Turns what was read into objects. Depends on the snapshot alone.
pub(crate) fn load(snapshot: &Snapshot) -> Loaded {
    let mut loaded = Loaded { objects: Vec::new(), diagnostics: snapshot.diagnostics.clone() };
    for file in &snapshot.files {
        read_file(file, &mut loaded);
    }
    refuse_duplicates(&mut loaded);
    loaded
}

fn read_file(file: &SourceFile, loaded: &mut Loaded) {
    match documents(file) {
        Ok(documents) => {
            let name = file.path.display().to_string();
            let path: Arc<Path> = file.path.clone().into();
            for document in documents {
                read_document(&name, &path, &document, loaded);
            }
        }
        Err(diagnostic) => loaded.diagnostics.push(*diagnostic),
    }
}

/// The documents of a file, whatever they are.
pub(super) fn documents(file: &SourceFile) -> Result<Vec<Arc<Node>>, Box<Diagnostic>> {
    let name = file.path.display().to_string();
    let text = std::str::from_utf8(&file.content).map_err(|error| {
        let at = end_of(&file.content[..error.valid_up_to()]);
        let diagnostic = Diagnostic::error(Cause::NotUtf8, &name, "the file is not UTF-8");
        Box::new(diagnostic.at(at).remedy("save it as UTF-8"))
    })?;
    yaml::documents(text).map_err(|error| {
        let diagnostic = Diagnostic::error(Cause::Syntax, &name, error.message);
        Box::new(diagnostic.at(error.at).remedy(error.remedy))
    })
}

/// Where the next character would stand.
fn end_of(valid: &[u8]) -> Position {
    let start = valid.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    Position {
        line: valid.iter().filter(|b| **b == b'\n').count() + 1,
        column: String::from_utf8_lossy(&valid[start..]).chars().count() + 1,
    }
}

fn read_document(name: &str, path: &Arc<Path>, node: &Arc<Node>, loaded: &mut Loaded) {
    if !matches!(node.content, Content::Map(_)) {
        let diagnostic = Diagnostic::error(Cause::NotAnObject, name, "this is no object");
        loaded.diagnostics.push(
            diagnostic.at(node.at).remedy("a document has apiVersion, kind, metadata and spec"),
        );
        return;
    }
    if node.text("kind").is_some_and(|k| k.ends_with("List")) {
        match node.entry("items").and_then(|e| e.value.items()) {
            Some(items) => items.iter().for_each(|i| read_document(name, path, i, loaded)),
            None => loaded.diagnostics.push(
                Diagnostic::error(Cause::Invalid, name, "a list needs its objects")
                    .at(node.at)
                    .field("items")
                    .remedy("give items as a list, or remove the document"),
            ),
        }
        return;
    }
    match read_object(name, node) {
        Ok(object) => loaded.objects.push(Located {
            id: object.id(),
            object,
            source: Source { file: path.clone(), node: node.clone() },
        }),
        Err(diagnostics) => loaded.diagnostics.extend(diagnostics),
    }
}

fn read_object(file: &str, node: &Node) -> Result<Object, Vec<Diagnostic>> {
    let kind = kind_of(file, node)?;
    let mut value = node.to_json();
    let label = label(kind, &value);
    let mut violations: Vec<Diagnostic> = validate::validate(&value)
        .into_iter()
        .map(|violation| {
            Diagnostic::error(Cause::Invalid, file, violation.message)
                .at(node.locate(&violation.pointer))
                .object(&label)
                .field(field_path(&violation.pointer))
        })
        .collect();
    violations.sort_by_key(|violation| violation.at);
    if !violations.is_empty() {
        return Err(violations);
    }
    validate::default(&mut value);
    Object::from_json(value).map_err(|error| {
        let message = match &error {
            ObjectError::Form { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        vec![
            Diagnostic::error(Cause::Invalid, file, message)
                .at(node.at)
                .object(&label)
                .remedy("see the reference of the kind for the form of its fields"),
        ]
    })
}

/// `Kind namespace/name` as far as the object says it.
fn label(kind: Kind, value: &Value) -> String {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/metadata/name").is_empty() {
        return kind.name().to_owned();
    }
    let namespace = match text("/metadata/namespace") {
        _ if !kind.namespaced() => String::new(),
        "" => "default".to_owned(),
        namespace => namespace.to_owned(),
    };
    ObjectId { kind, namespace, name: text("/metadata/name").to_owned() }.to_string()
}

fn kind_of(file: &str, node: &Node) -> Result<Kind, Vec<Diagnostic>> {
    let head = json!({"apiVersion": node.text("apiVersion"), "kind": node.text("kind")});
    let error = match Kind::of(&head) {
        Ok(kind) => return Ok(kind),
        Err(error) => error,
    };
    let at = |field: &str| node.locate(&format!("/{field}"));
    Err(vec![match error {
        ObjectError::UnknownKind { api_version, kind } => {
            unknown_kind(file, &api_version, &kind).at(at("kind"))
        }
        ObjectError::Untyped(field) => {
            Diagnostic::error(Cause::NotAnObject, file, error.to_string())
                .at(at(field))
                .field(field)
                .remedy("for example apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute")
        }
        other => {
            Diagnostic::error(Cause::UnknownKind, file, other.to_string()).at(at("apiVersion"))
        }
    }])
}

/// An unknown kind of a group that Penstock serves is an error: somebody expects it to act. Kinds
/// of other groups may lie in the same folder for other programs, so they are only mentioned.
fn unknown_kind(file: &str, api_version: &str, kind: &str) -> Diagnostic {
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let meant = KINDS.into_iter().find(|k| k.name().eq_ignore_ascii_case(kind));
    let served: Vec<&str> =
        KINDS.into_iter().filter(|k| k.group() == group).map(Kind::name).collect();
    let message = format!("kind {kind} of {api_version} is not served by Penstock");
    let diagnostic = Diagnostic::error(Cause::UnknownKind, file, message);
    match meant {
        Some(meant) if meant.group() == group || group.is_empty() => diagnostic.remedy(format!(
            "write apiVersion: {}, kind: {}",
            meant.api_version(),
            meant.name()
        )),
        _ if group == gateway_api::GROUP || group == GROUP => {
            diagnostic.remedy(format!("of this group it serves {}; remove it", served.join(", ")))
        }
        _ => diagnostic.warning().remedy("it is left out"),
    }
}

/// Of objects with one name none can be preferred: all are refused, and each place is named.
fn refuse_duplicates(loaded: &mut Loaded) {
    let mut first: BTreeMap<ObjectId, (PathBuf, Position)> = BTreeMap::new();
    let mut repeated = Vec::new();
    for located in &loaded.objects {
        let file = located.source.file.to_path_buf();
        let at = located.source.locate("/metadata/name");
        match first.entry(located.id.clone()) {
            btree_map::Entry::Vacant(entry) => {
                entry.insert((file, at));
            }
            btree_map::Entry::Occupied(entry) => {
                let (other, other_at) = entry.get();
                let message = format!("is written twice, first at {}:{other_at}", other.display());
                loaded.diagnostics.push(
                    Diagnostic::error(Cause::Duplicate, &file.display().to_string(), message)
                        .at(at)
                        .object(located.id.to_string())
                        .field("metadata.name")
                        .remedy("keep one of them, or give them different names"),
                );
                repeated.push(located.id.clone());
            }
        }
    }
    loaded.objects.retain(|l| !repeated.contains(&l.id));
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
