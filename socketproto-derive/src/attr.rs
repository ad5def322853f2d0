//! The syntax of `#[service(..)]` and `#[did(..)]`.
//!
//! The parsers report and go on: an unreadable word is skipped, the words behind it are still read.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitInt, LitStr, Meta, Path, Token};

use crate::ast::{Id, Signature};
use crate::ctxt::Ctxt;
use crate::signature::signature;
use crate::symbol::{Form, Place, Refusal, Vocabulary, Word};

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

/// Reads attributes: reports into the context, and knows the words.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) ctxt: &'a Ctxt,
    pub(crate) words: &'a Vocabulary,
}

impl Reader<'_> {
    /// The words of all `#[service(..)]`.
    pub(crate) fn service(self, attrs: &[Attribute]) -> Vec<Item> {
        let mut found = Vec::new();
        for attribute in named(attrs, "service") {
            if !matches!(attribute.meta, Meta::List(_)) {
                self.ctxt.error(&attribute.meta, "expected `#[service(name = \"..\")]`");
                continue;
            }
            let parsed = attribute.parse_args_with(|input: ParseStream<'_>| {
                self.items(input, Place::Service, &mut found);
                Ok(())
            });
            self.ctxt.report(parsed);
        }
        found
    }

    /// Every `#[did(..)]` whose id can be read.
    pub(crate) fn dids(self, attrs: &[Attribute], place: Place) -> Vec<Did> {
        named(attrs, "did").filter_map(|attribute| self.did(attribute, place)).collect()
    }

    fn did(self, attribute: &Attribute, place: Place) -> Option<Did> {
        let is_empty = match &attribute.meta {
            Meta::List(list) => list.tokens.is_empty(),
            Meta::Path(_) | Meta::NameValue(_) => true,
        };
        if is_empty {
            let example = if place == Place::Field {
                "#[did(1, read)]"
            } else {
                "#[did(1, read = fn name() -> Value)]"
            };
            self.ctxt.error(&attribute.meta, format!("expected a data id and an operation: `{example}`"));
            return None;
        }
        let parsed = attribute.parse_args_with(|input: ParseStream<'_>| {
            let id = self.id(input);
            let place = self.place(id.as_ref(), place);
            let mut found = Vec::new();
            let is_complete = self.items(input, place, &mut found);
            Ok(id.map(|id| Did { id, items: found, is_complete }))
        });
        self.ctxt.report(parsed).flatten()
    }

    /// The data id and the comma behind it.
    fn id(self, input: ParseStream<'_>) -> Option<Id> {
        if self.starts_with_word(input) {
            self.ctxt.error(
                input.cursor().token_tree().map(|(token, _)| token),
                "the data id comes first: `#[did(1, ..)]`",
            );
            return None;
        }
        let id = if input.peek(LitInt) { self.number(input) } else { self.rest_or_constant(input) };
        if self.ctxt.report(separator(input)).is_none() {
            self.go_on_at_word(input);
        }
        id
    }

    fn number(self, input: ParseStream<'_>) -> Option<Id> {
        let literal: LitInt = self.ctxt.report(input.parse())?;
        let Ok(value) = literal.base10_parse::<u32>() else {
            self.ctxt.error(&literal, format!("`{literal}` is no data id: they go from 0 to {}", u32::MAX));
            return None;
        };
        if !matches!(literal.suffix(), "" | "u32") {
            self.ctxt.error(&literal, format!("a data id is a `u32`: write `{value}`"));
        }
        Some(Id::Number(value, literal.span()))
    }

    fn rest_or_constant(self, input: ParseStream<'_>) -> Option<Id> {
        if input.peek(Token![..]) {
            return self.ctxt.report(input.parse::<Token![..]>()).map(|dots| Id::Rest(dots.spans[0]));
        }
        self.constant(input)
    }

    /// Behind `..` other words stand.
    fn place(self, id: Option<&Id>, place: Place) -> Place {
        match (id, place) {
            (Some(Id::Rest(_)), Place::Struct) => Place::Rest,
            (Some(Id::Rest(span)), Place::Field) => {
                let message = "`..` belongs on the struct: `#[did(.., read, fallback = method)]`";
                self.ctxt.error_at(*span, message);
                place
            }
            _ => place,
        }
    }

    fn constant(self, input: ParseStream<'_>) -> Option<Id> {
        if input.peek(Token![::]) || input.peek(Ident::peek_any) {
            return self.ctxt.report(input.parse()).map(Id::Constant);
        }
        self.ctxt.push(input.error("expected a data id: a number or the path of a constant"));
        skip_to(input, |input| input.peek(Token![,]));
        None
    }

    /// Finds the words up to the end of the attribute that may stand here, reports all others, and tells whether all may.
    fn items(self, input: ParseStream<'_>, place: Place, found: &mut Vec<Item>) -> bool {
        let mut is_complete = true;
        while !input.is_empty() {
            let parsed = self.item(input, place, found).and_then(|item| {
                is_complete &= item.is_some();
                found.extend(item);
                separator(input)
            });
            if self.ctxt.report(parsed).is_none() {
                is_complete = false;
                self.go_on_at_word(input);
            }
        }
        is_complete
    }

    fn item(self, input: ParseStream<'_>, place: Place, found: &[Item]) -> syn::Result<Option<Item>> {
        let ident = Ident::parse_any(input)?;
        let value = match input.parse::<Option<Token![=]>>()? {
            Some(_) => self.value(input)?,
            None => Value::Flag,
        };
        match self.words.resolve(&ident.to_string(), place, value.form()) {
            Err(Refusal::Word(message)) => self.ctxt.error(ident, message),
            Err(Refusal::Value(message)) => self.ctxt.error_at(value.span().unwrap_or(ident.span()), message),
            Ok(_) if found.iter().any(|other| other.ident == ident) => {
                self.ctxt.error(&ident, format!("`{ident}` is repeated; once is enough"));
            }
            Ok(word) => return Ok(Some(Item { word, ident, value })),
        }
        Ok(None)
    }

    fn value(self, input: ParseStream<'_>) -> syn::Result<Value> {
        if input.peek(Token![fn]) || input.peek(Token![async]) {
            signature(self.ctxt, input).map(|signature| Value::Signature(Box::new(signature)))
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

    /// Whether the attribute begins with a word where its id should be.
    fn starts_with_word(self, input: ParseStream<'_>) -> bool {
        let ahead = input.fork();
        Ident::parse_any(&ahead).is_ok_and(|ident| ident != "crate" && self.words.is_word(&ident.to_string()))
    }

    /// Skips what cannot be read: up to a known word, be it that only its comma is missing.
    fn go_on_at_word(self, input: ParseStream<'_>) {
        if self.starts_with_word(input) {
            return;
        }
        skip_to(input, |input| {
            let ahead = input.fork();
            ahead.parse::<Token![,]>().is_ok()
                && Ident::parse_any(&ahead).is_ok_and(|ident| self.words.is_word(&ident.to_string()))
        });
        let _ = input.parse::<Option<Token![,]>>();
    }
}

/// `#[service]` and `#[sid]` on a field are slips.
pub(crate) fn refuse_on_field(ctxt: &Ctxt, attrs: &[Attribute]) {
    for name in ["service", "sid"] {
        for attribute in named(attrs, name) {
            let message = format!("`#[{name}]` belongs on the struct; a field has `#[did(ID, read)]`");
            ctxt.error(attribute.path(), message);
        }
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

pub(crate) fn named<'a>(attrs: &'a [Attribute], name: &'static str) -> impl Iterator<Item = &'a Attribute> {
    attrs.iter().filter(move |attribute| attribute.path().is_ident(name))
}

/// A comma, or the end.
pub(crate) fn separator(input: ParseStream<'_>) -> syn::Result<()> {
    if input.is_empty() { Ok(()) } else { input.parse::<Token![,]>().map(drop) }
}

/// Takes the tokens before the next one that stops it.
pub(crate) fn skip_to(input: ParseStream<'_>, stop: impl Fn(ParseStream<'_>) -> bool) -> TokenStream {
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
        let reader = Reader { ctxt: &ctxt, words: &Vocabulary::default() };
        let found = reader.dids(std::slice::from_ref(attribute), Place::Struct);
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
