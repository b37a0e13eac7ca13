//! What a call receives.

use std::net::IpAddr;

use crate::decision::Fault;
use crate::plan::Slot;

/// The values of one call, in the order in which the stage declares its inputs.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a>(&'a [Option<String>]);

impl<'a> Inputs<'a> {
    /// Values in the order of the stage's inputs.
    pub fn new(values: &'a [Option<String>]) -> Inputs<'a> {
        Inputs(values)
    }

    /// The value of an input; `None` where the exchange does not have it.
    pub fn get(&self, slot: Slot) -> Option<&'a str> {
        self.0.get(slot.index()).and_then(Option::as_deref)
    }

    /// The value of the input at a position, as a function's parameter. `None`: the policy has
    /// nothing to say about this exchange.
    ///
    /// # Errors
    /// The value is not of the parameter's type.
    pub fn argument<T: FromInput<'a>>(&self, position: usize) -> Result<Option<T>, Fault> {
        T::from_input(self.get(Slot::at(position)))
    }
}

/// What a parameter of a policy's function can be.
pub trait FromInput<'a>: Sized {
    /// Whether the policy has nothing to say where the value is absent. The host then does not call
    /// it.
    const REQUIRED: bool;

    /// Reads the parameter; `None` where the value is required and absent.
    ///
    /// # Errors
    /// The value is not of this type.
    fn from_input(value: Option<&'a str>) -> Result<Option<Self>, Fault>;
}

impl<'a> FromInput<'a> for &'a str {
    const REQUIRED: bool = true;

    fn from_input(value: Option<&'a str>) -> Result<Option<Self>, Fault> {
        Ok(value)
    }
}

impl<'a, T: FromInput<'a>> FromInput<'a> for Option<T> {
    const REQUIRED: bool = false;

    fn from_input(value: Option<&'a str>) -> Result<Option<Self>, Fault> {
        if value.is_none() { Ok(Some(None)) } else { T::from_input(value).map(Some) }
    }
}

macro_rules! parsed_inputs {
    ($($type:ty),*) => {$(
        impl<'a> FromInput<'a> for $type {
            const REQUIRED: bool = true;

            fn from_input(value: Option<&'a str>) -> Result<Option<Self>, Fault> {
                let parse = |text: &str| {
                    text.parse().map_err(|error| Fault(format!("cannot read {text:?}: {error}")))
                };
                value.map(parse).transpose()
            }
        }
    )*};
}

parsed_inputs!(IpAddr, u16, u32, u64, i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_value_is_no_call_for_who_requires_it() {
        let inputs = Inputs::new(&[None]);
        assert_eq!(inputs.argument::<&str>(0), Ok(None));
        assert_eq!(inputs.argument::<Option<&str>>(0), Ok(Some(None)));
        assert_eq!(inputs.argument::<u16>(0), Ok(None));
    }

    #[test]
    fn a_value_that_cannot_be_read_is_a_fault() {
        let values = [Some("200".to_owned()), Some("many".to_owned())];
        let inputs = Inputs::new(&values);
        assert_eq!(inputs.argument::<u16>(0), Ok(Some(200)));
        assert!(inputs.argument::<u16>(1).is_err());
        assert!(inputs.argument::<Option<u16>>(1).is_err());
    }
}
