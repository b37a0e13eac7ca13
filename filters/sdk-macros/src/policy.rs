//! `#[header_policy]`, `#[path_policy]` and `#[tls_policy]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Expr, ExprLit, FnArg, ImplItem, ImplItemFn, ItemImpl, Lit, Meta, Result, Type};

use crate::hooks::{Certificate, plan};
use crate::method::Method;

/// Which of the three kinds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Header,
    Path,
    Tls,
}

pub(crate) fn expand(
    kind: Kind,
    arguments: &TokenStream,
    item: TokenStream,
) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "this attribute takes no arguments"));
    }
    let mut block: ItemImpl = syn::parse2(item)?;
    if block.trait_.is_some() {
        let message = "the attribute belongs on `impl Type { ... }`: it writes the trait itself";
        return Err(Error::new_spanned(&block, message));
    }
    let policy = (*block.self_ty).clone();
    let documentation = documentation(&block);
    let configure = configure(&mut block)?;
    let (trait_name, export, functions) = match kind {
        Kind::Header => (quote!(HeaderPolicy), quote!(export_header_policy), header(&mut block)?),
        Kind::Path => (quote!(PathPolicy), quote!(export_path_policy), path(&mut block)?),
        Kind::Tls => (quote!(TlsPolicy), quote!(export_tls_policy), tls(&mut block)?),
    };
    Ok(quote! {
        #block

        impl ::penstock_filter::#trait_name for #policy {
            #configure
            #functions
        }

        ::penstock_filter::#export!(#policy, #documentation);
    })
}

fn header(block: &mut ItemImpl) -> Result<TokenStream> {
    let request = function(block, "request").map(Method::take).transpose()?;
    let response = function(block, "response").map(Method::take).transpose()?;
    if request.is_none() && response.is_none() {
        return Err(missing(block, "`fn request` or `fn response`"));
    }
    let nothing = quote!(::penstock_filter::Decision::Next);
    let stages = [
        (request, quote!(request_stage), quote!(on_request)),
        (response, quote!(response_stage), quote!(on_response)),
    ];
    let functions = stages.into_iter().filter_map(|(method, stage_name, call_name)| {
        let method = method?;
        let (stage, call) = (method.stage(), method.call(&nothing));
        Some(quote! {
            fn #stage_name(&self) -> ::core::option::Option<::penstock_filter::Stage> {
                ::core::option::Option::Some(#stage)
            }

            fn #call_name(
                &self,
                inputs: &::penstock_filter::Inputs<'_>,
            ) -> ::core::result::Result<::penstock_filter::Decision, ::penstock_filter::Fault> {
                #call
                ::penstock_filter::IntoDecision::into_decision(decision)
            }
        })
    });
    Ok(quote!(#(#functions)*))
}

fn path(block: &mut ItemImpl) -> Result<TokenStream> {
    let Some(decide) = function(block, "decide").map(Method::take).transpose()? else {
        return Err(missing(block, "`fn decide`"));
    };
    if let Some(writes) = decide.has_writes() {
        return Err(Error::new_spanned(writes, "a path policy changes no header fields"));
    }
    let stage = decide.stage();
    let call = decide.call(&quote!(::penstock_filter::PathDecision::Next));
    Ok(quote! {
        fn stage(&self) -> ::penstock_filter::Stage {
            #stage
        }

        fn decide(
            &self,
            inputs: &::penstock_filter::Inputs<'_>,
        ) -> ::core::result::Result<::penstock_filter::PathDecision, ::penstock_filter::Fault> {
            #call
            ::penstock_filter::IntoPathDecision::into_path_decision(decision)
        }
    })
}

fn tls(block: &mut ItemImpl) -> Result<TokenStream> {
    let hello = function(block, "client_hello").is_some();
    let certificate = function(block, "client_certificate").map(Certificate::take).transpose()?;
    if !hello && certificate.is_none() {
        return Err(missing(block, "`fn client_hello` or `fn client_certificate`"));
    }
    let plan = plan(hello, certificate.as_ref());
    let on_hello = hello.then(|| {
        quote! {
            fn on_client_hello(
                &self,
                hello: &::penstock_filter::tls::ClientHello,
            ) -> ::core::result::Result<
                ::penstock_filter::tls::HelloDecision, ::penstock_filter::Fault,
            > {
                ::penstock_filter::private::IntoHelloDecision::into_hello_decision(
                    self.client_hello(hello),
                )
            }
        }
    });
    let on_certificate = certificate.map(|_| {
        quote! {
            fn on_client_certificate(
                &self,
                hello: &::penstock_filter::tls::ClientHello,
                peer: ::core::option::Option<&::penstock_filter::tls::PeerCertificate>,
            ) -> ::core::result::Result<
                ::penstock_filter::tls::PeerDecision, ::penstock_filter::Fault,
            > {
                ::penstock_filter::private::IntoPeerDecision::into_peer_decision(
                    self.client_certificate(hello, peer),
                )
            }
        }
    });
    Ok(quote! {
        fn plan(&self) -> ::penstock_filter::tls::Plan {
            #plan
        }
        #on_hello
        #on_certificate
    })
}

/// `type Config` and `fn configure`: by the block's own `configure`, or the type as it was read.
fn configure(block: &mut ItemImpl) -> Result<TokenStream> {
    let (config, made) = match function(block, "configure") {
        None => (quote!(Self), quote!(::core::result::Result::Ok(config))),
        Some(function) => {
            let config = config_type(function)?;
            let made = quote! {
                Self::configure(config).map_err(::core::convert::Into::into)
            };
            (quote!(#config), made)
        }
    };
    Ok(quote! {
        type Config = #config;

        fn configure(
            config: Self::Config,
            _: &::penstock_filter::About,
        ) -> ::core::result::Result<Self, ::penstock_filter::Problems> {
            #made
        }
    })
}

fn config_type(function: &ImplItemFn) -> Result<Type> {
    match function.sig.inputs.iter().collect::<Vec<_>>().as_slice() {
        [FnArg::Typed(config)] => Ok((*config.ty).clone()),
        _ => {
            let message = "write `fn configure(config: Config) -> Result<Self, Problem>`";
            Err(Error::new_spanned(&function.sig, message))
        }
    }
}

fn function<'a>(block: &'a mut ItemImpl, name: &str) -> Option<&'a mut ImplItemFn> {
    block.items.iter_mut().find_map(|item| match item {
        ImplItem::Fn(function) if function.sig.ident == name => Some(function),
        _ => None,
    })
}

fn missing(block: &ItemImpl, what: &str) -> Error {
    Error::new_spanned(&block.self_ty, format!("a policy of this kind has {what}"))
}

/// The block's documentation comment as one text.
fn documentation(block: &ItemImpl) -> String {
    let lines = block.attrs.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) => {
                let line = line.value();
                Some(line.strip_prefix(' ').map_or(line.clone(), str::to_owned))
            }
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}
