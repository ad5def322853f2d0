//! `#[derive(Service)]`: the table, and a match over its positions.

use std::time::Duration;

use proc_macro2::{Literal, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{DeriveInput, Ident, Path};

use crate::ast::{self, Datum, Declaration, Field, Handler, Id, Input, Kind, Operation, Signature};
use crate::sid::Sid;
use crate::{check, fallback, generics};

/// The whole derive: parse, check, expand.
pub(crate) fn derive(input: &DeriveInput) -> TokenStream {
    let (declaration, verdict) = check::for_service(input);
    match verdict {
        Ok(()) => expand(&declaration),
        Err(errors) => {
            let (errors, stand_in) = (errors.into_compile_error(), fallback::empty_service(&declaration));
            quote!(#errors #stand_in)
        }
    }
}

fn expand(declaration: &Declaration<'_>) -> TokenStream {
    let entries: Vec<_> =
        declaration.entries().map(|(datum, operation)| entry(declaration, datum, operation)).collect();
    // The state of an actor is entered by messages only.
    let context = if declaration.actor.is_some() { BLOCKING_CALL } else { CALL };
    let arms: Vec<_> = declaration
        .entries()
        .enumerate()
        .map(|(at, (datum, operation))| arm(at, datum, operation, context))
        .collect();
    implement(declaration, &entries, &arms, &distinct_ids(declaration))
}

/// The impl around a table and its arms.
pub(crate) fn implement(
    declaration: &Declaration<'_>,
    entries: &[TokenStream],
    arms: &[TokenStream],
    assertions: &[TokenStream],
) -> TokenStream {
    let Declaration { krate, input, .. } = declaration;
    let (table, hook, actor) = (table(declaration, entries), hook(declaration), actor(declaration));
    let ident = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    quote! {
        const _: () = {
            use #krate as _socketproto;

            #[automatically_derived]
            impl #impl_generics _socketproto::Service for #ident #type_generics #where_clause {
                const SERVICE: &'static _socketproto::ServiceTable = &#table;

                fn dispatch(
                    &mut self,
                    __state: &_socketproto::__private::State<Self>,
                    __entry: usize,
                    __request: &_socketproto::__private::Request,
                    __out: &mut ::std::vec::Vec<u8>,
                ) -> _socketproto::__private::Step {
                    _socketproto::__private::serve(|| match __entry {
                        #(#arms)*
                        _ => ::core::result::Result::Err(_socketproto::Fault::unknown("")),
                    })
                }

                #hook
            }

            #actor
            #(#assertions)*
        };
    }
}

fn table(declaration: &Declaration<'_>, entries: &[TokenStream]) -> TokenStream {
    let (name, docs) = (declaration.name(), &declaration.docs);
    let services: Vec<_> = declaration.services.iter().map(own_service).collect();
    let services = (!services.is_empty()).then(|| quote!(.with_services(const { &[#(#services),*] })));
    let hooks = declaration.hooks.is_some().then(|| quote!(.hooks()));
    let own_thread = declaration.own_thread.is_some().then(|| quote!(.own_thread()));
    quote! {
        _socketproto::ServiceTable::new(#name, #docs, const { &[#(#entries),*] }) #services #hooks #own_thread
    }
}

/// The handler of a struct that is an actor. Where it is none, the bound keeps the impl silent, and the assertion speaks.
fn actor(declaration: &Declaration<'_>) -> Option<TokenStream> {
    let span = at(declaration.actor.as_ref()?.span());
    let (ident, generics) = (&declaration.input.ident, &declaration.input.generics);
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let predicates = where_clause.map(|clause| &clause.predicates).into_iter().flatten();
    let actix = quote_spanned!(span=> _socketproto::__private::actix);
    let assertion = generics.params.is_empty().then(
        || quote_spanned!(span=> const _: () = _socketproto::__private::actix::assert_actor::<#ident>();),
    );
    Some(quote! {
        #[automatically_derived]
        impl #impl_generics #actix::Handler<_socketproto::actix::Request<Self>> for #ident #type_generics
        where
            #(#predicates,)*
            for<'__a> Self: #actix::Actor<Context = #actix::Context<Self>>,
        {
            type Result = ();

            fn handle(
                &mut self,
                __request: _socketproto::actix::Request<Self>,
                __context: &mut #actix::Context<Self>,
            ) {
                #actix::serve(self, __request, __context);
            }
        }

        #assertion
    })
}

fn own_service(sid: &Sid) -> TokenStream {
    let name = sid.name.unraw().to_string();
    let (request, response) = (ast::service_id(sid.request()), ast::service_id(sid.response()));
    quote!(_socketproto::OwnService::new(#name, #request, #response))
}

/// The way to the second trait; that it is missing is reported under the word that asks for it.
fn hook(declaration: &Declaration<'_>) -> Option<TokenStream> {
    let word = declaration.hooks.as_ref()?;
    let call = quote_spanned!(at(word.span())=> _socketproto::__private::run_hook::<Self>(self, __hook));
    Some(quote! {
        fn hook(&mut self, __hook: &_socketproto::__private::Hook) {
            #call
        }
    })
}

/// A row of the table.
fn entry(declaration: &Declaration<'_>, datum: &Datum, operation: &Operation) -> TokenStream {
    let (service_id, name) = (declaration.service_id(operation.kind), datum.name_of(operation));
    if let Id::Rest(_) = datum.id {
        return quote!(_socketproto::Entry::fallback(#service_id, #name));
    }
    let data_id = data_id(&datum.id);
    let describe = (!datum.docs.is_empty()).then_some(&datum.docs).map(|docs| quote!(.describe(#docs)));
    let public = datum.public.then(|| quote!(.public()));
    let notify = (datum.notify.is_some() && operation.kind == Kind::Read).then(|| quote!(.notify()));
    let exclusive = datum.exclusive.is_some().then(|| quote!(.exclusive()));
    // What runs on a thread of the pool cannot be dropped.
    let no_cancel = datum.no_cancel.as_ref().or(datum.blocking.as_ref()).map(|_| quote!(.no_cancel()));
    let timeout = datum.timeout.map(duration).map(|timeout| quote!(.with_timeout(#timeout)));
    quote! {
        _socketproto::Entry::new(#service_id, #data_id, #name)
            #describe #public #notify #exclusive #no_cancel #timeout
    }
}

/// A time as an expression.
pub(crate) fn duration(duration: Duration) -> TokenStream {
    // At most a day.
    let millis = Literal::u64_unsuffixed(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    quote!(::core::time::Duration::from_millis(#millis))
}

/// An id as an expression; what is wrong with a constant is reported under its path.
pub(crate) fn data_id(id: &Id) -> TokenStream {
    match id {
        Id::Number(value, _) => {
            let value = Literal::u32_unsuffixed(*value);
            quote!(_socketproto::DataId::new(#value))
        }
        Id::Constant(path) => quote_spanned!(at(id.span())=> _socketproto::__private::Id(#path).get()),
        // Entries of a fallback have none.
        Id::Rest(_) => TokenStream::new(),
    }
}

/// What runs the entry at this position.
fn arm(position: usize, datum: &Datum, operation: &Operation, context: &str) -> TokenStream {
    let position = Literal::usize_unsuffixed(position);
    let body = match &operation.handler {
        Handler::Load(field) => load(field),
        Handler::Store(field) => store(field),
        Handler::Setter(field, method) => setter(field, method),
        Handler::Fallback(method) => take_any(method),
        Handler::Method(signature) if datum.blocking.is_some() => call_elsewhere(signature),
        Handler::Method(signature) if signature.is_async => call_later(signature, context),
        Handler::Method(signature) => call_now(signature, context),
    };
    quote!(#position => { #body })
}

fn load(Field { ident, ty }: &Field) -> TokenStream {
    let value = quote_spanned!(at(ty.span())=> &self.#ident);
    quote!(_socketproto::__private::value(#value, __out))
}

fn store(Field { ident, ty }: &Field) -> TokenStream {
    let data = quote_spanned!(at(ty.span())=> let __value: #ty = __request.data()?;);
    quote! {
        #data
        self.#ident = __value;
        _socketproto::__private::value(&(), __out)
    }
}

fn setter(Field { ty, .. }: &Field, method: &Ident) -> TokenStream {
    let data = quote_spanned!(at(ty.span())=> let __value: #ty = __request.data()?;);
    let call = quote_spanned! {at(method.span())=>
        _socketproto::__private::reply::<(), _>(self.#method(__value), __out)
    };
    quote! {
        #data
        #call
    }
}

fn call_now(signature: &Signature, context: &str) -> TokenStream {
    let method = &signature.ident;
    let (locals, values, reply) = (locals(signature, context), values(signature), signature.reply());
    let call = quote_spanned! {at(method.span())=>
        _socketproto::__private::reply::<#reply, _>(self.#method(#(#values),*), __out)
    };
    quote! {
        #locals
        #call
    }
}

fn call_later(signature: &Signature, context: &str) -> TokenStream {
    let method = &signature.ident;
    let (locals, values, reply) = (locals(signature, context), values(signature), signature.reply());
    let call = quote_spanned! {at(method.span())=>
        _socketproto::__private::later::<#reply, _>(Self::#method(#(#values),*))
    };
    quote!(#locals #call)
}

/// Off the loop: neither `self` nor anything of its thread goes along.
fn call_elsewhere(signature: &Signature) -> TokenStream {
    let method = &signature.ident;
    let locals = locals(signature, BLOCKING_CALL);
    let (values, reply) = (values(signature), signature.reply());
    let call = quote_spanned! {at(method.span())=>
        _socketproto::__private::blocking::<#reply, _, _>(move || Self::#method(#(#values),*))
    };
    quote!(#locals #call)
}

fn take_any(method: &Ident) -> TokenStream {
    quote_spanned! {at(method.span())=>
        _socketproto::__private::json(self.#method(__request.data_id(), __request.json()), __out)
    }
}

/// The arguments as locals, decoded together, and the context, which this method of the request makes.
fn locals(signature: &Signature, context: &str) -> TokenStream {
    let (names, types): (Vec<_>, Vec<_>) = signature.arguments().map(|(name, ty)| (local(name), ty)).unzip();
    let data = match (&names[..], &types[..]) {
        ([], _) | (_, []) => TokenStream::new(),
        ([name], [ty, ..]) => quote_spanned!(at(ty.span())=> let #name: #ty = __request.data()?;),
        (_, [first, ..]) => {
            quote_spanned!(at(first.span())=> let (#(#names),*): (#(#types),*) = __request.data()?;)
        }
    };
    let contexts = signature.inputs.iter().filter_map(|input| match input {
        Input::Context(cx) => Some(local(cx)),
        Input::Argument(..) => None,
    });
    let context = Ident::new(context, Span::call_site());
    quote!(#data #(let #contexts = __request.#context(__state);)*)
}

/// The locals in the order of the signature.
fn values(signature: &Signature) -> impl Iterator<Item = Ident> {
    signature.inputs.iter().map(|input| match input {
        Input::Context(name) | Input::Argument(name, _) => local(name),
    })
}

/// Not `__state` for an argument `state`: that is the expansion's own.
fn local(name: &Ident) -> Ident {
    format_ident!("__argument_{name}", span = at(name.span()))
}

/// Constants can be compared by the compiler only: an assertion for each pair that could be equal.
fn distinct_ids(declaration: &Declaration<'_>) -> Vec<TokenStream> {
    let entries: Vec<_> = declaration.entries().map(|(datum, operation)| (&datum.id, operation)).collect();
    let mut assertions = Vec::new();
    for (position, (id, operation)) in entries.iter().enumerate() {
        for (other, _) in entries[..position].iter().filter(|(_, other)| other.kind == operation.kind) {
            assertions.extend(assertion(declaration, other, id, operation));
        }
    }
    assertions
}

/// None where two numbers were compared already, or where a path needs the generics of the struct.
fn assertion(
    declaration: &Declaration<'_>,
    first: &Id,
    second: &Id,
    operation: &Operation,
) -> Option<TokenStream> {
    let at_fault = match (first, second) {
        (Id::Number(..), Id::Number(..)) | (Id::Rest(_), _) | (_, Id::Rest(_)) => return None,
        (_, Id::Constant(path)) | (Id::Constant(path), _) => path,
    };
    let (left, right) = (outside(declaration, first)?, outside(declaration, second)?);
    let message = format!(
        "data ids `{}` and `{}` of service {} are equal",
        first.text(),
        second.text(),
        operation.word
    );
    let span = at(Id::Constant(Path::clone(at_fault)).span());
    Some(quote_spanned! {span=>
        const _: () = ::core::assert!(#left.value() != #right.value(), #message);
    })
}

/// The id as an expression outside the impl.
fn outside(declaration: &Declaration<'_>, id: &Id) -> Option<TokenStream> {
    let input = declaration.input;
    let tokens = data_id(id);
    let is_generic = !input.generics.params.is_empty();
    if is_generic && generics::mentions(tokens.clone(), &input.generics) {
        return None;
    }
    Some(generics::replace_self(tokens, &input.ident.to_token_stream()))
}

/// Methods of a request that make a context.
const CALL: &str = "call";
const BLOCKING_CALL: &str = "blocking_call";

/// The place of a user's token, for tokens that belong to the expansion: errors of rustc land there.
pub(crate) fn at(span: Span) -> Span {
    Span::call_site().located_at(span)
}
