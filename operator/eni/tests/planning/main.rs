//! What is planned for a node, rule by rule, and what a machine makes of what happens.

mod fixture;
mod machine;
mod plan;
