//! Reading a cluster: whom to ask, what went wrong, lists of objects, and what is said of them.

mod connect;
mod failure;
mod lists;
mod problem;

pub(crate) use connect::{Connection, connect};
pub(crate) use failure::{Failure, one_line};
pub(crate) use lists::{Denied, Place, Reader};
pub(crate) use problem::{Problem, listed};
