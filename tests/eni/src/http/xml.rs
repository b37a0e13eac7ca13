//! Elements.

use std::fmt::Write as _;

/// XML that grows.
#[derive(Debug, Default)]
pub(super) struct Xml(String);

impl Xml {
    /// An element with text in it.
    pub(super) fn text(&mut self, name: &str, text: impl ToString) -> &mut Self {
        let text = text.to_string().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = write!(self.0, "<{name}>{text}</{name}>");
        self
    }

    /// An element with others in it.
    pub(super) fn with(&mut self, name: &str, inner: impl FnOnce(&mut Self)) -> &mut Self {
        let _ = write!(self.0, "<{name}>");
        inner(self);
        let _ = write!(self.0, "</{name}>");
        self
    }

    /// A list, as EC2 writes it: each thing in an `item`.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        all: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        self.with(name, |xml| {
            for one in all {
                xml.with("item", |xml| each(xml, one));
            }
        })
    }

    /// All of it.
    pub(super) fn into_text(self) -> String {
        self.0
    }
}
