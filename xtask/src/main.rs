//! Generated files, filters and test tools.
fn main() {}
