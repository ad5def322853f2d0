//! What is emitted beside the reported mistakes.
//!
//! The trait is implemented and the client exists, so that one typo does not make rustc report every use of either.

use proc_macro2::TokenStream;

use crate::ast::Declaration;
use crate::{client, service};

/// A service that offers nothing.
pub(crate) fn empty_service(declaration: &Declaration<'_>) -> TokenStream {
    service::implement(declaration, &[], &[], &[])
}

/// A client that can be made, and calls nothing.
pub(crate) fn empty_client(declaration: &Declaration<'_>) -> TokenStream {
    client::implement(declaration, &[])
}
