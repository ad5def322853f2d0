//! A length of four bytes before each frame.

use anyhow::Result;
use serde::Serialize;

use crate::framing::{Framing, checked};

#[derive(Debug, Default)]
pub struct Length;

const PREFIX: usize = 4;

impl Framing for Length {
    fn put(&mut self, message: &impl Serialize, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        out.extend_from_slice(&[0; PREFIX]);
        serde_json::to_writer(&mut *out, message)?;
        let checksum = crc32fast::hash(&out[start + PREFIX..]);
        out.extend_from_slice(&checksum.to_be_bytes());
        let length = (out.len() - start - PREFIX) as u32;
        out[start..start + PREFIX].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    fn take(&mut self, input: &[u8], mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<usize> {
        let mut at = 0;
        while let Some(end) = end(&input[at..]).filter(|end| *end <= input.len() - at) {
            each(checked(&input[at + PREFIX..at + end])?)?;
            at += end;
        }
        Ok(at)
    }

    fn wanted(input: &[u8]) -> usize {
        end(input).unwrap_or_default()
    }
}

/// Where the first frame ends.
pub(super) fn end(input: &[u8]) -> Option<usize> {
    let length = input.first_chunk::<PREFIX>()?;
    Some(PREFIX + u32::from_be_bytes(*length) as usize)
}
