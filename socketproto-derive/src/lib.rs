//! The derive macros of socketproto: a service and its client from one declaration.
//!
//! Use them through the crate `socketproto`, which has the traits they implement and re-exports both.
//!
//! ```ignore
//! use socketproto::prelude::*;
//!
//! /// A room thermostat.
//! #[derive(Service, Client)]
//! #[service(name = "thermostat")]
//! #[sid(history, request = 40, response = 41)]
//! #[did(3, read = fn uptime() -> u64, public)]
//! #[did(4, execute = async fn calibrate(cx, from: f64, to: f64) -> f64, exclusive, timeout = "120s")]
//! #[did(1, history = fn history(range: Range) -> Vec<Point>)]
//! #[did(.., read, fallback = unknown)]
//! pub struct Thermostat {
//!     /// Room temperature in °C.
//!     #[did(1, read, notify)]
//!     temperature: f64,
//!     /// Target temperature in °C, 5 to 30.
//!     #[did(2, read, write = set_setpoint, notify)]
//!     setpoint: f64,
//!     heater: Heater,
//! }
//!
//! impl Thermostat {
//!     fn uptime(&mut self) -> u64 {
//!         self.heater.uptime()
//!     }
//!
//!     fn set_setpoint(&mut self, value: f64) -> Result<(), Fault> {
//!         if !(5.0..=30.0).contains(&value) {
//!             return Err(Fault::not_permitted("5 to 30 °C"));
//!         }
//!         self.setpoint = value;
//!         Ok(())
//!     }
//!
//!     async fn calibrate(cx: Call<Self>, from: f64, to: f64) -> Result<f64, Fault> {
//!         measure().await?;
//!         Ok(cx.actor(|this| { this.temperature += to - from; this.temperature }).await)
//!     }
//!
//!     fn history(&mut self, range: Range) -> Vec<Point> {
//!         self.heater.last(range)
//!     }
//!
//!     fn unknown(&mut self, data_id: DataId, data: Json) -> Result<Json, Fault> {
//!         Err(Fault::unknown(format!("no {data_id}")))
//!     }
//! }
//! ```
//!
//! # The grammar
//!
//! Both derives read the same attributes. They belong to a struct with named fields, or without fields.
//!
//! ## `#[service(..)]` on the struct
//!
//! | word | meaning |
//! | --- | --- |
//! | `name = ".."` | the name of the service in logs and catalogues; else that of the struct |
//! | `crate = path` | where socketproto is found; else `::socketproto` |
//! | `hooks` | the service implements `Lifecycle` and is told of its start, its peers and its end |
//! | `own_thread` | the service runs on a thread of its own, `socketproto-NAME`; what blocks there holds up nobody else |
//! | `actor` | the struct is an actix actor, which stays where it was started; needs the feature `actix` |
//!
//! ## `#[sid(NAME, request = N, response = M)]` on the struct
//!
//! A service beside read, write and execute. Its name is a word in the `#[did]` of the struct, written as `execute` is.
//! Both service ids are literal numbers: the derive compares them with each other and with those that are taken (0, 1,
//! 8 and 9, those of read, write and execute, and all from 0xFFFF0000 on). Services of one server may declare the same
//! pair; a derived client brings its pairs along and needs no `add_service`. (Of two `#[sid]` on one struct, clippy's
//! lint `duplicated_attributes` sees the same words and not the numbers; `allow` it there.)
//!
//! ## `#[did(ID, ..)]` on a field or on the struct
//!
//! The data id comes first: a number that fits a `u32`, or the path of a constant, a `u32` or a `DataId`. On the struct
//! the path may begin with `Self`. Words follow, separated by commas; a field or a struct may have several `#[did]`.
//!
//! | word | on a field | on the struct |
//! | --- | --- | --- |
//! | `read` | the field is the value | |
//! | `read = fn name(..) -> T` | | the method computes the value |
//! | `write` | the value is stored, unchecked | |
//! | `write = method` | `self.method(value)` judges and stores it | |
//! | `write = fn name(..)` | | the method takes the value |
//! | `execute = fn name(..) -> T` | | the method carries out the command |
//! | `NAME = fn name(..) -> T` | | the method serves the `#[sid(NAME, ..)]` |
//! | `notify` | marks what is read as something to subscribe to; it has no effect yet | the same |
//! | `public` | peers that have not authenticated may use it, all its operations | the same |
//! | `exclusive` | | no other request of the service begins while the method runs |
//! | `blocking` | | the method runs on a thread of the blocking pool |
//! | `no_cancel` | | the method runs to its end when nobody waits for it any more |
//! | `timeout = "120s"` | | how long it may take, from 1ms to 24h, in ms, s, m or h; else the endpoint's limit |
//! | `name = ".."` | the name of the datum; else that of the field | else that of the method |
//!
//! At least one operation is needed, and each operation on an id may be declared once. That is checked for numbers and
//! equal paths at once, and for constants by assertions in the expansion; only constants that depend on the parameters
//! of a generic struct are left to the server, which compares all ids when it is built. Names have 1 to 64 characters,
//! none of them a control character.
//!
//! ## `#[did(.., ..)]` on the struct
//!
//! `#[did(.., read, fallback = method)]` takes every data id of a service that nobody declares for it, on this server:
//! the flags name the services, `read`, `write`, `execute` or those of `#[sid]`, several at once. Declared ids win. The
//! method is `fn method(&mut self, data_id: DataId, data: Json)` and returns `Json`, or a `Result` of it; the id is that
//! on the wire, however the service is shifted. The client has no method for it; `name` is taken, other words are not.
//!
//! ## Methods
//!
//! | declared | called as | runs |
//! | --- | --- | --- |
//! | `fn name(a: A, b: B) -> T` | `self.name(a, b)` | to its end, on `&mut self` or `&self` |
//! | `async fn name(a: A, b: B) -> T` | `Self::name(a, b)` | while the service answers others; it has no `self` |
//! | `fn name(a: A) -> T` with `blocking` | `Self::name(a)` | on a thread where it may block; it has no `self`, its arguments are `Send` |
//!
//! - A bare `cx`, at any place among the arguments, asks for the context of the call, a `Call<Self>`; in a
//!   `blocking` method it is a `BlockingCall<Self>`, in an `actor` an `ActorCall<Self>`.
//! - No argument travels as null, one as itself, several (at most 16) as a JSON array. They are owned types that
//!   implement serde's `Deserialize`, and for the client `Serialize`. The method is called when all could be decoded.
//! - `T`, or `()` where none is declared, is the value alone, and implements `Serialize`, for the client `Deserialize`.
//!   The method may return `T`, or `Result<T, E>` where `E: Into<Fault>`.
//!
//! `exclusive` is for methods that wait, async or blocking. Requests that come meanwhile wait in order; steps through
//! `cx.actor` and methods that ran before go on. While the method itself waits for an answer of its peer, through
//! `cx.peer()`, further requests of that peer are answered with status 2 at once, for it may wait for them.
//!
//! A method is dropped when its peer has gone or its time is over, at the place where it waits. With `no_cancel` it is
//! not, unless the service itself ends; one that had not begun is dropped all the same. A blocking method is never dropped.
//!
//! Doc comments of the struct and its fields become descriptions in the table, and the docs of the client's methods.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod ast;
mod attr;
mod check;
mod client;
mod ctxt;
mod duration;
mod fallback;
mod generics;
#[cfg(test)]
mod golden;
mod service;
mod sid;
mod signature;
mod symbol;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct a service: its table, and the way from a request to the field or method that serves it.
///
/// See the [crate's documentation](crate) for the attributes. Entries stand in the table in the order of the source;
/// those of one `#[did]` in the order of its words.
#[proc_macro_derive(Service, attributes(service, sid, did))]
pub fn service(input: TokenStream) -> TokenStream {
    service::derive(&parse_macro_input!(input as DeriveInput)).into()
}

/// Makes a typed client: for `Thermostat` a `ThermostatClient`, as visible as the struct.
///
/// See the [crate's documentation](crate) for the attributes. `ThermostatClient::new(&peer)` calls the declared ids,
/// `ThermostatClient::at(&peer, 100)` those shifted by 100. The methods return a `PendingCall` of the value:
///
/// | declared | method |
/// | --- | --- |
/// | `read` on the field `setpoint: f64` | `setpoint()` |
/// | `write` on it, with a method or not | `set_setpoint(value: f64)` |
/// | `fn name(cx, a: A) -> T` on the struct | `name(a: A)` |
///
/// A call of a datum with a `timeout` waits for that time and the usual 10 s, all others 10 s.
///
/// Two operations that would get a method of the same name, or one called `new` or `at`, are refused. A struct that
/// derives the client alone needs none of the methods it names.
#[proc_macro_derive(Client, attributes(service, sid, did))]
pub fn client(input: TokenStream) -> TokenStream {
    client::derive(&parse_macro_input!(input as DeriveInput)).into()
}
