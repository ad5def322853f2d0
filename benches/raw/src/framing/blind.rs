//! Frames with a length, that nobody looks into.

use anyhow::Result;
use serde::Serialize;

use crate::framing::length::end;
use crate::framing::{Framing, Length};

#[derive(Debug, Default)]
pub struct Blind {
    /// The only frame that is ever sent
    frame: Vec<u8>,
}

impl Framing for Blind {
    const IS_BLIND: bool = true;

    fn put(&mut self, message: &impl Serialize, out: &mut Vec<u8>) -> Result<()> {
        if self.frame.is_empty() {
            Length.put(message, &mut self.frame)?;
        }
        out.extend_from_slice(&self.frame);
        Ok(())
    }

    fn take(&mut self, input: &[u8], mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<usize> {
        let mut at = 0;
        while let Some(end) = end(&input[at..]).filter(|end| *end <= input.len() - at) {
            each(&input[at..at + end])?;
            at += end;
        }
        Ok(at)
    }

    fn wanted(input: &[u8]) -> usize {
        Length::wanted(input)
    }
}
