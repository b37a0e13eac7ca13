//! Reading what a stage declared, without building strings where the exchange can lend them.

use std::borrow::Cow;

use penstock_config::OpaqueValues;
use smallvec::SmallVec;

use crate::plan::MAX_INPUTS;
use crate::selector::{Exchange, Selector};

/// The inputs of one call, on the stack. Filled in place: it is too large to be handed around.
#[derive(Default)]
pub(crate) struct Inputs<'a>(SmallVec<[Option<Cow<'a, str>>; MAX_INPUTS]>);

/// The same, as a call takes them.
pub(crate) type InputRefs<'a> = SmallVec<[Option<&'a str>; MAX_INPUTS]>;

impl<'a> Inputs<'a> {
    /// Reads the selectors in order.
    ///
    /// # Errors
    /// The first selector whose value is not UTF-8, where such values are refused.
    #[inline]
    pub(crate) fn read<'s>(
        &mut self,
        selectors: &'s [Selector],
        exchange: &'a dyn Exchange,
        opaque: OpaqueValues,
    ) -> Result<(), &'s Selector> {
        for selector in selectors {
            self.0.push(match exchange.read(selector) {
                None => None,
                Some(value) => Some(text(value, opaque).ok_or(selector)?),
            });
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn lend<'b>(&'b self, refs: &mut InputRefs<'b>) {
        refs.extend(self.0.iter().map(Option::as_deref));
    }
}

fn text(value: Cow<'_, [u8]>, opaque: OpaqueValues) -> Option<Cow<'_, str>> {
    match (value, opaque) {
        (Cow::Borrowed(bytes), OpaqueValues::Lossy) => Some(String::from_utf8_lossy(bytes)),
        (Cow::Borrowed(bytes), OpaqueValues::Reject) => {
            std::str::from_utf8(bytes).ok().map(Cow::Borrowed)
        }
        (Cow::Owned(bytes), opaque) => match (String::from_utf8(bytes), opaque) {
            (Ok(text), _) => Some(Cow::Owned(text)),
            (Err(_), OpaqueValues::Reject) => None,
            (Err(error), OpaqueValues::Lossy) => {
                Some(Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_not_text_are_refused_or_replaced() {
        for value in [Cow::Borrowed(&b"a\xff"[..]), Cow::Owned(b"a\xff".to_vec())] {
            assert_eq!(text(value.clone(), OpaqueValues::Reject), None);
            assert_eq!(text(value, OpaqueValues::Lossy).as_deref(), Some("a\u{fffd}"));
        }
    }

    #[test]
    fn text_is_lent_and_not_copied() {
        for opaque in [OpaqueValues::Reject, OpaqueValues::Lossy] {
            let value = text(Cow::Borrowed("ä".as_bytes()), opaque);
            assert!(matches!(value, Some(Cow::Borrowed("ä"))));
        }
    }
}
