//! The functions of a TLS policy.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Expr, ImplItemFn, Result};

use crate::method::{expressions, take};

/// What a `client_certificate` function declares.
pub(crate) struct Certificate {
    client_auth: Option<Expr>,
    want_der: bool,
}

impl Certificate {
    /// Reads a function and takes the declarations out of it.
    pub(crate) fn take(function: &mut ImplItemFn) -> Result<Certificate> {
        let client_auth = match take(&mut function.attrs, "client_auth") {
            None => None,
            Some(attribute) => match expressions(&attribute)?.as_slice() {
                [one] => Some(one.clone()),
                _ => {
                    let message = "write `#[client_auth(ClientAuth::Require)]`";
                    return Err(Error::new_spanned(attribute, message));
                }
            },
        };
        Ok(Certificate { client_auth, want_der: take(&mut function.attrs, "want_der").is_some() })
    }
}

/// An expression of type `Plan`.
pub(crate) fn plan(client_hello: bool, certificate: Option<&Certificate>) -> TokenStream {
    let client_certificate = certificate.is_some();
    let want_der = certificate.is_some_and(|certificate| certificate.want_der);
    let client_auth = match certificate {
        None => quote!(::penstock_filter::tls::ClientAuth::None),
        Some(Certificate { client_auth: None, .. }) => {
            quote!(::penstock_filter::tls::ClientAuth::Request)
        }
        Some(Certificate { client_auth: Some(expression), .. }) => quote!(#expression),
    };
    quote! {
        ::penstock_filter::tls::Plan {
            client_hello: #client_hello,
            client_certificate: #client_certificate,
            want_der: #want_der,
            client_auth: #client_auth,
        }
    }
}
