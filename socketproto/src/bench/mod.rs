//! The parts of a message's way, for this crate's own benchmarks to run; no part of the public API.
//!
//! Each layer has a file with its cases.

#![expect(clippy::expect_used, clippy::panic, reason = "a measurement of what does not work is none")]

mod dialogue;
mod lines;
mod records;
mod services;

use std::fmt;

use bytestring::ByteString;
use serde_json::json;

use crate::id::{DataId, ServiceId, Status};
use crate::message::{Header, Json, Message};

/// The ids of all messages here.
const SERVICE: ServiceId = ServiceId::EXECUTE_REQUEST;
const DATUM: DataId = DataId::new(7);

/// Bytes of the frame of a usual call.
const CALL: usize = 129;
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// One part, at one size.
pub struct Case {
    name: String,
    bytes: usize,
    make: Box<dyn Fn() -> Step>,
}

/// Goes the part of the way once.
pub type Step = Box<dyn FnMut()>;

impl Case {
    /// Each of them.
    pub fn all() -> Vec<Self> {
        [lines::cases(), records::cases(), dialogue::cases(), services::cases()]
            .into_iter()
            .flatten()
            .collect()
    }

    fn new<S: FnMut() + 'static>(
        name: impl Into<String>,
        bytes: usize,
        make: impl Fn() -> S + 'static,
    ) -> Self {
        Self { name: name.into(), bytes, make: Box::new(move || Box::new(make())) }
    }

    /// The part, and its size, as in `framing/stp/read/1MiB`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of the frame that one step moves; 0 where it moves none.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes ready.
    pub fn start(&self) -> Step {
        (self.make)()
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A size as names of cases show it.
fn size(bytes: usize) -> String {
    match bytes {
        _ if bytes.is_multiple_of(MIB) => format!("{}MiB", bytes / MIB),
        _ if bytes.is_multiple_of(KIB) => format!("{}KiB", bytes / KIB),
        _ => bytes.to_string(),
    }
}

fn header(message_id: u64) -> Header {
    Header { service_id: SERVICE, data_id: DATUM, status: Status::OKAY, message_id: Some(message_id) }
}

/// A request whose JSON frame has this many bytes: a reading, or so many that they fill it.
fn request(frame: usize) -> Message {
    const ENVELOPE: usize =
        r#"{"data_id":7,"service_id":30,"status":0,"data":,"message_id":1234567}"#.len() + 4;
    let reading = json!({"sensor": "boiler-room-7", "unit": "celsius", "seq": 123_456}).to_string();
    let room = frame - ENVELOPE;
    let data = if room == reading.len() {
        reading
    } else {
        let mut data = format!("[{reading}");
        while data.len() + reading.len() + r#","","#.len() < room {
            data = data + "," + &reading;
        }
        let filled = data.len() + r#",""]"#.len();
        data + ",\"" + &"x".repeat(room - filled) + "\"]"
    };
    Message::from_parts(header(1_234_567), Json::from_valid(ByteString::from(data)))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::frame::{self, Format};

    #[test]
    fn requests_have_the_size_that_their_cases_name() {
        for bytes in [CALL, KIB, MIB] {
            let message = request(bytes);
            assert!(Json::from_text(message.json().as_str()).is_ok());
            let mut out = BytesMut::new();
            frame::encode(Format::Json, message.header(), message.json().as_str(), &mut out).unwrap();
            assert_eq!(out.len(), bytes);
        }
    }

    #[test]
    fn each_case_can_be_repeated_and_has_a_name_of_its_own() {
        let mut names = Vec::new();
        for case in Case::all() {
            let mut step = case.start();
            step();
            step();
            names.push(case.name().to_owned());
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
