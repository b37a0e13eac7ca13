//! The attributes of `penstock-filter`; their documentation is there.

mod config;
mod hooks;
mod method;
mod policy;

use proc_macro::TokenStream;

/// Makes a type a configuration: read by serde, described by schemars, in camelCase, with unknown
/// fields refused. Both crates' field attributes work: `#[serde(default)]`,
/// `#[schemars(length(min = 1))]`. Documentation comments become the schema's descriptions.
#[proc_macro_attribute]
pub fn config(arguments: TokenStream, item: TokenStream) -> TokenStream {
    config::expand(arguments.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes an `impl` block a policy on header fields: `fn request` and `fn response`, each optional.
///
/// Each parameter names what it reads in an attribute: `#[header("x-user")]`, `#[cookie("id")]`,
/// `#[path]`, `#[status]` and so on, as the functions of `penstock_filter::plan`. Its type says
/// whether the value must be there: `&str`, `u64`, `IpAddr` or an `Option` of one. Arguments of
/// attributes are expressions and may use `self`.
///
/// On the functions: `#[writes("x-a", &self.header)]` lists the header names that may change,
/// `#[when(equals(method(), "GET"), ...)]` when the host calls at all, `#[memo(entries)]` or
/// `#[memo(entries, ttl_ms)]` that it may remember decisions.
///
/// The type is its own configuration, unless the block has a
/// `fn configure(config: C) -> Result<Self, Problem>` (or `Problems`).
#[proc_macro_attribute]
pub fn header_policy(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(policy::Kind::Header, arguments, item)
}

/// Makes an `impl` block a policy on the request's target: `fn decide`, written as the functions of
/// a `header_policy`, without `#[writes]`.
#[proc_macro_attribute]
pub fn path_policy(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(policy::Kind::Path, arguments, item)
}

/// Makes an `impl` block a policy on TLS handshakes: `fn client_hello(&self, &ClientHello)` and
/// `fn client_certificate(&self, &ClientHello, Option<&PeerCertificate>)`, each optional. On the
/// second, `#[client_auth(...)]` says how strictly a certificate is asked for (by default
/// `ClientAuth::Request`) and `#[want_der]` that the chain is wanted as DER.
#[proc_macro_attribute]
pub fn tls_policy(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(policy::Kind::Tls, arguments, item)
}

fn expand(kind: policy::Kind, arguments: TokenStream, item: TokenStream) -> TokenStream {
    policy::expand(kind, &arguments.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
