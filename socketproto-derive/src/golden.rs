//! Expansions as a reader would like to see them, compared with files in `golden/`.
//!
//! `GOLDEN=overwrite cargo test -p socketproto-derive golden` writes the files anew; read the difference.

use std::{env, fs, path::PathBuf};

use proc_macro2::TokenStream;
use syn::{DeriveInput, parse_quote};

use crate::{client, service};

fn check(name: &str, expansion: TokenStream) {
    let file = syn::parse2(expansion).expect("an expansion is a list of items");
    let pretty = prettyplease::unparse(&file);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("golden/{name}.rs"));
    if env::var_os("GOLDEN").is_some_and(|value| value == "overwrite") {
        fs::write(&path, &pretty).expect("the golden file can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(pretty == expected, "{} says otherwise:\n{pretty}", path.display());
}

#[test]
fn a_service_is_a_table_and_a_match() {
    let input: DeriveInput = parse_quote! {
        /// A room thermostat.
        #[service(name = "thermostat", hooks, own_thread)]
        #[sid(history, request = 40, response = 41)]
        #[did(3, read = fn uptime() -> u64, public)]
        #[did(RESET, execute = fn reset(cx, args: Reset) -> ResetDone)]
        #[did(5, execute = async fn calibrate(cx, from: f64, to: f64) -> f64, exclusive, timeout = "2m")]
        #[did(6, execute = fn measure(cx, times: u32) -> f64, blocking)]
        #[did(1, history = fn history(range: Range) -> Vec<Point>)]
        #[did(.., read, history, fallback = unknown)]
        pub struct Thermostat {
            /// Room temperature in °C.
            #[did(1, read, notify)]
            temperature: f64,
            #[did(2, read, write = set_setpoint)]
            setpoint: f64,
            #[did(7, write)]
            label: String,
            heater: Heater,
        }
    };
    check("service", service::derive(&input));
}

#[test]
fn parameters_and_bounds_pass_through() {
    let input: DeriveInput = parse_quote! {
        #[did(Self::SWAP, execute = fn swap(value: T) -> T)]
        struct Cell<T: Debug, const N: usize = 1>
        where
            T: Serialize + DeserializeOwned + 'static,
        {
            #[did(1, read, write)]
            value: T,
        }
    };
    check("generic_service", service::derive(&input));
    check("generic_client", client::derive(&input));
}

#[test]
fn a_client_has_a_method_for_each_operation_with_a_name() {
    let input: DeriveInput = parse_quote! {
        /// A room thermostat.
        #[service(crate = crate::reexport::protocol)]
        #[sid(history, request = 40, response = 41)]
        #[did(5, execute = async fn calibrate(cx, from: f64, to: f64) -> f64, timeout = "2m")]
        #[did(1, history = fn history(range: Range) -> Vec<Point>)]
        #[did(.., read, fallback = unknown)]
        pub(crate) struct Thermostat {
            /// Room temperature in °C.
            #[did(1, read)]
            temperature: f64,
            #[did(2, write = set_setpoint)]
            setpoint: f64,
        }
    };
    check("client", client::derive(&input));
}
