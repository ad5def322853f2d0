//! One message as JSON.

use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, Serialize)]
pub struct Envelope<T> {
    pub data_id: u32,
    pub service_id: u32,
    pub status: u32,
    pub data: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<u64>,
}

/// The service that is asked. Its answers have the next id, as those of every service here.
pub const EXECUTE: u32 = 30;
/// A small request with a small answer.
pub const READING: u32 = 7;
/// A text that comes back.
pub const ECHO: u32 = 8;
pub const HELLO: u32 = 0xFFFF_0000;
pub const CHANNEL_NAME: u32 = 8;

/// How texts of [`READING`] begin: what the data are is known before they are parsed, so they are parsed once.
pub const READING_BEGIN: &[u8] = br#"{"data_id":7,"service_id":30,"#;
pub const ECHO_BEGIN: &[u8] = br#"{"data_id":8,"service_id":30,"#;
