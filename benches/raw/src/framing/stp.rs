//! Byte stuffing: `:<`, the frame with `:=` for each `:`, `:>`.

use anyhow::{Result, bail};
use memchr::memchr;
use serde::Serialize;

use crate::framing::{Framing, checked};

#[derive(Debug, Default)]
pub struct Stp {
    /// A frame without its stuffing: the one that is being read, or the last one written
    frame: Vec<u8>,
    is_inside: bool,
}

const ESCAPE: u8 = b':';

impl Framing for Stp {
    fn put(&mut self, message: &impl Serialize, out: &mut Vec<u8>) -> Result<()> {
        self.frame.clear();
        serde_json::to_writer(&mut self.frame, message)?;
        let checksum = crc32fast::hash(&self.frame);
        self.frame.extend_from_slice(&checksum.to_be_bytes());
        out.extend_from_slice(b":<");
        let mut rest = &self.frame[..];
        while let Some(escape) = memchr(ESCAPE, rest) {
            out.extend_from_slice(&rest[..=escape]);
            out.push(b'=');
            rest = &rest[escape + 1..];
        }
        out.extend_from_slice(rest);
        out.extend_from_slice(b":>");
        Ok(())
    }

    fn take(&mut self, input: &[u8], mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<usize> {
        let mut at = 0;
        while at < input.len() {
            let rest = &input[at..];
            let Some(escape) = memchr(ESCAPE, rest) else {
                self.frame.extend_from_slice(rest);
                return Ok(input.len());
            };
            self.frame.extend_from_slice(&rest[..escape]);
            let Some(&word) = rest.get(escape + 1) else {
                return Ok(at + escape);
            };
            at += escape + 2;
            match (word, self.is_inside) {
                (b'<', false) => {
                    self.is_inside = true;
                    self.frame.clear();
                }
                (b'=', true) => self.frame.push(ESCAPE),
                (b'>', true) => {
                    self.is_inside = false;
                    each(checked(&self.frame)?)?;
                }
                _ => bail!("noise in the stream"),
            }
        }
        Ok(at)
    }
}
