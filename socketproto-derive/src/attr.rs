//! The syntax of `#[service(..)]` and `#[did(..)]`.
//!
//! The parsers report and go on: an unreadable word is skipped, the words behind it are still read.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseBuffer, ParseStream};
use syn::{
    Attribute, Expr, ExprLit, Generics, Ident, Lifetime, Lit, LitInt, LitStr, Meta, Path, Token, Type,
    parenthesized,
};

use crate::ast::{Id, Input, Signature};
use crate::ctxt::Ctxt;
use crate::symbol::{self, Form, Place, Refusal, Word};

/// A `#[did(id, items)]`.
pub(crate) struct Did {
    pub(crate) id: Id,
    pub(crate) items: Vec<Item>,
    /// Whether every word could be read.
    pub(crate) is_complete: bool,
}

/// A word and what follows it.
pub(crate) struct Item {
    pub(crate) word: Word,
    pub(crate) ident: Ident,
    pub(crate) value: Value,
}

/// What follows a word.
pub(crate) enum Value {
    Flag,
    Path(Path),
    Signature(Box<Signature>),
    Text(LitStr),
    Literal(Lit),
}

impl Value {
    fn form(&self) -> Form {
        match self {
            Self::Flag => Form::Flag,
            Self::Path(_) => Form::Path,
            Self::Signature(_) => Form::Signature,
            Self::Text(_) => Form::Text,
            Self::Literal(_) => Form::Literal,
        }
    }

    fn span(&self) -> Option<Span> {
        match self {
            Self::Flag => None,
            Self::Path(path) => path.segments.first().map(|first| first.ident.span()),
            Self::Signature(signature) => Some(signature.ident.span()),
            Self::Text(text) => Some(text.span()),
            Self::Literal(literal) => Some(literal.span()),
        }
    }
}

/// The words of all `#[service(..)]`.
pub(crate) fn service(ctxt: &Ctxt, attrs: &[Attribute]) -> Vec<Item> {
    let mut found = Vec::new();
    for attribute in named(attrs, "service") {
        if !matches!(attribute.meta, Meta::List(_)) {
            ctxt.error(&attribute.meta, "expected `#[service(name = \"..\")]`");
            continue;
        }
        let parsed = attribute.parse_args_with(|input: ParseStream<'_>| {
            items(ctxt, input, Place::Service, &mut found);
            Ok(())
        });
        report(ctxt, parsed);
    }
    found
}

/// Every `#[did(..)]` whose id can be read.
pub(crate) fn dids(ctxt: &Ctxt, attrs: &[Attribute], place: Place) -> Vec<Did> {
    named(attrs, "did").filter_map(|attribute| did(ctxt, attribute, place)).collect()
}

/// `#[service]` on a field is a slip.
pub(crate) fn refuse_service(ctxt: &Ctxt, attrs: &[Attribute]) {
    for attribute in named(attrs, "service") {
        ctxt.error(attribute.path(), "`#[service]` belongs on the struct; a field has `#[did(ID, read)]`");
    }
}

/// The doc comment, without the one space that separates it from its slashes.
pub(crate) fn docs(attrs: &[Attribute]) -> String {
    let texts: Vec<_> = named(attrs, "doc").filter_map(doc_text).collect();
    let lines: Vec<_> = texts
        .iter()
        .flat_map(|text| text.lines())
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    lines.join("\n").trim_end().to_owned()
}

/// The text of `#[doc = ".."]`; a comment line without text counts as an empty line.
fn doc_text(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else { return None };
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &pair.value else { return None };
    let text = text.value();
    Some(if text.is_empty() { "\n".to_owned() } else { text })
}

fn named<'a>(attrs: &'a [Attribute], name: &'static str) -> impl Iterator<Item = &'a Attribute> {
    attrs.iter().filter(move |attribute| attribute.path().is_ident(name))
}

fn report<T>(ctxt: &Ctxt, result: syn::Result<T>) -> Option<T> {
    result.map_err(|error| ctxt.push(error)).ok()
}

fn did(ctxt: &Ctxt, attribute: &Attribute, place: Place) -> Option<Did> {
    let is_empty = match &attribute.meta {
        Meta::List(list) => list.tokens.is_empty(),
        Meta::Path(_) | Meta::NameValue(_) => true,
    };
    if is_empty {
        let example =
            if place == Place::Field { "#[did(1, read)]" } else { "#[did(1, read = fn name() -> Value)]" };
        ctxt.error(&attribute.meta, format!("expected a data id and an operation: `{example}`"));
        return None;
    }
    let parsed = attribute.parse_args_with(|input: ParseStream<'_>| {
        let id = id(ctxt, input);
        let mut found = Vec::new();
        let is_complete = items(ctxt, input, place, &mut found);
        Ok(id.map(|id| Did { id, items: found, is_complete }))
    });
    report(ctxt, parsed).flatten()
}

/// The data id and the comma behind it.
fn id(ctxt: &Ctxt, input: ParseStream<'_>) -> Option<Id> {
    if starts_with_word(input) {
        ctxt.error(
            input.cursor().token_tree().map(|(token, _)| token),
            "the data id comes first: `#[did(1, ..)]`",
        );
        return None;
    }
    let id = if input.peek(LitInt) { number(ctxt, input) } else { constant(ctxt, input) };
    if report(ctxt, separator(input)).is_none() {
        go_on_at_word(input);
    }
    id
}

fn number(ctxt: &Ctxt, input: ParseStream<'_>) -> Option<Id> {
    let literal: LitInt = report(ctxt, input.parse())?;
    let Ok(value) = literal.base10_parse::<u32>() else {
        ctxt.error(&literal, format!("`{literal}` is no data id: they go from 0 to {}", u32::MAX));
        return None;
    };
    if !matches!(literal.suffix(), "" | "u32") {
        ctxt.error(&literal, format!("a data id is a `u32`: write `{value}`"));
    }
    Some(Id::Number(value, literal.span()))
}

