//! The span of the filter that runs now; without a sampled trace every call does nothing.
//! Grant: `trace`. In native tests nothing is recorded.

#[cfg(target_family = "wasm")]
use crate::capabilities::trace as host;

pub use crate::capabilities::trace::Value;

/// Whether the current exchange is being recorded.
pub fn recording() -> bool {
    #[cfg(target_family = "wasm")]
    return host::recording();
    #[cfg(not(target_family = "wasm"))]
    return false;
}

/// Sets one attribute of the filter's span.
pub fn set_attribute(key: &str, value: impl Into<Value>) {
    #[cfg(target_family = "wasm")]
    host::set_attribute(key, &value.into());
    #[cfg(not(target_family = "wasm"))]
    let _ = (key, value);
}

/// Adds a named event to the filter's span.
pub fn add_event(name: &str) {
    #[cfg(target_family = "wasm")]
    host::add_event(name);
    #[cfg(not(target_family = "wasm"))]
    let _ = name;
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(int: i64) -> Value {
        Value::Int(int)
    }
}

impl From<f64> for Value {
    fn from(real: f64) -> Value {
        Value::Real(real)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Flag(flag)
    }
}
