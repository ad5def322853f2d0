//! `#[derive(Client)]`: a struct with a method for each operation.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{DeriveInput, Ident, Type, parse_quote};

use crate::ast::{self, Datum, Declaration, Field, Handler, Id, Kind, Operation, Signature};
use crate::service::{self, at, data_id};
use crate::{check, fallback, generics};

/// The whole derive: parse, check, expand.
pub(crate) fn derive(input: &DeriveInput) -> TokenStream {
    let (declaration, verdict) = check::for_client(input);
    match verdict {
        Ok(()) => expand(&declaration),
        Err(errors) => {
            let (errors, stand_in) = (errors.into_compile_error(), fallback::empty_client(&declaration));
            quote!(#errors #stand_in)
        }
    }
}

/// The client's name.
pub(crate) fn name(declaration: &Declaration<'_>) -> Ident {
    format_ident!("{}Client", declaration.input.ident)
}

/// The name of the client's method for an operation.
pub(crate) fn method_name(operation: &Operation) -> Ident {
    match &operation.handler {
        Handler::Load(field) => field.ident.clone(),
        Handler::Store(field) | Handler::Setter(field, _) => format_ident!("set_{}", field.ident),
        Handler::Method(signature) => signature.ident.clone(),
        Handler::Fallback(method) => method.clone(),
    }
}

/// The operations that a client has methods for: the ids of a fallback have no names.
pub(crate) fn operations<'a>(
    declaration: &'a Declaration<'_>,
) -> impl Iterator<Item = (&'a Datum, &'a Operation)> {
    declaration.entries().filter(|(_, operation)| !matches!(operation.handler, Handler::Fallback(_)))
}

fn expand(declaration: &Declaration<'_>) -> TokenStream {
    let methods: Vec<_> =
        operations(declaration).map(|(datum, operation)| method(declaration, datum, operation)).collect();
    implement(declaration, &methods)
}

/// The struct and its impls around these methods.
pub(crate) fn implement(declaration: &Declaration<'_>, methods: &[TokenStream]) -> TokenStream {
    let (krate, definition) = (&declaration.krate, definition(declaration));
    let (inherent, clone, debug) = (inherent(declaration, methods), clone(declaration), debug(declaration));
    let uses = field_uses(declaration);
    quote! {
        #definition

        const _: () = {
            use #krate as _socketproto;
            #inherent
            #clone
            #debug
            #uses
        };
    }
}

fn definition(declaration: &Declaration<'_>) -> TokenStream {
    let DeriveInput { vis, ident, generics, .. } = declaration.input;
    let (client, krate) = (name(declaration), &declaration.krate);
    let (_, type_generics, where_clause) = generics.split_for_impl();
    let docs =
        format!("A client of [`{ident}`]: its methods call the service `{}` of a peer.", declaration.name());
    quote! {
        #[doc = #docs]
        #[allow(dead_code)]
        #vis struct #client #generics #where_clause {
            peer: #krate::Peer,
            shift: u32,
            service: ::core::marker::PhantomData<fn() -> #ident #type_generics>,
        }
    }
}

fn inherent(declaration: &Declaration<'_>, methods: &[TokenStream]) -> TokenStream {
    let client = name(declaration);
    let DeriveInput { ident, generics, .. } = declaration.input;
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let turbofish = type_generics.as_turbofish();
    let methods =
        methods.iter().map(|method| generics::replace_self(method.clone(), &quote!(#ident #turbofish)));
    quote! {
        #[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic)]
        impl #impl_generics #client #type_generics #where_clause {
            /// Calls the service where its data ids are those of its declaration.
            pub fn new(peer: &impl ::core::convert::AsRef<_socketproto::Peer>) -> Self {
                Self::at(peer, 0)
            }

            /// Calls the service where its data ids are shifted, as by `service_at`.
            pub fn at(peer: &impl ::core::convert::AsRef<_socketproto::Peer>, shift: u32) -> Self {
                let peer = ::core::clone::Clone::clone(::core::convert::AsRef::as_ref(peer));
                Self { peer, shift, service: ::core::marker::PhantomData }
            }

            #(#methods)*
        }
    }
}

/// By hand: the standard derive would ask the parameters to be `Clone`.
fn clone(declaration: &Declaration<'_>) -> TokenStream {
    let client = name(declaration);
    let (impl_generics, type_generics, where_clause) = declaration.input.generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #impl_generics ::core::clone::Clone for #client #type_generics #where_clause {
            fn clone(&self) -> Self {
                Self {
                    peer: ::core::clone::Clone::clone(&self.peer),
                    shift: self.shift,
                    service: ::core::marker::PhantomData,
                }
            }
        }
    }
}

