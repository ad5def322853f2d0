//! TLS, as a transport (protocol.md section 5).
//!
//! A client speaks it on `tls://`. A listener takes it where it has a certificate, told by the first byte: see
//! `transport/upgrade.rs`.

mod client;
mod line;
mod pem;
mod reason;
mod server;

pub use client::ClientTls;
pub(crate) use client::Connector;
#[cfg(feature = "websocket")]
pub(crate) use client::ToHost;
pub use server::ServerTls;
