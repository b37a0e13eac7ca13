//! Log lines that carry the filter, the route and the trace of the current exchange.
//! Grant: `log`. In native tests the lines go to the standard error stream.

pub use crate::capabilities::log::Level;

/// Whether a line of this level would be kept.
pub fn enabled(level: Level) -> bool {
    #[cfg(target_family = "wasm")]
    return crate::capabilities::log::enabled(level);
    #[cfg(not(target_family = "wasm"))]
    return level >= Level::Info;
}

/// Writes one line with attributes, of which at most 16 are kept. The message is built only where
/// the line would be kept.
pub fn emit(level: Level, message: impl FnOnce() -> String, attributes: &[(&str, &str)]) {
    if !enabled(level) {
        return;
    }
    #[cfg(target_family = "wasm")]
    {
        let attributes: Vec<_> =
            attributes.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        crate::capabilities::log::emit(level, &message(), &attributes);
    }
    #[cfg(not(target_family = "wasm"))]
    eprintln!("{level:?} {} {attributes:?}", message());
}

/// Writes a line at a level, formatted only where it would be kept. `log!(Info, "{n} keys")`.
#[macro_export]
macro_rules! log {
    ($level:ident, $($format:tt)+) => {
        $crate::log::emit($crate::log::Level::$level, || ::std::format!($($format)+), &[])
    };
}
