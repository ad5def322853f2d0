//! The rules no single attribute can see; one function each.

mod serving;

use std::collections::HashMap;

use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{DeriveInput, GenericArgument, Ident, LitStr, PathArguments, PathSegment, Type};

use crate::ast::{Declaration, Field, Handler, Id, Input, Kind, Operation, Signature};
use crate::client;
use crate::ctxt::Ctxt;
use crate::symbol::Place;

type Rule = fn(&Ctxt, &Declaration<'_>);

/// What both derives ask for.
const COMMON: &[Rule] = &[
    every_datum_has_an_operation,
    serving::a_fallback_has_a_method,
    notify_has_a_read,
    serving::what_waits_can_be_exclusive,
    serving::what_waits_can_be_cancelled,
    serving::what_blocks_is_no_async_method,
    serving::an_actor_has_its_own_place,
    names_fit_a_log_line,
    ids_are_unique,
    one_context,
    argument_names_are_unique,
    arguments_are_owned,
    arguments_fit_a_tuple,
    the_value_alone_is_declared,
];

/// What the client asks for besides.
const CLIENT: &[Rule] = &[client_methods_are_unique, replies_are_owned];

/// The longest name, in characters: as long as a line of a catalogue can show.
const MAX_NAME: usize = 64;

/// The most arguments of a method: serde knows no longer tuples.
const MAX_ARGUMENTS: usize = 16;

/// Reads and checks a declaration for `#[derive(Service)]`.
pub(crate) fn for_service(input: &DeriveInput) -> (Declaration<'_>, syn::Result<()>) {
    declaration(input, &[COMMON])
}

/// Reads and checks a declaration for `#[derive(Client)]`.
pub(crate) fn for_client(input: &DeriveInput) -> (Declaration<'_>, syn::Result<()>) {
    declaration(input, &[COMMON, CLIENT])
}

fn declaration<'a>(input: &'a DeriveInput, rules: &[&[Rule]]) -> (Declaration<'a>, syn::Result<()>) {
    let ctxt = Ctxt::default();
    let declaration = Declaration::new(&ctxt, input);
    for rule in rules.iter().copied().flatten() {
        rule(&ctxt, &declaration);
    }
    (declaration, ctxt.finish())
}

/// An id alone would promise something that nobody serves.
fn every_datum_has_an_operation(ctxt: &Ctxt, declaration: &Declaration<'_>) {
    for datum in declaration.data.iter().filter(|datum| datum.is_complete && datum.operations.is_empty()) {
        let words = match datum.place {
            Place::Field => "`read` or `write`",
            // Without its method nothing could be served.
            Place::Rest if datum.fallback.is_none() => continue,
            Place::Rest => "`read`, `write`, `execute` or a service of `#[sid(..)]`",
            Place::Service | Place::Struct => "`read = fn ..`, `write = fn ..` or `execute = fn ..`",
        };
        ctxt.error_at(datum.id.span(), format!("data `{}` has no operation: add {words}", datum.id.text()));
    }
}

/// A subscriber is sent what a read would give.
fn notify_has_a_read(ctxt: &Ctxt, declaration: &Declaration<'_>) {
    for datum in &declaration.data {
        let Some(notify) = &datum.notify else { continue };
        if datum.is_complete && !datum.operations.iter().any(|operation| operation.kind == Kind::Read) {
            ctxt.error(notify, "`notify` needs `read` beside it: subscribers are sent what is read");
        }
    }
}

/// Names stand in logs and catalogues, one to a line.
fn names_fit_a_log_line(ctxt: &Ctxt, declaration: &Declaration<'_>) {
    let names = declaration.data.iter().map(|datum| &datum.name).chain([&declaration.name]);
    for name in names.flatten() {
        if let Some(message) = name_mistake(name) {
            ctxt.error(name, message);
        }
    }
}

fn name_mistake(name: &LitStr) -> Option<String> {
    let text = name.value();
    let length = text.chars().count();
    if text.is_empty() {
        Some("a name cannot be empty; leave the word out to use the identifier".to_owned())
    } else if length > MAX_NAME {
        Some(format!("a name has at most {MAX_NAME} characters, this one has {length}"))
    } else if text.chars().any(char::is_control) {
        Some("a name has no control characters, such as tabs and line breaks".to_owned())
    } else {
        None
    }
}

