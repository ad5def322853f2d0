//! The sending side of both framings.

use std::{fmt, mem};

use bytes::BytesMut;
use tokio_util::codec::Encoder;

use super::{Framing, FramingError, MAX_FRAME, length, stp};

/// Puts frames on a stream.
pub struct Framer {
    framing: Framing,
    scratch: BytesMut,
}

impl Framer {
    /// An encoder for one direction of a stream.
    pub fn new(framing: Framing) -> Self {
        Self { framing, scratch: BytesMut::new() }
    }

    /// Keeps no room for frames to come.
    pub(crate) fn shrink(&mut self) {
        // Between frames it is empty.
        self.scratch = BytesMut::new();
    }

    /// Appends one frame to `out` and returns its length without the framing. `payload` appends the frame to the
    /// buffer it is given and must leave alone what is there already.
    ///
    /// Length framing lets `payload` write in place. A frame above [`MAX_FRAME`] is for `payload` to refuse.
    ///
    /// # Errors
    /// What `payload` reports; `out` is then as before.
    pub fn frame<E>(
        &mut self,
        out: &mut BytesMut,
        payload: impl FnOnce(&mut BytesMut) -> Result<(), E>,
    ) -> Result<usize, E> {
        match self.framing {
            Framing::Length => length::frame(out, payload),
            Framing::Stp => {
                // Taken, so that after an error or a panic the scratch is empty.
                let mut scratch = mem::take(&mut self.scratch);
                let outcome = payload(&mut scratch);
                let length = scratch.len();
                if outcome.is_ok() {
                    stp::stuff(&scratch, out);
                }
                if scratch.capacity() <= KEPT_SCRATCH {
                    scratch.clear();
                    self.scratch = scratch;
                }
                outcome.map(|()| length)
            }
        }
    }
}

impl Encoder<&[u8]> for Framer {
    type Error = FramingError;

    fn encode(&mut self, frame: &[u8], out: &mut BytesMut) -> Result<(), FramingError> {
        if frame.len() > MAX_FRAME {
            return Err(FramingError::TooLarge { found: frame.len(), limit: MAX_FRAME });
        }
        match self.framing {
            Framing::Stp => stp::stuff(frame, out),
            Framing::Length => length::put(frame, out),
        }
        Ok(())
    }
}

/// Shows no bytes: payloads stay out of logs.
impl fmt::Debug for Framer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framer").field("framing", &self.framing).finish_non_exhaustive()
    }
}

/// A larger scratch is given back after use: a connection that once sent a large frame costs no more than others.
const KEPT_SCRATCH: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    /// Writes a frame that is ready.
    fn write(frame: &[u8]) -> impl FnOnce(&mut BytesMut) -> Result<(), ()> {
        |out| {
            out.put_slice(frame);
            Ok(())
        }
    }

    #[test]
    fn both_ways_to_frame_give_equal_bytes() {
        for framing in [Framing::Stp, Framing::Length] {
            let mut framer = Framer::new(framing);
            let (mut in_place, mut copied) = (BytesMut::new(), BytesMut::new());
            framer.frame(&mut in_place, write(b":a:=")).unwrap();
            framer.encode(b":a:=", &mut copied).unwrap();
            assert_eq!(in_place, copied);
        }
    }

    #[test]
    fn a_frame_above_every_limit_is_refused() {
        let mut out = BytesMut::from("before");
        let frame = vec![0; MAX_FRAME + 1];
        let error = Framer::new(Framing::Length).encode(&frame, &mut out).unwrap_err();
        assert!(matches!(error, FramingError::TooLarge { limit: MAX_FRAME, .. }));
        assert_eq!(out, "before");
    }

    #[test]
    fn a_refused_frame_leaves_the_stream_as_before() {
        for framing in [Framing::Stp, Framing::Length] {
            let mut framer = Framer::new(framing);
            let mut out = BytesMut::from("before");
            let refused = framer.frame(&mut out, |out| {
                out.put_slice(b"half a frame");
                Err("refused")
            });
            assert_eq!(refused, Err("refused"));
            assert_eq!(out, "before");

            assert_eq!(framer.frame(&mut out, write(b"a:b")), Ok(3));
            let expected: &[u8] = match framing {
                Framing::Stp => b"before:<a:=b:>",
                Framing::Length => b"before\0\0\0\x03a:b",
            };
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn a_large_scratch_is_given_back() {
        let mut framer = Framer::new(Framing::Stp);
        for length in [10, KEPT_SCRATCH + 1] {
            let mut out = BytesMut::new();
            let frame = vec![b'x'; length];
            framer.frame(&mut out, write(&frame)).unwrap();
            assert_eq!(out.len(), length + 4);
            assert!(framer.scratch.is_empty() && framer.scratch.capacity() <= KEPT_SCRATCH);
            framer.shrink();
            assert_eq!(framer.scratch.capacity(), 0);
        }
    }
}
