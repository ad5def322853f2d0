#![doc = include_str!("../../README.md")]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod actor;
mod callback;
mod client;
mod endpoint;
mod error;
mod fault;
pub mod frame;
pub mod framing;
mod id;
mod limits;
mod link;
mod message;
mod peer;
mod registry;
mod secret;
mod server;
mod service;
mod session;
mod transport;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use client::{Client, ClientBuilder};
pub use error::{Cause, Error, Operation, Result};
pub use fault::Fault;
pub use id::{AuthState, DataId, ServiceId, Status};
pub use limits::Limits;
pub use message::{Header, Json, MAX_MESSAGE_ID, Message};
pub use peer::{DEFAULT_CALL_TIMEOUT, Peer, PendingCall};
pub use secret::Secret;
pub use server::{Server, ServerBuilder};
pub use service::{Call, Entry, Service, ServiceTable};
#[cfg(feature = "derive")]
pub use socketproto_derive::{Client, Service};

/// What most programs need.
///
/// It leaves out names that clash with others' preludes, such as `Message` and `Result`.
pub mod prelude {
    pub use crate::{Call, Client, DataId, Fault, Json, Peer, Secret, Server, Service, ServiceId, Status};
}
