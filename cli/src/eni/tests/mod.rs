//! What is said of clusters, from values.

mod fixtures;
mod preflight;
mod status;