/// Two entries of one service and id: only the first could ever be reached.
///
/// Constants with different paths can be compared by the compiler only; the expansion asks it to.
fn ids_are_unique(ctxt: &Ctxt, declaration: &Declaration<'_>) {
    let mut seen: HashMap<_, &Id> = HashMap::new();
    for (datum, operation) in declaration.entries() {
        let word = operation.word.unraw().to_string();
        let Some(first) = seen.insert((word.clone(), datum.id.text()), &datum.id) else { continue };
        ctxt.error_at(datum.id.span(), format!("`{word}` of data `{}` is declared twice", datum.id.text()));
        ctxt.error_at(first.span(), "first declared here");
    }
}

/// A call has one context.
fn one_context(ctxt: &Ctxt, declaration: &Declaration<'_>) {
    for signature in signatures(declaration) {
        let contexts = signature.inputs.iter().filter_map(|input| match input {
            Input::Context(cx) => Some(cx),
            Input::Argument(..) => None,
        });
        for cx in contexts.skip(1) {
            ctxt.error(cx, "`cx` is repeated; once is enough");
        }
    }
}

/// Each argument is a local of the expansions.
fn argument_names_are_unique(ctxt: &Ctxt, declaration: &Declaration<'_>) {
    for signature in signatures(declaration) {
        let names: Vec<_> = signature.arguments().map(|(name, _)| name).collect();
        for (position, name) in names.iter().enumerate() {
            if names[..position].contains(name) {
                ctxt.error(name, format!("two arguments of `{}` are named `{name}`", signature.ident));
            }
        }
    }
}

/// An argument is made from the message, which is gone before the method ends.
fn arguments_are_owned(ctxt: &Ctxt, declaration: &Declaration<'_>) {
    for (name, ty) in signatures(declaration).flat_map(Signature::arguments) {
        if let Type::Reference(_) = ty {
            let message =
                format!("`{name}` is read from the message and has to be owned: `String`, not `&str`");
            ctxt.error(ty, message);
        }
    }
}

/// Several arguments travel as a tuple.
fn arguments_fit_a_tuple(ctxt: &Ctxt, declaration: &Declaration<'_>) {
    for signature in signatures(declaration) {
        if let Some((name, _)) = signature.arguments().nth(MAX_ARGUMENTS) {
            let message = format!("a method has at most {MAX_ARGUMENTS} arguments: put them into a struct");
            ctxt.error(name, message);
        }
    }
}

/// The declared type is what the client gets; that a method may fail is true of all and not declared.
fn the_value_alone_is_declared(ctxt: &Ctxt, declaration: &Declaration<'_>) {
    for output in signatures(declaration).filter_map(|signature| signature.output.as_ref()) {
        if let Some(value) = value_of_fallible(output) {
            let value = value.to_token_stream().to_string().replace(' ', "");
            ctxt.error(
                output,
                format!("declare the value alone: `-> {value}`; the method may still return this type"),
            );
        }
    }
}

/// The `T` of `Result<T, Fault>`.
fn value_of_fallible(ty: &Type) -> Option<&Type> {
    let [value, error] = type_arguments(last_segment(ty)?, "Result")?[..] else { return None };
    (last_segment(error)?.ident == "Fault").then_some(value)
}

fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    }
}

fn type_arguments<'a>(segment: &'a PathSegment, name: &str) -> Option<Vec<&'a Type>> {
    let PathArguments::AngleBracketed(list) = &segment.arguments else { return None };
    let types = list.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    (segment.ident == name).then(|| types.collect())
}

/// The client has one method for each operation, and two constructors.
fn client_methods_are_unique(ctxt: &Ctxt, declaration: &Declaration<'_>) {
    let client = client::name(declaration);
    let mut seen: HashMap<String, String> = HashMap::new();
    for (_, operation) in client::operations(declaration) {
        let (method, purpose) = (client::method_name(operation).unraw().to_string(), purpose(operation));
        if matches!(&*method, "new" | "at") {
            let message =
                format!("{purpose} clashes with the constructor `{client}::{method}`: choose another name");
            ctxt.error(blame(operation), message);
        } else if let Some(first) = seen.get(&method) {
            let message = format!("{purpose} clashes with {first}: both would be `{client}::{method}`");
            ctxt.error(blame(operation), message);
        } else {
            seen.insert(method, purpose);
        }
    }
}

