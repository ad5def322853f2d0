//! stub
use proc_macro::TokenStream;
/// stub
#[proc_macro_derive(Service, attributes(service, sid, did))]
pub fn service(_: TokenStream) -> TokenStream { TokenStream::new() }
/// stub
#[proc_macro_derive(Client, attributes(service, sid, did))]
pub fn client(_: TokenStream) -> TokenStream { TokenStream::new() }
