//! What has been read of a connection and not been taken yet.

use anyhow::Result;

use crate::framing::Framing;

/// The bytes that are read at once, until a frame is larger.
const LEAST: usize = 16 * 1024;

#[derive(Debug)]
pub struct Inbox<F> {
    bytes: Vec<u8>,
    filled: usize,
    framing: F,
}

impl<F: Framing> Inbox<F> {
    pub fn new() -> Self {
        Self { bytes: vec![0; LEAST], filled: 0, framing: F::default() }
    }

    /// Where to read to; never empty.
    pub fn free(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    /// So many bytes have been read: gives each frame that is whole now.
    pub fn take(&mut self, read: usize, each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.filled += read;
        let done = self.framing.take(&self.bytes[..self.filled], each)?;
        self.bytes.copy_within(done..self.filled, 0);
        self.filled -= done;
        let wanted = F::wanted(&self.bytes[..self.filled]).max(self.filled + 1);
        if wanted > self.bytes.len() {
            self.bytes.resize(wanted, 0);
        }
        Ok(())
    }
}
