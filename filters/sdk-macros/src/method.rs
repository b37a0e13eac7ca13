//! One function of a policy: what its attributes declare, and the call.

use proc_macro2::TokenStream;
use quote::quote;
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, Expr, FnArg, Ident, ImplItemFn, Meta, Result, Token, Type};

/// What a function reads, writes and leaves to the host.
pub(crate) struct Method {
    name: Ident,
    parameters: Vec<Parameter>,
    writes: Vec<Expr>,
    when: Vec<Expr>,
    memo: Option<Vec<Expr>>,
}

struct Parameter {
    /// A call of a function of `penstock_filter::plan`.
    selector: TokenStream,
    ty: Type,
}

impl Method {
    /// Reads a function and takes the declarations out of it, so that a plain one remains.
    pub(crate) fn take(function: &mut ImplItemFn) -> Result<Method> {
        let mut method = Method {
            name: function.sig.ident.clone(),
            parameters: Vec::new(),
            writes: Vec::new(),
            when: Vec::new(),
            memo: None,
        };
        if let Some(attribute) = take(&mut function.attrs, "writes") {
            method.writes = expressions(&attribute)?;
        }
        if let Some(attribute) = take(&mut function.attrs, "when") {
            method.when = expressions(&attribute)?;
        }
        if let Some(attribute) = take(&mut function.attrs, "memo") {
            let arguments = expressions(&attribute)?;
            if !(1..=2).contains(&arguments.len()) {
                let message = "write `#[memo(entries)]` or `#[memo(entries, ttl_ms)]`";
                return Err(Error::new_spanned(attribute, message));
            }
            method.memo = Some(arguments);
        }
        let mut inputs = function.sig.inputs.iter_mut();
        match inputs.next() {
            Some(FnArg::Receiver(_)) => {}
            _ => {
                let message = "a policy's function begins with `&self`";
                return Err(Error::new_spanned(&function.sig, message));
            }
        }
        method.parameters = inputs.map(Parameter::take).collect::<Result<_>>()?;
        Ok(method)
    }

    pub(crate) fn has_writes(&self) -> Option<&Expr> {
        self.writes.first()
    }

    /// An expression of type `Stage`.
    pub(crate) fn stage(&self) -> TokenStream {
        let parameters = self.parameters.iter().map(|Parameter { selector, ty }| {
            quote!(.parameter(
                #selector,
                <#ty as ::penstock_filter::FromInput<'_>>::REQUIRED,
            ))
        });
        let when = &self.when;
        let writes = &self.writes;
        let memo = self.memo.as_deref().map(|arguments| match arguments {
            [entries] => quote!(.memo(#entries)),
            _ => quote!(.memo_for(#(#arguments),*)),
        });
        quote! {{
            #[allow(unused_imports, reason = "the names that attributes may use")]
            use ::penstock_filter::plan::*;
            ::penstock_filter::Stage::new()
                #(#parameters)*
                #(.when(#when))*
                #(.writes(#writes))*
                #memo
        }}
    }

    /// Statements that end in the call, in a function that returns `Result<D, Fault>` and has
    /// `inputs`; `nothing` is the decision where a required value is absent.
    pub(crate) fn call(&self, nothing: &TokenStream) -> TokenStream {
        let name = &self.name;
        let arguments: Vec<_> =
            (0..self.parameters.len()).map(|at| quote::format_ident!("argument{at}")).collect();
        let bindings = self.parameters.iter().zip(&arguments).enumerate().map(
            |(at, (Parameter { ty, .. }, argument))| {
                quote! {
                    let ::core::option::Option::Some(#argument) = inputs.argument::<#ty>(#at)?
                    else {
                        return ::core::result::Result::Ok(#nothing);
                    };
                }
            },
        );
        quote! {
            #(#bindings)*
            let decision = self.#name(#(#arguments),*);
        }
    }
}

impl Parameter {
    fn take(argument: &mut FnArg) -> Result<Parameter> {
        let FnArg::Typed(argument) = argument else {
            return Err(Error::new_spanned(argument, "`self` comes first"));
        };
        let [attribute] = argument.attrs.as_slice() else {
            let message = "say in one attribute what the parameter reads, for example \
                           `#[header(\"x-user\")]`";
            return Err(Error::new_spanned(&argument, message));
        };
        let path = attribute.path().require_ident()?;
        let selector = match &attribute.meta {
            Meta::Path(_) => quote!(::penstock_filter::plan::#path()),
            Meta::List(list) => {
                let arguments = &list.tokens;
                quote!(::penstock_filter::plan::#path(#arguments))
            }
            Meta::NameValue(pair) => {
                let value = &pair.value;
                quote!(::penstock_filter::plan::#path(#value))
            }
        };
        argument.attrs.clear();
        Ok(Parameter { selector, ty: (*argument.ty).clone() })
    }
}

/// Takes the attribute of a name out of a list.
pub(crate) fn take(attributes: &mut Vec<Attribute>, name: &str) -> Option<Attribute> {
    let at = attributes.iter().position(|attribute| attribute.path().is_ident(name))?;
    Some(attributes.remove(at))
}

/// The expressions in an attribute's parentheses.
pub(crate) fn expressions(attribute: &Attribute) -> Result<Vec<Expr>> {
    let arguments = attribute.parse_args_with(Punctuated::<Expr, Token![,]>::parse_terminated)?;
    Ok(arguments.into_iter().collect())
}
