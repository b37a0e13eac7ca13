//! Who compiles: this process, or one of its own for each module.

mod child;
mod compiler;
mod limits;
mod worker;

pub use child::ChildCompiler;
pub use compiler::Compiler;
pub use limits::CompileLimits;
pub use worker::compile_and_exit;