/// What a client's method is for, in words.
fn purpose(operation: &Operation) -> String {
    let word = &operation.word;
    match &operation.handler {
        Handler::Fallback(method) => format!("`fallback = {method}`"),
        Handler::Method(signature) => format!("`{word} = fn {}`", signature.ident),
        Handler::Load(field) | Handler::Store(field) | Handler::Setter(field, _) => {
            format!("`{word}` of the field `{}`", field.ident)
        }
    }
}

/// The token that gave a client's method its name.
fn blame(operation: &Operation) -> &Ident {
    match &operation.handler {
        Handler::Method(signature) => &signature.ident,
        Handler::Fallback(method) => method,
        Handler::Load(field) => &field.ident,
        Handler::Store(_) | Handler::Setter(..) => &operation.word,
    }
}

/// A client's value outlives the message it came in.
fn replies_are_owned(ctxt: &Ctxt, declaration: &Declaration<'_>) {
    for (_, operation) in declaration.entries() {
        let (Handler::Load(Field { ty, .. }) | Handler::Method(Signature { output: Some(ty), .. })) =
            &operation.handler
        else {
            continue;
        };
        if let Type::Reference(_) = ty {
            ctxt.error(
                ty,
                "a client is given a value of its own: declare an owned type, `String` and not `&str`",
            );
        }
    }
}

fn signatures<'a>(declaration: &'a Declaration<'_>) -> impl Iterator<Item = &'a Signature> {
    declaration.entries().filter_map(|(_, operation)| match &operation.handler {
        Handler::Method(signature) => Some(signature),
        Handler::Load(_) | Handler::Store(_) | Handler::Setter(..) | Handler::Fallback(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn check(input: &DeriveInput, expected: &[&str]) {
        let messages: Vec<_> = match for_client(input).1 {
            Ok(()) => Vec::new(),
            Err(errors) => errors.into_iter().map(|error| error.to_string()).collect(),
        };
        assert_eq!(messages, expected);
    }

    #[test]
    fn a_method_that_sets_a_field_is_none_of_the_client() {
        check(
            &parse_quote!(
                struct Lamp {
                    #[did(1, read, write = set_on)]
                    on: bool,
                }
            ),
            &[],
        );
    }

    #[test]
    fn one_id_serves_each_operation_once() {
        check(
            &parse_quote!(
                struct Lamp {
                    #[did(1, read)]
                    #[did(1, write)]
                    on: bool,
                }
            ),
            &[],
        );
        check(
            &parse_quote!(
                struct Lamp {
                    #[did(ids::ON, write)]
                    on: bool,
                    #[did(ids::ON, write)]
                    off: bool,
                }
            ),
            &["`write` of data `ids::ON` is declared twice", "first declared here"],
        );
        check(
            &parse_quote!(
                struct Lamp {
                    #[did(0x10, write)]
                    on: bool,
                    #[did(16, write)]
                    off: bool,
                }
            ),
            &["`write` of data `16` is declared twice", "first declared here"],
        );
    }

    #[test]
    fn a_missing_word_is_not_asked_for_where_another_is_misspelt() {
        let message = "unknown word `reed`, expected one of: `read`, `write`, `notify`, `public`, `name`";
        check(
            &parse_quote!(
                struct Lamp {
                    #[did(1, reed, notify)]
                    on: bool,
                }
            ),
            &[message],
        );
    }

    #[test]
    fn a_fallible_value_is_fine_where_its_error_travels() {
        check(
            &parse_quote!(
                #[did(1, read = fn on() -> Result<u8, String>)]
                struct Lamp;
            ),
            &[],
        );
    }

    #[test]
    fn a_name_is_counted_in_characters() {
        let name = |text: &str| name_mistake(&LitStr::new(text, proc_macro2::Span::call_site()));
        assert_eq!(name(&"°".repeat(64)), None);
        assert_eq!(name(&"°".repeat(65)).unwrap(), "a name has at most 64 characters, this one has 65");
    }
}
