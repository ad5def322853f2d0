//! `#[derive(Service)]`: the table, and a match over its positions.

use proc_macro2::{Literal, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Ident, Path};

use crate::ast::{Datum, Declaration, Field, Handler, Id, Input, Kind, Operation, Signature};
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
    let entries: Vec<_> = declaration.entries().map(|(datum, operation)| entry(datum, operation)).collect();
    let arms: Vec<_> =
        declaration.entries().enumerate().map(|(at, (_, operation))| arm(at, operation)).collect();
    implement(declaration, &entries, &arms, &distinct_ids(declaration))
}

/// The impl around a table and its arms.
pub(crate) fn implement(
    declaration: &Declaration<'_>,
    entries: &[TokenStream],
    arms: &[TokenStream],
    assertions: &[TokenStream],
) -> TokenStream {
    let Declaration { krate, docs, input, .. } = declaration;
    let (name, ident) = (declaration.name(), &input.ident);
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    quote! {
        const _: () = {
            use #krate as _socketproto;

            #[automatically_derived]
            impl #impl_generics _socketproto::Service for #ident #type_generics #where_clause {
                const SERVICE: &'static _socketproto::ServiceTable =
                    &_socketproto::ServiceTable::new(#name, #docs, const { &[#(#entries),*] });

                fn dispatch(
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
            }

            #(#assertions)*
        };
    }
}

/// A row of the table.
fn entry(datum: &Datum, operation: &Operation) -> TokenStream {
    let (service_id, data_id) = (operation.kind.service_id(), data_id(&datum.id));
    let name = datum.name_of(operation);
    let describe = (!datum.docs.is_empty()).then_some(&datum.docs).map(|docs| quote!(.describe(#docs)));
    let public = datum.public.then(|| quote!(.public()));
    let notify = (datum.notify.is_some() && operation.kind == Kind::Read).then(|| quote!(.notify()));
    quote! {
        _socketproto::Entry::new(_socketproto::ServiceId::#service_id, #data_id, #name) #describe #public #notify
    }
}

/// An id as an expression; what is wrong with a constant is reported under its path.
pub(crate) fn data_id(id: &Id) -> TokenStream {
    match id {
        Id::Number(value, _) => {
            let value = Literal::u32_unsuffixed(*value);
            quote!(_socketproto::DataId::new(#value))
        }
        Id::Constant(path) => quote_spanned!(at(id.span())=> _socketproto::__private::Id(#path).get()),
    }
}

/// What runs the entry at this position.
fn arm(position: usize, operation: &Operation) -> TokenStream {
    let position = Literal::usize_unsuffixed(position);
    let body = match &operation.handler {
        Handler::Load(field) => load(field),
        Handler::Store(field) => store(field),
        Handler::Setter(field, method) => setter(field, method),
        Handler::Method(signature) if signature.is_async => call_later(signature),
        Handler::Method(signature) => call_now(signature),
    };
    quote!(#position => { #body })
}

fn load(Field { ident, ty }: &Field) -> TokenStream {
    let value = quote_spanned!(at(ty.span())=> &__state.borrow()?.#ident);
    quote!(_socketproto::__private::value(#value, __out))
}

fn store(Field { ident, ty }: &Field) -> TokenStream {
    let data = quote_spanned!(at(ty.span())=> let __value: #ty = __request.data()?;);
    quote! {
        #data
        __state.borrow_mut()?.#ident = __value;
        _socketproto::__private::value(&(), __out)
    }
}

fn setter(Field { ty, .. }: &Field, method: &Ident) -> TokenStream {
    let data = quote_spanned!(at(ty.span())=> let __value: #ty = __request.data()?;);
    let call = quote_spanned! {at(method.span())=>
        _socketproto::__private::reply::<(), _>(__this.#method(__value), __out)
    };
    quote! {
        #data
        let mut __guard = __state.borrow_mut()?;
        let __this: &mut Self = &mut __guard;
        #call
    }
}

fn call_now(signature: &Signature) -> TokenStream {
    let method = &signature.ident;
    let (locals, values) = (locals(signature), values(signature));
    let reply = signature.reply();
    let call = quote_spanned! {at(method.span())=>
        _socketproto::__private::reply::<#reply, _>(__this.#method(#(#values),*), __out)
    };
    quote! {
        #locals
        let mut __guard = __state.borrow_mut()?;
        let __this: &mut Self = &mut __guard;
        #call
    }
}

fn call_later(signature: &Signature) -> TokenStream {
    let method = &signature.ident;
    let (locals, values, reply) = (locals(signature), values(signature), signature.reply());
    let call = quote_spanned! {at(method.span())=>
        _socketproto::__private::later::<#reply, _>(Self::#method(#(#values),*))
    };
    quote!(#locals #call)
}

/// The arguments as locals, decoded together, and the context, made while the state is free.
fn locals(signature: &Signature) -> TokenStream {
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
    quote!(#data #(let #contexts = __request.call(__state);)*)
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
    let entries: Vec<_> =
        declaration.entries().map(|(datum, operation)| (&datum.id, operation.kind)).collect();
    let mut assertions = Vec::new();
    for (position, (id, kind)) in entries.iter().enumerate() {
        for (other, _) in entries[..position].iter().filter(|(_, other)| other == kind) {
            assertions.extend(assertion(declaration, other, id, *kind));
        }
    }
    assertions
}

/// None where two numbers were compared already, or where a path needs the generics of the struct.
fn assertion(declaration: &Declaration<'_>, first: &Id, second: &Id, kind: Kind) -> Option<TokenStream> {
    let at_fault = match (first, second) {
        (Id::Number(..), Id::Number(..)) => return None,
        (_, Id::Constant(path)) | (Id::Constant(path), _) => path,
    };
    let (left, right) = (outside(declaration, first)?, outside(declaration, second)?);
    let message =
        format!("data ids `{}` and `{}` of service {} are equal", first.text(), second.text(), kind.word());
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

/// The place of a user's token, for tokens that belong to the expansion: errors of rustc land there.
pub(crate) fn at(span: Span) -> Span {
    Span::call_site().located_at(span)
}
