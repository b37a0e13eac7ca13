//! The model as EC2's Query API: form in, XML out (Amazon EC2 API Reference, "Making API requests").

mod answer;
mod ask;
mod policy;
mod server;
mod xml;

pub use policy::Policy;
pub use server::{Server, Trouble};
