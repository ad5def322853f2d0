//! What a server does with a frame.

use anyhow::Result;
use bench_common::{Reply, Request};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::envelope::{CHANNEL_NAME, ECHO_BEGIN, Envelope, HELLO, READING_BEGIN};
use crate::framing::Framing;

/// Appends the answer to a frame.
pub fn answer<F: Framing>(frame: &[u8], framing: &mut F, out: &mut Vec<u8>) -> Result<()> {
    if F::IS_BLIND {
        out.extend_from_slice(frame);
        return Ok(());
    }
    if frame.starts_with(READING_BEGIN) {
        let request: Envelope<Request> = serde_json::from_slice(frame)?;
        let reply = Reply::to(&request.data);
        framing.put(&response(request, reply), out)
    } else if frame.starts_with(ECHO_BEGIN) {
        let mut request: Envelope<String> = serde_json::from_slice(frame)?;
        let text = std::mem::take(&mut request.data);
        framing.put(&response(request, text), out)
    } else {
        reserved(frame, framing, out)
    }
}

fn response<Q, A: Serialize>(request: Envelope<Q>, data: A) -> Envelope<A> {
    Envelope {
        data_id: request.data_id,
        service_id: request.service_id + 1,
        status: 0,
        data,
        message_id: request.message_id,
    }
}

/// What clients of the library say before they ask.
fn reserved<F: Framing>(frame: &[u8], framing: &mut F, out: &mut Vec<u8>) -> Result<()> {
    let request: Envelope<&RawValue> = serde_json::from_slice(frame)?;
    match request.service_id {
        HELLO => framing.put(&response(request, Hello::new(0)), out),
        CHANNEL_NAME => framing.put(&response(request, ()), out),
        // As the cancelling of a call: no answer is expected.
        _ => Ok(()),
    }
}

/// What HELLO says and is answered with.
#[derive(Debug, Serialize)]
pub struct Hello {
    session: String,
    features: [&'static str; 1],
    max_frame: u32,
    max_in_flight: u32,
}

impl Hello {
    /// The two sides have to have different numbers.
    pub fn new(side: u64) -> Self {
        let session = format!("{:016x}", (u64::from(std::process::id()) << 1) | side);
        Self { session, features: ["message_id"], max_frame: 8 << 20, max_in_flight: 4096 }
    }
}
