//! Rules of the words that say how requests are served.

use syn::Ident;

use crate::ast::{Datum, Declaration, Handler, Signature};
use crate::ctxt::Ctxt;
use crate::symbol::Place;

/// The ids behind `..` have no names and no types; one method takes all of them.
pub(super) fn a_fallback_has_a_method(ctxt: &Ctxt, declaration: &Declaration<'_>) {
    for datum in declaration.data.iter().filter(|datum| datum.place == Place::Rest && datum.is_complete) {
        if datum.fallback.is_none() {
            let message =
                "`..` needs the method that takes all other ids: `#[did(.., read, fallback = method)]`";
            ctxt.error_at(datum.id.span(), message);
        }
    }
}

/// A sync method runs to its end before the next request, whatever is written.
pub(super) fn what_waits_can_be_exclusive(ctxt: &Ctxt, declaration: &Declaration<'_>) {
    for datum in declaration.data.iter().filter(|datum| datum.blocking.is_none()) {
        let Some((word, method)) = datum.exclusive.as_ref().zip(sync_method(datum)) else { continue };
        ctxt.error(
            word,
            format!("`exclusive` needs an `async fn` or `blocking`: `{method}` excludes others anyway"),
        );
    }
}

/// Only what waits can be dropped meanwhile.
pub(super) fn what_waits_can_be_cancelled(ctxt: &Ctxt, declaration: &Declaration<'_>) {
    for datum in &declaration.data {
        let Some(word) = &datum.no_cancel else { continue };
        let reason = if datum.blocking.is_some() {
            "a `blocking` method always runs to its end".to_owned()
        } else if let Some(method) = sync_method(datum) {
            format!("`{method}` runs to its end anyway")
        } else {
            continue;
        };
        ctxt.error(word, format!("`no_cancel` needs an `async fn`: {reason}; leave it out"));
    }
}

/// A thread of the pool is for code that does not wait politely.
pub(super) fn what_blocks_is_no_async_method(ctxt: &Ctxt, declaration: &Declaration<'_>) {
    for datum in &declaration.data {
        let asynchronous = methods(datum).find(|signature| signature.is_async);
        let Some((word, method)) = datum.blocking.as_ref().zip(asynchronous) else { continue };
        let name = &method.ident;
        ctxt.error(
            word,
            format!("`blocking` runs a plain `fn` on a thread of its own: `{name}` is async, leave one out"),
        );
    }
}

/// Where an actor lives is decided where it is started.
pub(super) fn an_actor_has_its_own_place(ctxt: &Ctxt, declaration: &Declaration<'_>) {
    if let (Some(_), Some(word)) = (&declaration.actor, &declaration.own_thread) {
        ctxt.error(
            word,
            "`own_thread` is for services that are no actors: start the actor on an arbiter of its own",
        );
    }
}

fn methods(datum: &Datum) -> impl Iterator<Item = &Signature> {
    datum.operations.iter().filter_map(|operation| match &operation.handler {
        Handler::Method(signature) => Some(signature),
        _ => None,
    })
}

fn sync_method(datum: &Datum) -> Option<&Ident> {
    methods(datum).find(|signature| !signature.is_async).map(|signature| &signature.ident)
}
