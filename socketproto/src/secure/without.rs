//! What stands for secure mode where the feature `secure` is off: nothing that could ever exist.

use bytes::BytesMut;

use crate::secure::{Accepted, Kind, Refused};

/// There is none.
#[derive(Debug)]
pub(crate) enum Initiator {}

impl Initiator {
    pub(crate) fn finish(self, _: &Accepted) -> Result<Channel, Refused> {
        match self {}
    }

    pub(crate) fn take(&mut self, _: &Accepted) -> Result<(), Refused> {
        match *self {}
    }

    pub(crate) fn into_channel(self) -> Result<Channel, Refused> {
        match self {}
    }
}

/// There is none.
#[derive(Debug)]
pub(crate) enum Channel {}

impl Channel {
    pub(crate) fn seal(&mut self, _: &[u8], _: &mut BytesMut) -> Result<(), Refused> {
        match *self {}
    }

    pub(crate) fn open(&mut self, _: &[u8], _: &mut BytesMut) -> Result<Kind, Refused> {
        match *self {}
    }
}
