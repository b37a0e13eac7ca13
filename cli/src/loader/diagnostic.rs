//! What is wrong with a file, where, and what to do.

use super::node::Position;
use serde::Serialize;
use std::fmt;

/// Whether the objects of a folder can be used in spite of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Something that was asked for cannot be served.
    Error,
    /// Something is not read; everything else is.
    Warning,
}

/// What is wrong: one value for each cause, fit for a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Cause {
    /// The file or folder cannot be read.
    Unreadable,
    /// The file is larger than the limit, or there are too many files.
    TooLarge,
    /// The file is not UTF-8.
    NotUtf8,
    /// The file is neither YAML nor JSON, or uses what Kubernetes does not allow in them.
    Syntax,
    /// The document is no Kubernetes object.
    NotAnObject,
    /// The kind is not one that Penstock serves.
    UnknownKind,
    /// An API server would refuse the object.
    Invalid,
    /// Two objects have one name.
    Duplicate,
}

/// One finding. Displays as `file:line:column: object: field: what is wrong; remedy`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Diagnostic {
    /// How grave it is.
    pub(crate) severity: Severity,
    /// The cause.
    pub(crate) cause: Cause,
    /// The file, as it was named.
    pub(crate) file: String,
    /// The place; absent where the whole file is meant.
    #[serde(flatten)]
    pub(crate) at: Place,
    /// The object as `Kind namespace/name`; empty where none is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) object: String,
    /// The field, for example `spec.rules[0].name`; empty where none is meant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) field: String,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) remedy: String,
}

/// The place of a diagnostic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Place {
    /// Line, from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    /// Column, from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<usize>,
}

impl From<Position> for Place {
    fn from(at: Position) -> Self {
        Self { line: Some(at.line), column: Some(at.column) }
    }
}

impl Diagnostic {
    /// An error in a file.
    pub(crate) fn error(cause: Cause, file: &str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            cause,
            file: file.to_owned(),
            at: Place::default(),
            object: String::new(),
            field: String::new(),
            message: message.into(),
            remedy: String::new(),
        }
    }

    /// The same as a warning.
    pub(crate) fn warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// With its place.
    pub(crate) fn at(self, at: Position) -> Self {
        Self { at: at.into(), ..self }
    }

    /// With the object that it is about.
    pub(crate) fn object(self, object: impl Into<String>) -> Self {
        Self { object: object.into(), ..self }
    }

    /// With the field that it is about.
    pub(crate) fn field(self, field: impl Into<String>) -> Self {
        Self { field: field.into(), ..self }
    }

    /// With the remedy.
    pub(crate) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }

    /// Whether it is an error.
    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let (Some(line), Some(column)) = (self.at.line, self.at.column) {
            write!(f, ":{line}:{column}")?;
        }
        if self.severity == Severity::Warning {
            write!(f, ": warning")?;
        }
        for part in [&self.object, &self.field] {
            if !part.is_empty() {
                write!(f, ": {part}")?;
            }
        }
        write!(f, ": {}", self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}
