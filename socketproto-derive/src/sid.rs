//! `#[sid(name, request = N, response = M)]`: services beside read, write and execute.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Attribute, Ident, LitInt, Meta, Token};

use crate::attr::{named, separator, skip_to};
use crate::ctxt::Ctxt;
use crate::symbol;

/// A service that the struct declares.
pub(crate) struct Sid {
    pub(crate) name: Ident,
    request: Option<Number>,
    response: Option<Number>,
}

/// A service id as it is written.
#[derive(Clone, Copy)]
struct Number {
    value: u32,
    span: Span,
}

impl Sid {
    /// The service id of the requests; known once all mistakes have been reported.
    pub(crate) fn request(&self) -> u32 {
        self.request.map_or(0, |number| number.value)
    }

    /// The service id of the responses; known once all mistakes have been reported.
    pub(crate) fn response(&self) -> u32 {
        self.response.map_or(0, |number| number.value)
    }
}

/// Every `#[sid(..)]` whose name can be read, each of them checked, alone and against the others.
pub(crate) fn sids(ctxt: &Ctxt, attrs: &[Attribute]) -> Vec<Sid> {
    let sids: Vec<_> = named(attrs, "sid").filter_map(|attribute| sid(ctxt, attribute)).collect();
    names_are_new(ctxt, &sids);
    numbers_are_free(ctxt, &sids);
    sids
}

fn sid(ctxt: &Ctxt, attribute: &Attribute) -> Option<Sid> {
    let is_empty = !matches!(&attribute.meta, Meta::List(list) if !list.tokens.is_empty());
    if is_empty {
        ctxt.error(&attribute.meta, format!("expected `#[sid({FORM})]`"));
        return None;
    }
    let parsed = attribute.parse_args_with(|input: ParseStream<'_>| {
        let ahead = input.fork();
        if ahead.parse::<Ident>().is_err() || ahead.peek(Token![=]) {
            return Err(input.error(format!("the name of the service comes first: `#[sid({FORM})]`")));
        }
        let mut sid = Sid { name: input.parse()?, request: None, response: None };
        let is_complete = ctxt.report(separator(input)).is_some() && numbers(ctxt, input, &mut sid);
        skip_to(input, |_| false);
        for (word, found) in [("request", &sid.request), ("response", &sid.response)] {
            if is_complete && found.is_none() {
                ctxt.error(&sid.name, format!("`{}` needs `{word} = ..`: `#[sid({FORM})]`", sid.name));
            }
        }
        Ok(sid)
    });
    ctxt.report(parsed)
}

/// Reads what stands behind the name, and tells whether all of it could be read.
fn numbers(ctxt: &Ctxt, input: ParseStream<'_>, sid: &mut Sid) -> bool {
    let mut is_complete = true;
    while !input.is_empty() {
        let read = ctxt.report(number(ctxt, input, sid).and_then(|number| {
            separator(input)?;
            Ok(number)
        }));
        is_complete &= read == Some(true);
        if read.is_none() {
            skip_to(input, |input| input.peek(Token![,]));
            let _ = input.parse::<Option<Token![,]>>();
        }
    }
    is_complete
}

fn number(ctxt: &Ctxt, input: ParseStream<'_>, sid: &mut Sid) -> syn::Result<bool> {
    let word = Ident::parse_any(input)?;
    let place = match &*word.to_string() {
        "request" => &mut sid.request,
        "response" => &mut sid.response,
        _ => {
            ctxt.error(&word, format!("unknown word `{word}`, expected `request = N` or `response = M`"));
            skip_to(input, |input| input.peek(Token![,]));
            return Ok(false);
        }
    };
    input.parse::<Token![=]>()?;
    if !input.peek(LitInt) {
        return Err(input.error("a service id is written as a number: both sides of a line agree on it"));
    }
    let literal: LitInt = input.parse()?;
    let Ok(value) = literal.base10_parse::<u32>() else {
        ctxt.error(&literal, format!("`{literal}` is no service id: they go from 0 to {}", u32::MAX));
        return Ok(false);
    };
    if place.is_some() {
        ctxt.error(&word, format!("`{word}` is repeated; once is enough"));
        return Ok(false);
    }
    *place = Some(Number { value, span: literal.span() });
    Ok(true)
}

