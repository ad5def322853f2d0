//! Collects mistakes, so that one build shows all of them.

use std::cell::RefCell;
use std::fmt::Display;
use std::thread;

use proc_macro2::Span;
use quote::ToTokens;

/// The mistakes found so far in one declaration.
///
/// [`Ctxt::finish`] has to be called in the end: dropping a context before would lose mistakes, and panics.
#[derive(Default)]
pub(crate) struct Ctxt {
    errors: RefCell<Vec<syn::Error>>,
    finished: bool,
}

impl Ctxt {
    /// Ends the collection: every mistake in the order of its report, combined into one error.
    pub(crate) fn finish(mut self) -> syn::Result<()> {
        self.finished = true;
        let combined = self.errors.take().into_iter().reduce(|mut all, next| {
            all.combine(next);
            all
        });
        combined.map_or(Ok(()), Err)
    }

    /// Reports a mistake under these tokens.
    pub(crate) fn error(&self, tokens: impl ToTokens, message: impl Display) {
        self.push(syn::Error::new_spanned(tokens, message));
    }

    /// Reports a mistake under a span.
    pub(crate) fn error_at(&self, span: Span, message: impl Display) {
        self.push(syn::Error::new(span, message));
    }

    /// Reports why a parser has no result.
    pub(crate) fn report<T>(&self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// Reports what a parser of syn found.
    pub(crate) fn push(&self, error: syn::Error) {
        self.errors.borrow_mut().push(error);
    }
}

impl Drop for Ctxt {
    fn drop(&mut self) {
        if !self.finished && !thread::panicking() {
            panic!("a declaration was parsed, but its mistakes were never looked at");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_come_out_in_order() {
        let ctxt = Ctxt::default();
        ctxt.error_at(Span::call_site(), "first");
        ctxt.error(quote::quote!(x), "second");
        let texts: Vec<_> = ctxt.finish().unwrap_err().into_iter().map(|error| error.to_string()).collect();
        assert_eq!(texts, ["first", "second"]);
    }

    #[test]
    fn no_mistake_is_a_success() {
        assert!(Ctxt::default().finish().is_ok());
    }

    #[test]
    #[should_panic(expected = "never looked at")]
    fn mistakes_cannot_be_forgotten() {
        drop(Ctxt::default());
    }
}
