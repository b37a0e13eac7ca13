//! The penstock command: standalone gateway, checks, filter tools.
fn main() {}
