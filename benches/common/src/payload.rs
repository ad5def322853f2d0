//! What is sent: the same fields by every program.

use serde::{Deserialize, Serialize};

/// What is asked.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Request {
    pub sensor: String,
    pub unit: String,
    pub seq: u64,
}

impl Request {
    pub fn new(seq: u64) -> Self {
        Self { sensor: "boiler-room-7".to_owned(), unit: "celsius".to_owned(), seq }
    }
}

/// What is answered.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Reply {
    pub seq: u64,
    pub value: f64,
    pub ok: bool,
}

impl Reply {
    /// What every server answers.
    pub fn to(request: &Request) -> Self {
        Self { seq: request.seq, value: 21.5, ok: true }
    }
}

/// The length of [`text`].
pub const TEXT_LEN: usize = 1 << 20;

/// The large text: letters and digits, nothing that JSON escapes.
pub fn text() -> String {
    const ALPHABET: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ";
    ALPHABET.iter().cycle().take(TEXT_LEN).map(|&byte| char::from(byte)).collect()
}
