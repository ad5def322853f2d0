//! Messages, frames and streams: the codecs alone.

use std::hint::black_box;

use bytes::{BufMut, Bytes, BytesMut};
use tokio_util::codec::Decoder;

use crate::bench::{CALL, Case, KIB, MIB, request, size};
use crate::frame::{self, Format};
use crate::framing::{Deframer, Framer, Framing, Piece};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for bytes in [CALL, KIB, MIB] {
        cases.push(Case::new(format!("frame/encode/{}", size(bytes)), bytes, move || encode(bytes)));
        cases.push(Case::new(format!("frame/decode/{}", size(bytes)), bytes, move || decode(bytes)));
        for framing in [Framing::Length, Framing::Stp] {
            let name =
                |what: &str| format!("framing/{}/{what}/{}", framing.to_string().to_lowercase(), size(bytes));
            cases.push(Case::new(name("write"), bytes, move || write(framing, bytes)));
            cases.push(Case::new(name("read"), bytes, move || read(framing, bytes)));
        }
    }
    cases
}

fn encode(bytes: usize) -> impl FnMut() {
    let message = request(bytes);
    let mut out = BytesMut::new();
    move || {
        out.clear();
        frame::encode(Format::Json, message.header(), message.json().as_str(), &mut out)
            .expect("the data are flat");
        black_box(&out);
    }
}

fn decode(bytes: usize) -> impl FnMut() {
    let frame = framed(bytes);
    move || {
        black_box(frame::decode(frame.clone()).expect("it was encoded"));
    }
}

fn write(framing: Framing, bytes: usize) -> impl FnMut() {
    let frame = framed(bytes);
    let mut framer = Framer::new(framing);
    let mut out = BytesMut::new();
    move || {
        out.clear();
        let put = |out: &mut BytesMut| {
            out.put_slice(&frame);
            Ok::<_, ()>(())
        };
        framer.frame(&mut out, put).expect("it has been encoded");
        black_box(&out);
    }
}

fn read(framing: Framing, bytes: usize) -> impl FnMut() {
    let stream = streamed(framing, bytes);
    let mut deframer = Deframer::new(framing, 2 * bytes);
    move || {
        let mut input = BytesMut::from(&stream[..]);
        let piece = deframer.decode(&mut input).expect("within the limit");
        assert!(matches!(black_box(piece), Some(Piece::Frame(_))));
    }
}

/// The frame of a request.
fn framed(bytes: usize) -> Bytes {
    let message = request(bytes);
    let mut out = BytesMut::new();
    frame::encode(Format::Json, message.header(), message.json().as_str(), &mut out)
        .expect("the data are flat");
    out.freeze()
}

/// The frame of a request on a stream.
pub(super) fn streamed(framing: Framing, bytes: usize) -> Bytes {
    let message = request(bytes);
    let mut out = BytesMut::new();
    let encode =
        |out: &mut BytesMut| frame::encode(Format::Json, message.header(), message.json().as_str(), out);
    Framer::new(framing).frame(&mut out, encode).expect("the data are flat");
    out.freeze()
}
