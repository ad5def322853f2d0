//! Frames in a stream of bytes.

mod blind;
mod length;
mod stp;

use anyhow::{Result, ensure};
use serde::Serialize;

pub use blind::Blind;
pub use length::Length;
pub use stp::Stp;

/// One direction of a connection.
pub trait Framing: Default + Send + 'static {
    /// Frames are given as they are, and nobody looks into them.
    const IS_BLIND: bool = false;

    /// Appends a frame.
    fn put(&mut self, message: &impl Serialize, out: &mut Vec<u8>) -> Result<()>;

    /// Gives the text of each whole frame, its checksum being right, and tells how many bytes are done with.
    fn take(&mut self, input: &[u8], each: impl FnMut(&[u8]) -> Result<()>) -> Result<usize>;

    /// The length of the frame that the input begins with, where that is known.
    fn wanted(_: &[u8]) -> usize {
        0
    }
}

/// The checksum's bytes behind the text.
const CHECKSUM: usize = 4;

fn checked(frame: &[u8]) -> Result<&[u8]> {
    ensure!(frame.len() > CHECKSUM, "a frame of {} bytes", frame.len());
    let (text, checksum) = frame.split_at(frame.len() - CHECKSUM);
    ensure!(crc32fast::hash(text).to_be_bytes() == checksum, "a wrong checksum");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the bytes in pieces of this size, as a buffer would.
    fn texts<F: Framing>(bytes: &[u8], piece: usize) -> Vec<String> {
        let (mut framing, mut pending, mut texts) = (F::default(), Vec::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            pending.extend_from_slice(piece);
            let done = framing.take(&pending, |text| {
                texts.push(String::from_utf8(text.to_vec())?);
                Ok(())
            });
            pending.drain(..done.unwrap());
        }
        assert!(pending.is_empty(), "{pending:?}");
        texts
    }

    fn round_trip<F: Framing>() {
        let (mut framing, mut out) = (F::default(), Vec::new());
        let messages = ["", ":", "a:b::c", "long:", &"x:".repeat(5000)];
        for message in messages {
            framing.put(&message, &mut out).unwrap();
        }
        let expected: Vec<_> = messages.iter().map(|message| format!("\"{message}\"")).collect();
        for piece in [1, 2, 7, 1000, out.len()] {
            assert_eq!(texts::<F>(&out, piece), expected, "in pieces of {piece}");
        }
        let middle = out.len() - 100;
        let byte = &mut out[middle..].iter_mut().find(|byte| **byte == b'x').unwrap();
        **byte = b'y';
        F::default().take(&out, |_| Ok(())).expect_err("a wrong checksum");
    }

    #[test]
    fn length_takes_what_it_puts() {
        round_trip::<Length>();
    }

    #[test]
    fn stp_takes_what_it_puts() {
        round_trip::<Stp>();
    }
}
