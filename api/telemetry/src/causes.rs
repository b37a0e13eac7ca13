//! An error as people read it.

use std::error::Error;

/// An error and what caused it, from the outermost to the innermost, each said once: a library's error
/// often repeats its cause.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn each_cause_is_said_once() {
        let inner = Layer("no route to host", None);
        let middle = Layer("connect: no route to host", Some(Box::new(inner)));
        let outer = Layer("cannot ask", Some(Box::new(middle)));
        assert_eq!(causes(&outer), "cannot ask: connect: no route to host");
    }
}