/// A service's name is a word of `#[did(..)]`, and a word has one meaning.
fn names_are_new(ctxt: &Ctxt, sids: &[Sid]) {
    for (position, Sid { name, .. }) in sids.iter().enumerate() {
        if symbol::is_built_in(&name.to_string()) {
            ctxt.error(name, format!("`{name}` is a word of the attributes already: choose another name"));
        } else if let Some(first) = sids[..position].iter().find(|first| first.name == *name) {
            ctxt.error(name, format!("the service `{name}` is declared twice"));
            ctxt.error(&first.name, "first declared here");
        }
    }
}

/// An id is a request or a response, of one service.
fn numbers_are_free(ctxt: &Ctxt, sids: &[Sid]) {
    let numbers = sids.iter().flat_map(|sid| [sid.request, sid.response]).flatten();
    let mut seen: Vec<Number> = Vec::new();
    for number in numbers {
        let Number { value, span } = number;
        if is_reserved(value) {
            let free = "those below 0xFFFF0000 other than 0, 1, 8 and 9 are free";
            ctxt.error_at(span, format!("service id `{value}` is reserved for the framework; {free}"));
        } else if let Some((_, word)) = BUILT_IN.iter().find(|(ids, _)| ids.contains(&value)) {
            ctxt.error_at(span, format!("service id `{value}` belongs to `{word}`: choose another number"));
        } else if let Some(first) = seen.iter().find(|first| first.value == value) {
            ctxt.error_at(span, format!("service id `{value}` is used twice; one id has one role"));
            ctxt.error_at(first.span, "first used here");
        } else {
            seen.push(number);
        }
    }
}

/// As `ServiceId::is_reserved` of the library.
fn is_reserved(value: u32) -> bool {
    matches!(value, 0 | 1 | 8 | 9) || value >= 0xFFFF_0000
}

const FORM: &str = "name, request = N, response = M";

/// The ids of the built-in services, as `ServiceId::BUILT_IN` of the library.
const BUILT_IN: [([u32; 2], &str); 3] = [([10, 11], "read"), ([20, 21], "write"), ([30, 31], "execute")];

#[cfg(test)]
mod tests {
    use syn::{DeriveInput, parse_quote};

    use super::*;

    fn check(input: &DeriveInput, expected: &[&str]) {
        let ctxt = Ctxt::default();
        sids(&ctxt, &input.attrs);
        let errors = ctxt.finish().err().into_iter().flatten().map(|error| error.to_string());
        assert_eq!(errors.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_service_has_a_name_and_two_numbers() {
        check(
            &parse_quote!(
                #[sid(history, request = 40, response = 0x29)]
                struct S;
            ),
            &[],
        );
        check(
            &parse_quote!(
                #[sid(history, response = 41, request = 40)]
                struct S;
            ),
            &[],
        );
    }

    #[test]
    fn every_mistake_is_reported() {
        check(
            &parse_quote! {
                #[sid(a, request = 10, response = 8)]
                #[sid(b, request = 40, response = 40)]
                #[sid(c, request = LAST, response = 4294901760)]
                struct S;
            },
            &[
                "a service id is written as a number: both sides of a line agree on it",
                "service id `10` belongs to `read`: choose another number",
                "service id `8` is reserved for the framework; those below 0xFFFF0000 other than 0, 1, 8 and 9 are free",
                "service id `40` is used twice; one id has one role",
                "first used here",
                "service id `4294901760` is reserved for the framework; those below 0xFFFF0000 other than 0, 1, 8 and 9 are free",
            ],
        );
    }

    #[test]
    fn a_missing_number_is_asked_for_once() {
        check(
            &parse_quote!(
                #[sid(history, request = 40)]
                struct S;
            ),
            &["`history` needs `response = ..`: `#[sid(name, request = N, response = M)]`"],
        );
        check(
            &parse_quote!(
                #[sid(history, request = 40, respnse = 41)]
                struct S;
            ),
            &["unknown word `respnse`, expected `request = N` or `response = M`"],
        );
    }
}
