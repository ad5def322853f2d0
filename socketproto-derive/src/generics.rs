//! Tokens of the struct that have to be read outside it.

use proc_macro2::{Group, TokenStream, TokenTree};
use syn::{GenericParam, Generics};

/// Puts the named type where the tokens say `Self`.
pub(crate) fn replace_self(tokens: TokenStream, named: &TokenStream) -> TokenStream {
    let replace = |token| match token {
        TokenTree::Ident(ident) if ident == "Self" => named.clone(),
        TokenTree::Group(group) => {
            let mut replaced = Group::new(group.delimiter(), replace_self(group.stream(), named));
            replaced.set_span(group.span());
            TokenTree::Group(replaced).into()
        }
        other => other.into(),
    };
    tokens.into_iter().flat_map(replace).collect()
}

/// Whether the tokens need the generics: they name a parameter, or `Self`.
pub(crate) fn mentions(tokens: TokenStream, generics: &Generics) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => {
            ident == "Self" || generics.params.iter().any(|param| is_named(param, &ident))
        }
        TokenTree::Group(group) => mentions(group.stream(), generics),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

fn is_named(param: &GenericParam, name: &proc_macro2::Ident) -> bool {
    match param {
        GenericParam::Type(param) => param.ident == *name,
        GenericParam::Const(param) => param.ident == *name,
        GenericParam::Lifetime(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;
    use syn::parse_quote;

    use super::*;

    #[test]
    fn self_is_replaced_at_any_depth() {
        let tokens = replace_self(quote!(Vec<[Self; 2]>), &quote!(Node::<T>));
        assert_eq!(tokens.to_string(), quote!(Vec<[Node::<T>; 2]>).to_string());
    }

    #[test]
    fn a_path_needs_the_generics_it_names() {
        let generics: Generics = parse_quote!(<'a, T, const N: usize>);
        for needing in [quote!(Self::ID), quote!(Of::<T>::ID), quote!(f(N))] {
            assert!(mentions(needing.clone(), &generics), "{needing}");
        }
        assert!(!mentions(quote!(ids::ID), &generics));
    }
}