fn constant(ctxt: &Ctxt, input: ParseStream<'_>) -> Option<Id> {
    if input.peek(Token![::]) || input.peek(Ident::peek_any) {
        return report(ctxt, input.parse()).map(Id::Constant);
    }
    ctxt.push(input.error("expected a data id: a number or the path of a constant"));
    skip_to(input, |input| input.peek(Token![,]));
    None
}

/// Finds the words up to the end of the attribute that may stand here, reports all others, and tells whether all may.
fn items(ctxt: &Ctxt, input: ParseStream<'_>, place: Place, found: &mut Vec<Item>) -> bool {
    let mut is_complete = true;
    while !input.is_empty() {
        let parsed = item(ctxt, input, place, found).and_then(|item| {
            is_complete &= item.is_some();
            found.extend(item);
            separator(input)
        });
        if report(ctxt, parsed).is_none() {
            is_complete = false;
            go_on_at_word(input);
        }
    }
    is_complete
}

fn item(ctxt: &Ctxt, input: ParseStream<'_>, place: Place, found: &[Item]) -> syn::Result<Option<Item>> {
    let ident = Ident::parse_any(input)?;
    let value = match input.parse::<Option<Token![=]>>()? {
        Some(_) => value(ctxt, input)?,
        None => Value::Flag,
    };
    match symbol::resolve(&ident.to_string(), place, value.form()) {
        Err(Refusal::Word(message)) => ctxt.error(ident, message),
        Err(Refusal::Value(message)) => ctxt.error_at(value.span().unwrap_or(ident.span()), message),
        Ok(_) if found.iter().any(|other| other.ident == ident) => {
            ctxt.error(&ident, format!("`{ident}` is repeated; once is enough"));
        }
        Ok(word) => return Ok(Some(Item { word, ident, value })),
    }
    Ok(None)
}

fn value(ctxt: &Ctxt, input: ParseStream<'_>) -> syn::Result<Value> {
    if input.peek(Token![fn]) || input.peek(Token![async]) {
        signature(ctxt, input).map(|signature| Value::Signature(Box::new(signature)))
    } else if input.peek(LitStr) {
        input.parse().map(Value::Text)
    } else if input.peek(Lit) {
        input.parse().map(Value::Literal)
    } else if input.peek(Token![::]) || input.peek(Ident::peek_any) {
        Path::parse_mod_style(input).map(Value::Path)
    } else {
        Err(input.error("expected a signature `fn name(..)`, a path, or a text in quotes"))
    }
}

fn signature(ctxt: &Ctxt, input: ParseStream<'_>) -> syn::Result<Signature> {
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
    if report(ctxt, next()).is_none() {
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

/// Whether the attribute begins with a word where its id should be.
fn starts_with_word(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    Ident::parse_any(&ahead).is_ok_and(|ident| ident != "crate" && symbol::is_word(&ident.to_string()))
}

/// A comma, or the end.
fn separator(input: ParseStream<'_>) -> syn::Result<()> {
    if input.is_empty() { Ok(()) } else { input.parse::<Token![,]>().map(drop) }
}

/// Skips what cannot be read: up to a known word, be it that only its comma is missing.
fn go_on_at_word(input: ParseStream<'_>) {
    if starts_with_word(input) {
        return;
    }
    skip_to(input, |input| {
        let ahead = input.fork();
        ahead.parse::<Token![,]>().is_ok()
            && Ident::parse_any(&ahead).is_ok_and(|ident| symbol::is_word(&ident.to_string()))
    });
    let _ = input.parse::<Option<Token![,]>>();
}

fn skip_to(input: ParseStream<'_>, stop: impl Fn(ParseStream<'_>) -> bool) -> TokenStream {
    let mut skipped = TokenStream::new();
    while !input.is_empty() && !stop(input) {
        skipped.extend(input.parse::<TokenTree>());
    }
    skipped
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn words(attribute: &Attribute) -> (Vec<String>, Vec<String>) {
        let ctxt = Ctxt::default();
        let found = dids(&ctxt, std::slice::from_ref(attribute), Place::Struct);
        let found = found.into_iter().flat_map(|did| did.items).map(|item| item.ident.to_string()).collect();
        let errors = ctxt.finish().err().into_iter().flatten().map(|error| error.to_string()).collect();
        (found, errors)
    }

    #[test]
    fn a_doc_comment_loses_one_space() {
        let attrs: [Attribute; 4] = [
            parse_quote!(#[doc = " A lamp."]),
            parse_quote!(#[doc = ""]),
            parse_quote!(#[doc = "   indented"]),
            parse_quote!(#[doc(hidden)]),
        ];
        assert_eq!(docs(&attrs), "A lamp.\n\n  indented");
        assert_eq!(docs(&[parse_quote!(#[doc = " One\n Two\n "])]), "One\nTwo");
    }

    #[test]
    fn commas_of_types_and_signatures_belong_to_them() {
        let (found, errors) =
            words(&parse_quote!(#[did(1, read = fn a(b: Map<u8, u8>, cx) -> Map<u8, u8>, public,)]));
        assert_eq!((found.join(" "), errors.len()), ("read public".to_owned(), 0));
    }

    #[test]
    fn words_behind_an_unreadable_one_are_read() {
        let (found, errors) = words(&parse_quote!(#[did(1, read = fn a -> Map<u8, u8>, public notify)]));
        assert_eq!(found, ["public", "notify"]);
        assert_eq!(errors.len(), 2, "{errors:?}");
    }
}
