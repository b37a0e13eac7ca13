//! `penstock eni`: what nodes will have of addresses.

mod plan;

pub(crate) use plan::run;
