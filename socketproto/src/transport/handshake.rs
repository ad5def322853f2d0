//! What went wrong in the handshake of a line.

use std::error::Error;
use std::fmt;
use std::io;

/// A handshake that failed although somebody was there to do it with. It travels as an [`io::Error`].
#[derive(Debug)]
pub(crate) struct HandshakeFailed {
    reason: String,
    lasting: bool,
}

impl HandshakeFailed {
    /// `lasting`: until somebody changes something, as a certificate; else it may work when it is tried again.
    pub(crate) fn error(reason: impl Into<String>, lasting: bool) -> io::Error {
        io::Error::other(Self { reason: reason.into(), lasting })
    }

    /// Finds it in an error.
    pub(crate) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    pub(crate) fn is_lasting(&self) -> bool {
        self.lasting
    }
}

impl fmt::Display for HandshakeFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Error for HandshakeFailed {}
