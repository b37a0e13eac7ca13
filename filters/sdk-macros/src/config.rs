//! `#[config]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Result};

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "`config` takes no arguments"));
    }
    let input: DeriveInput = syn::parse2(item)?;
    let rules = match &input.data {
        Data::Struct(_) => quote!(deny_unknown_fields, rename_all = "camelCase"),
        Data::Enum(_) => {
            quote!(deny_unknown_fields, rename_all = "camelCase", rename_all_fields = "camelCase")
        }
        Data::Union(_) => return Err(Error::new_spanned(input, "a union cannot be read")),
    };
    Ok(quote! {
        #[derive(
            Debug, Clone,
            ::penstock_filter::serde::Deserialize,
            ::penstock_filter::schemars::JsonSchema,
        )]
        #[serde(crate = "::penstock_filter::serde", #rules)]
        #[schemars(crate = "::penstock_filter::schemars")]
        #input
    })
}
