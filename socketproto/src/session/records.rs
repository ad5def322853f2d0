//! The stream of frames inside records (protocol.md 5.2): what waits to be sealed, and what has been opened.

use bytes::{Buf, BufMut, BytesMut};

use crate::fault::FloorCharBoundary;
use crate::framing::{Framer, Framing};
use crate::secure::{Channel, Kind, MAX_RECORD, Refused, TAG};
use crate::session::memory::give_back;

/// The most that one record's body has: one byte of the plaintext says what it is.
const MAX_BODY: usize = MAX_RECORD - TAG - 1;

/// The longest reason that a close record gives (protocol.md 5.2).
const MAX_REASON: usize = 256;

/// The same where a lost one has to be made up for by a new handshake, and where (1, 2) waits behind one: a second at
/// 9,600 baud.
const MAX_LOSSY_BODY: usize = 1023;

/// How a payload of STP begins that is a record; no frame begins so.
pub(super) const RECORD: u8 = 1;

/// How records are told from each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Prefix {
    /// Two bytes, on a stream.
    Short,
    /// Four bytes, as of a frame: the line makes of it a message of its own.
    Long,
    /// None: a record is a payload of STP behind its first byte, and may be lost.
    Stp,
}

impl Prefix {
    fn len(self) -> usize {
        match self {
            Self::Short => 2,
            Self::Long => 4,
            Self::Stp => 1,
        }
    }

    /// The length of the record that begins here, once that is known.
    fn read(self, input: &[u8]) -> Option<usize> {
        match self {
            Self::Short => input.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length))),
            Self::Long => {
                let length = u32::from_be_bytes(*input.first_chunk()?);
                Some(usize::try_from(length).unwrap_or(usize::MAX))
            }
            Self::Stp => input.len().checked_sub(self.len()),
        }
    }
}

/// Both directions of a line that carries records.
#[derive(Debug)]
pub(super) struct Records {
    channel: Channel,
    prefix: Prefix,
    /// Frames that wait to be sealed, behind the byte that says so.
    plain: BytesMut,
    /// Bytes of the first of them that are sealed already, where records can be lost: it begins anew in the next session.
    begun: usize,
    /// Bytes of the frames that are sealed, or were written in clear before, and have not left.
    in_flight: u64,
    /// Frames that have been opened and not been taken.
    opened: BytesMut,
    /// The other side's first record has opened: it knows the secret, now and here.
    proved: bool,
    /// The other side has said that it ends the connection.
    ended: bool,
    /// What is said last.
    farewell: Option<String>,
}

/// What came in a record.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Opened {
    /// None that is whole.
    Nothing,
    /// A piece of the stream of frames.
    Piece,
    /// The other side is done with the handshake.
    Finished,
    /// It ends the connection, for this reason.
    Close(String),
}

impl Records {
    /// Begins with this side's own first record. `clear` bytes that were written before have not left yet.
    pub(super) fn begin(channel: Channel, prefix: Prefix, out: &mut BytesMut) -> Result<Self, Refused> {
        let mut records = Self {
            channel,
            prefix,
            plain: BytesMut::new(),
            begun: 0,
            in_flight: out.len() as u64,
            opened: BytesMut::new(),
            proved: false,
            ended: false,
            farewell: None,
        };
        records.seal(&[Kind::Finished as u8], out)?;
        Ok(records)
    }

    pub(super) fn has_proved(&self) -> bool {
        self.proved
    }

    /// Whether the other side has said that no more comes.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Bytes of frames that have yet to be sealed.
    pub(super) fn unsealed(&self) -> usize {
        self.plain.len().saturating_sub(1).saturating_sub(self.begun)
    }

    /// Bytes that are held for the peer, sealed ones not counted.
    pub(super) fn held(&self) -> usize {
        self.plain.len().saturating_add(self.opened.len())
    }

    /// Where frames are appended.
    pub(super) fn plain(&mut self) -> &mut BytesMut {
        if self.plain.is_empty() {
            self.plain.put_u8(Kind::Data as u8);
        }
        &mut self.plain
    }

    /// Bytes of frames that have not left.
    pub(super) fn unsent(&self) -> u64 {
        self.in_flight.saturating_add(self.unsealed() as u64)
    }

    /// What was sealed has left; gives how many bytes of frames that were.
    pub(super) fn left(&mut self) -> u64 {
        std::mem::take(&mut self.in_flight)
    }

    /// The last record says why the connection ends.
    pub(super) fn say_farewell(&mut self, reason: &str) {
        if self.farewell.is_none() {
            let end = reason.floor_char_boundary_at(MAX_REASON);
            self.farewell = Some(reason.get(..end).unwrap_or_default().to_owned());
        }
    }

