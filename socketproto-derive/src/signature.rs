//! The syntax of `async fn name(cx, a: A) -> T`.

use proc_macro2::TokenStream;
use syn::parse::{ParseBuffer, ParseStream};
use syn::{Generics, Ident, Lifetime, Token, Type, parenthesized};

use crate::ast::{Input, Signature};
use crate::attr::{separator, skip_to};
use crate::ctxt::Ctxt;

/// Reads a signature.
pub(crate) fn signature(ctxt: &Ctxt, input: ParseStream<'_>) -> syn::Result<Signature> {
    let is_async = input.parse::<Option<Token![async]>>()?.is_some();
    input.parse::<Token![fn]>()?;
    let ident = input.parse()?;
    if input.peek(Token![<]) {
        let generics: Generics = input.parse()?;
        ctxt.error(generics, "a method that is served has no generics: name the types that travel");
    }
    let content;
    parenthesized!(content in input);
    let inputs = inputs(ctxt, &content);
    let output = match input.parse::<Option<Token![->]>>()? {
        Some(_) => Some(input.parse()?),
        None => None,
    };
    Ok(Signature { is_async, ident, inputs, output })
}

fn inputs(ctxt: &Ctxt, content: &ParseBuffer<'_>) -> Vec<Input> {
    let mut inputs = Vec::new();
    let mut next = || -> syn::Result<()> {
        while !content.is_empty() {
            inputs.extend(parameter(ctxt, content)?);
            separator(content)?;
        }
        Ok(())
    };
    if ctxt.report(next()).is_none() {
        skip_to(content, |_| false);
    }
    inputs
}

fn parameter(ctxt: &Ctxt, input: ParseStream<'_>) -> syn::Result<Option<Input>> {
    if is_receiver(input) {
        let message = "leave `self` out: a method is called on `&mut self`, an async one without it";
        ctxt.error(up_to_type(input), message);
        input.parse::<Option<Token![:]>>()?.map(|_| input.parse::<Type>()).transpose()?;
        return Ok(None);
    }
    if !input.peek(Ident) {
        ctxt.error(up_to_type(input), "an argument is a plain name with a type: `name: Type`");
        input.parse::<Option<Token![:]>>()?.map(|_| input.parse::<Type>()).transpose()?;
        return Ok(None);
    }
    named_parameter(ctxt, input)
}

fn named_parameter(ctxt: &Ctxt, input: ParseStream<'_>) -> syn::Result<Option<Input>> {
    let ident: Ident = input.parse()?;
    let ty: Option<Type> = input.parse::<Option<Token![:]>>()?.map(|_| input.parse()).transpose()?;
    match ty {
        None if ident == "cx" => Ok(Some(Input::Context(ident))),
        None => {
            ctxt.error(&ident, format!("`{ident}` needs a type: `{ident}: Type`; only `cx` stands alone"));
            Ok(None)
        }
        Some(ty) if ident == "cx" => {
            ctxt.error(ty, "`cx` is the context of the call and stands without its type");
            Ok(None)
        }
        Some(ty) => Ok(Some(Input::Argument(ident, Box::new(ty)))),
    }
}

/// `self` behind any of `&`, a lifetime and `mut`.
fn is_receiver(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    let _ = ahead.parse::<Option<Token![&]>>();
    let _ = ahead.parse::<Option<Lifetime>>();
    let _ = ahead.parse::<Option<Token![mut]>>();
    ahead.peek(Token![self])
}

/// Takes the tokens before the next colon or comma.
fn up_to_type(input: ParseStream<'_>) -> TokenStream {
    skip_to(input, |input| input.peek(Token![,]) || (input.peek(Token![:]) && !input.peek(Token![::])))
}
