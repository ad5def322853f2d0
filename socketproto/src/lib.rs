//! Point-to-point services over checksummed JSON frames.
//!
//! A message is a service id (what kind of communication), a data id (which datum), a status and JSON data. An annotated
//! struct becomes a service that runs as an actor of its own, and a typed client for it:
//!
//! ```
//! use socketproto::prelude::*;
//!
//! #[derive(Service, Client)]
//! #[did(2, execute = fn toggle() -> bool)]
//! struct Lamp {
//!     /// Whether it shines.
//!     #[did(1, read, write)]
//!     on: bool,
//! }
//!
//! impl Lamp {
//!     fn toggle(&mut self) -> bool {
//!         self.on = !self.on;
//!         self.on
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> socketproto::Result<()> {
//! let server = Server::bind("tcp://127.0.0.1:0").service(Lamp { on: false }).start().await?;
//! let client = Client::connect(server.address()).await?;
//! let lamp = LampClient::new(&client);
//! assert!(lamp.toggle().await?);
//! assert!(lamp.on().await?);
//! # Ok(()) }
//! ```
//!
//! # Where things are
//!
//! - [`Server`] and [`Client`](struct@Client) are the two sides; [`Peer`] is the other one, as a handler or a client sees it.
//! - [`Service`](macro@Service) and [`Client`](macro@Client) are the derive macros, with the grammar of `#[did(..)]`.
//! - [`Runtime`] is threads for servers and clients, where one for all of them is not enough.
//! - [`Protocol`] sends and receives message by message, with the functions of the Python library.
//! - [`Fault`] is what a handler answers when it refuses; [`Error`] is what a caller gets.
//! - [`Secret`] is what both sides know; [`Limits`] is what a peer may use up.
//! - [`testing`] disturbs the lines of `mem://` listeners, for tests of programs that use this crate.
//! - [`transport`] has the lines, and the traits for lines of your own.
//! - [`frame`] and [`framing`] are the codecs, for programs that speak the protocol by other means.
//!
//! # Runtimes
//!
//! Connections and handlers run on one thread of their own, which the first server or client starts; inside an actix
//! system they run on the thread of the caller. A server may have several threads ([`ServerBuilder::workers`]), and servers
//! and clients may share some ([`Runtime`]). Handles are `Send`, `Sync` and `Clone`, and their futures can be awaited
//! on any executor. In handlers `tokio::spawn` spawns onto the handlers' thread, and code that blocks holds up all
//! connections of that thread.
//!
//! A handler that panics costs its caller an error and nobody anything else, provided that the program is built with
//! `panic = "unwind"`, the default.
//!
//! # Features
//!
//! - `derive` (default): the derive macros.
//! - `unix` (default): Unix sockets (`unix://`), and listeners handed over by systemd (`systemd://`), on Unix.
//! - `secure` (default): secure mode; without it a secret proves a client in clear alone ([`Level::Legacy`]).
//! - `actix`: services that are actix actors already.
//! - `serial`: serial lines, `serial:///dev/ttyUSB0`, on Unix.
//! - `blocking`: the same API for programs without a runtime.
//! - `tls`: `tls://` addresses, and TLS beside frames on `tcp://`: `ServerTls`, `ClientTls`.
//! - `websocket`: `ws://` addresses, with `tls` `wss://` too, and `ServerBuilder::websocket`: browsers as clients.
//! - `full`: all of them.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
// What a peer sent gets an error, never a panic. Modules that take it apart deny indexing and unchecked arithmetic as well.
#![cfg_attr(not(test), deny(clippy::expect_used, clippy::panic, clippy::unwrap_used))]

#[cfg(feature = "actix")]
pub mod actix;
mod actor;
mod backoff;
#[cfg(feature = "_bench")]
#[doc(hidden)]
pub mod bench;
#[cfg(feature = "blocking")]
pub mod blocking;
mod callback;
mod client;
mod contain;
mod credentials;
mod endpoint;
mod error;
mod event;
mod fault;
pub mod frame;
pub mod framing;
mod hosted;
mod id;
mod limits;
mod link;
mod mailbox;
mod message;
mod names;
mod peer;
mod pending;
mod protocol;
mod registering;
mod registry;
mod routes;
mod secret;
mod secure;
mod server;
mod service;
mod session;
mod signals;
mod strings;
pub mod testing;
pub mod transport;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use actor::runtime::{Runtime, RuntimeBuilder};
pub use backoff::Backoff;
pub use client::{Client, ClientBuilder};
pub use error::{Cause, Error, Operation, Result};
pub use event::ConnectionEvent;
pub use fault::Fault;
pub use hosted::{Hosted, IntoService};
pub use id::{AuthState, DataId, Level, ServiceId, ServiceIds, Status};
pub use limits::{LimitCounts, Limits};
pub use message::{Header, Json, MAX_MESSAGE_ID, Message};
pub use peer::{DEFAULT_CALL_TIMEOUT, Peer, PendingCall};
pub use protocol::{
    DEFAULT_AUTHENTICATE_TIMEOUT, DEFAULT_RECEIVE_TIMEOUT, DEFAULT_SEND_TIMEOUT, Protocol, ProtocolCall,
};
pub use secret::Secret;
pub use server::{Server, ServerBuilder};
pub use service::{BlockingCall, Call, Entry, Lifecycle, OwnService, Service, ServiceTable};
#[cfg(feature = "derive")]
pub use socketproto_derive::{Client, Service};
#[cfg(feature = "tls")]
pub use transport::{ClientTls, ServerTls};

/// What most programs need.
///
/// It leaves out names that clash with others' preludes, such as `Message` and `Result`.
pub mod prelude {
    pub use crate::{Call, Client, DataId, Fault, Json, Peer, Secret, Server, Service, ServiceId, Status};
}

/// The lines of `docs/porting.md`, compiled. The page lies outside of the package, so only this repository has it.
#[cfg(doctest)]
#[doc = include_str!("../../docs/porting.md")]
struct Porting;

/// Those of `docs/transports.md`, in the same way.
#[cfg(all(doctest, feature = "tls", feature = "websocket"))]
#[doc = include_str!("../../docs/transports.md")]
struct Transports;