fn debug(declaration: &Declaration<'_>) -> TokenStream {
    let client = name(declaration);
    let text = client.to_string();
    let (impl_generics, type_generics, where_clause) = declaration.input.generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #impl_generics ::core::fmt::Debug for #client #type_generics #where_clause {
            fn fmt(&self, __f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                __f.debug_struct(#text).field("peer", &self.peer).field("shift", &self.shift).finish()
            }
        }
    }
}

/// Where only the client is derived, nothing else looks at the annotated fields: this keeps them from being reported
/// as dead.
fn field_uses(declaration: &Declaration<'_>) -> TokenStream {
    let DeriveInput { ident, generics, .. } = declaration.input;
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let fields = declaration.entries().filter_map(|(_, operation)| match &operation.handler {
        Handler::Load(field) | Handler::Store(field) | Handler::Setter(field, _) => Some(&field.ident),
        Handler::Method(_) | Handler::Fallback(_) => None,
    });
    quote! {
        #[allow(dead_code)]
        fn __fields #impl_generics (__service: &#ident #type_generics) #where_clause {
            #(let _ = &__service.#fields;)*
        }
    }
}

fn method(declaration: &Declaration<'_>, datum: &Datum, operation: &Operation) -> TokenStream {
    let unit: Type = parse_quote!(());
    let call = |arguments: &[_], reply: &Type| call(declaration, datum, operation, arguments, reply);
    match &operation.handler {
        Handler::Load(Field { ty, .. }) => call(&[], ty),
        Handler::Store(Field { ident, ty }) | Handler::Setter(Field { ident, ty }, _) => {
            let value = Ident::new("value", at(ident.span()));
            call(&[(&value, ty)], &unit)
        }
        Handler::Method(signature) => {
            let arguments: Vec<_> = Signature::arguments(signature).collect();
            call(&arguments, &signature.reply())
        }
        Handler::Fallback(_) => TokenStream::new(),
    }
}

/// A method that sends its arguments.
fn call(
    declaration: &Declaration<'_>,
    datum: &Datum,
    operation: &Operation,
    arguments: &[(&Ident, &Type)],
    reply: &Type,
) -> TokenStream {
    let (method, docs) = (method_name(operation), docs(declaration, datum, operation));
    let (names, types): (Vec<_>, Vec<_>) = arguments.iter().copied().unzip();
    let (data_id, name) = (data_id(&datum.id), datum.name_of(operation));
    let data = match &names[..] {
        [] => quote!(&()),
        [name] => quote_spanned!(at(types[0].span())=> &#name),
        _ => quote_spanned!(at(types[0].span())=> &(#(&#names),*)),
    };
    let service_id = declaration.service_id(operation.kind);
    let (function, service) = match operation.kind {
        Kind::Own(position) => {
            let response = ast::service_id(declaration.services[position].response());
            (quote!(call_own), quote!((#service_id, #response)))
        }
        Kind::Read | Kind::Write | Kind::Execute => (quote!(call), service_id),
    };
    let patience = datum.timeout.map(patience);
    let call = quote_spanned! {at(reply.span())=>
        _socketproto::__private::#function(&self.peer, #service, #data_id, self.shift, #name, #data) #patience
    };
    quote! {
        #[doc = #docs]
        pub fn #method(&self #(, #names: #types)*) -> _socketproto::PendingCall<#reply> {
            #call
        }
    }
}

/// An answer may come as late as the handler's time is over, and takes its way.
fn patience(timeout: Duration) -> TokenStream {
    let timeout = service::duration(timeout);
    quote!(.timeout(#timeout + _socketproto::DEFAULT_CALL_TIMEOUT))
}

/// The field's doc comment, and what the method does.
fn docs(declaration: &Declaration<'_>, datum: &Datum, operation: &Operation) -> String {
    let id = match &datum.id {
        Id::Number(value, _) => value.to_string(),
        Id::Constant(_) | Id::Rest(_) => format!("`{}`", datum.id.text()),
    };
    let id = match operation.kind {
        Kind::Own(position) => format!("{id} of service {}", declaration.services[position].request()),
        Kind::Read | Kind::Write | Kind::Execute => id,
    };
    let line = format!("{} `{}` (data {id}).", operation.kind.verb(), operation.handler.ident().unraw());
    if datum.docs.is_empty() { line } else { format!("{}\n\n{line}", datum.docs) }
}
