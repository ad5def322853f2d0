//! Point-to-point services.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod error;
mod fault;
pub mod frame;
pub mod framing;
mod id;
mod limits;
mod link;
mod message;
mod peer;
mod service;
mod session;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use error::{Cause, Error, Operation, Result};
pub use fault::Fault;
pub use id::{AuthState, DataId, ServiceId, Status};
pub use limits::Limits;
pub use message::{Header, Json, Message};
pub use peer::{Peer, PendingCall};
pub use service::{Call, Entry, Service, ServiceTable};
#[cfg(feature = "derive")]
pub use socketproto_derive::{Client, Service};

/// What most programs need.
pub mod prelude {
    pub use crate::{Call, DataId, Fault, Json, Peer, Service, ServiceId, Status};
    #[cfg(feature = "derive")]
    pub use crate::Client;
}