    /// Seals the next record, where there is one: as much of what waits as it holds, so many frames share one.
    pub(super) fn refill(&mut self, out: &mut BytesMut) -> Result<(), Refused> {
        if self.prefix == Prefix::Stp && self.unsealed() > 0 {
            return self.refill_lossy(out);
        }
        if self.plain.len() > 1 {
            let body = self.unsealed().min(MAX_BODY);
            let mut plain = std::mem::take(&mut self.plain);
            let sealed = self.seal(plain.get(..=body).unwrap_or_default(), out);
            self.in_flight = self.in_flight.saturating_add(body as u64);
            plain.advance(body);
            if plain.len() > 1 {
                // What is left begins with a byte that has been sealed: the place for the next record's kind.
                plain.iter_mut().take(1).for_each(|kind| *kind = Kind::Data as u8);
                self.plain = plain;
            } else {
                plain.clear();
                give_back(&mut plain);
                self.plain = plain;
            }
            return sealed;
        }
        match self.farewell.take() {
            Some(reason) => {
                let record = [&[Kind::Close as u8], reason.as_bytes()].concat();
                self.seal(&record, out)
            }
            None => Ok(()),
        }
    }

    /// The same where records can be lost: a frame is kept until it is sealed to its end.
    fn refill_lossy(&mut self, out: &mut BytesMut) -> Result<(), Refused> {
        let start = self.begun.saturating_add(1);
        let end = start.saturating_add(self.unsealed().min(MAX_LOSSY_BODY));
        let body = self.plain.get(start..end).unwrap_or_default();
        let record = [&[Kind::Data as u8], body].concat();
        self.in_flight = self.in_flight.saturating_add(body.len() as u64);
        self.begun = self.begun.saturating_add(body.len());
        let mut whole = 0_usize;
        while let Some(length) = frame_length(self.plain.get(whole.saturating_add(1)..)) {
            let next = whole.saturating_add(length);
            if next > self.begun {
                break;
            }
            whole = next;
        }
        self.plain.advance(whole);
        self.begun = self.begun.saturating_sub(whole);
        if self.plain.len() == 1 {
            self.plain.clear();
            give_back(&mut self.plain);
        }
        self.seal(&record, out)
    }

    /// Ends this session for one that takes its place on a line that goes on: gives the frames that have not left as a
    /// whole.
    pub(super) fn succeed(&mut self, mut before: Self) -> BytesMut {
        self.in_flight = before.in_flight;
        before.plain.split_off(before.plain.len().min(1))
    }

    /// Bytes of the frames that it has sealed and that have not left.
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Bytes of its first frame that a session which takes its place seals once more.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    fn seal(&mut self, plain: &[u8], out: &mut BytesMut) -> Result<(), Refused> {
        let length = plain.len().saturating_add(TAG);
        match self.prefix {
            Prefix::Short => out.put_u16(u16::try_from(length).map_err(|_| Refused)?),
            Prefix::Long => out.put_u32(u32::try_from(length).map_err(|_| Refused)?),
            Prefix::Stp => {
                let channel = &mut self.channel;
                let sealed = Framer::new(Framing::Stp).frame(out, |payload| {
                    payload.put_u8(RECORD);
                    channel.seal(plain, payload)
                });
                return sealed.map(drop);
            }
        }
        self.channel.seal(plain, out)
    }

    /// Opens the next record.
    pub(super) fn open(&mut self, input: &mut BytesMut, frames: &mut BytesMut) -> Result<Opened, Refused> {
        let Some(length) = self.prefix.read(input) else { return Ok(Opened::Nothing) };
        if length > MAX_RECORD {
            return Err(Refused);
        }
        let start = self.prefix.len();
        let Some(record) = input.get(start..start.saturating_add(length)) else { return Ok(Opened::Nothing) };
        let before = frames.len();
        let kind = self.channel.open(record, frames)?;
        input.advance(start.saturating_add(length));
        let body = frames.len().saturating_sub(before);
        match (kind, self.proved) {
            (Kind::Finished, false) if body == 0 => {
                self.proved = true;
                Ok(Opened::Finished)
            }
            (Kind::Data, true) => Ok(Opened::Piece),
            (Kind::Close, true) if body <= MAX_REASON => {
                let reason = frames.split_off(before);
                self.ended = true;
                let reason = String::from_utf8(reason.into()).map_err(|_| Refused)?;
                // It is shown in logs, line by line.
                Ok(Opened::Close(reason.replace(char::is_control, " ")))
            }
            _ => Err(Refused),
        }
    }

    /// Takes what has been opened and not been taken.
    pub(super) fn take_opened(&mut self) -> BytesMut {
        std::mem::take(&mut self.opened)
    }

    pub(super) fn put_back(&mut self, opened: BytesMut) {
        // Frames hold on to the memory they came in; a line that is idle holds none.
        self.opened = if opened.is_empty() { BytesMut::new() } else { opened };
    }

    /// Bytes of them.
    pub(super) fn opened(&self) -> usize {
        self.opened.len()
    }

    /// Keeps no room for what may come.
    pub(super) fn shrink(&mut self) {
        if self.unsealed() == 0 {
            self.plain = BytesMut::new();
        }
    }
}

/// The length of the frame that begins here, with its prefix.
fn frame_length(frames: Option<&[u8]>) -> Option<usize> {
    let length = u32::from_be_bytes(*frames?.first_chunk()?);
    Some(usize::try_from(length).unwrap_or(usize::MAX).saturating_add(size_of::<u32>()))
}
