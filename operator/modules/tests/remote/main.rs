//! Modules from a real registry and from web servers, good ones and others.

mod fixture;
mod registry;
mod token;
mod web;
mod web_server;
