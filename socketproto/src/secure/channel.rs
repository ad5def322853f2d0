//! What follows a handshake: records, sealed and opened.

use std::fmt;

use bytes::{Buf, BytesMut};
use snow::{HandshakeState, TransportState};

use crate::secure::{Kind, Refused, TAG};

/// The keys of both directions.
pub(crate) struct Channel(TransportState);

impl Channel {
    pub(super) fn new(state: HandshakeState) -> Result<Self, Refused> {
        state.into_transport_mode().map(Self).map_err(|_| Refused)
    }

    /// Appends the ciphertext of one record to `out`. `plain` is the byte of its kind, then its body.
    ///
    /// # Errors
    /// Where it is too long, or after 2^64 records; `out` is then as before.
    pub(crate) fn seal(&mut self, plain: &[u8], out: &mut BytesMut) -> Result<(), Refused> {
        let start = out.len();
        out.resize(start.saturating_add(plain.len()).saturating_add(TAG), 0);
        let room = out.get_mut(start..).unwrap_or_default();
        let sealed = self.0.write_message(plain, room).map_err(|_| Refused);
        if sealed.is_err() {
            out.truncate(start);
        }
        sealed.map(drop)
    }

    /// Opens the ciphertext of one record, and appends its body to `plain`.
    ///
    /// # Errors
    /// Where it was changed, comes twice or out of order, or is of no kind; `plain` is then as before, and so are the keys.
    pub(crate) fn open(&mut self, record: &[u8], plain: &mut BytesMut) -> Result<Kind, Refused> {
        let length = record.len().checked_sub(TAG).filter(|length| *length > 0).ok_or(Refused)?;
        // The byte of the kind takes the place of the last byte before it, which is put back: so bodies follow each other
        // without a copy.
        let before = plain.last().copied();
        let start = plain.len().saturating_sub(1);
        plain.resize(start.saturating_add(length), 0);
        let room = plain.get_mut(start..).unwrap_or_default();
        let kind = match self.0.read_message(record, room) {
            Ok(_) => room.first().copied().and_then(Kind::of).ok_or(Refused),
            Err(_) => Err(Refused),
        };
        match (before, plain.get_mut(start)) {
            (Some(before), Some(first)) => *first = before,
            _ => plain.advance(1),
        }
        if kind.is_err() {
            plain.truncate(plain.len().saturating_sub(length.saturating_sub(1)));
        }
        kind
    }
}

/// Shows no keys.
impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Channel(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secure::{Material, Psk, derive, initiate, respond};

    fn psk(byte: u8) -> Psk {
        derive(Material::Generated(&[byte; 24]), "").unwrap()
    }

    fn pair() -> (Channel, Channel) {
        let psk = psk(7);
        let (initiator, offer) = initiate(&psk, "", [1; 32].into()).unwrap();
        let (server, accepted) = respond(&psk, &offer, [2; 32].into()).unwrap();
        (initiator.finish(&accepted).unwrap(), server)
    }

    fn sealed(channel: &mut Channel, plain: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        channel.seal(plain, &mut out).unwrap();
        out
    }

    #[test]
    fn bodies_follow_each_other() {
        let (mut client, mut server) = pair();
        let mut plain = BytesMut::new();
        for (record, kind, expected) in [
            (&b"\x01"[..], Kind::Finished, &b""[..]),
            (b"\0abc", Kind::Data, b"abc"),
            (b"\0", Kind::Data, b"abc"),
            (b"\0de", Kind::Data, b"abcde"),
            (b"\x02bye", Kind::Close, b"abcdebye"),
        ] {
            let record = sealed(&mut client, record);
            assert_eq!(server.open(&record, &mut plain), Ok(kind));
            assert_eq!(plain, expected);
        }
        let record = sealed(&mut server, b"\0the other way");
        let mut plain = BytesMut::new();
        assert_eq!(client.open(&record, &mut plain), Ok(Kind::Data));
        assert_eq!(plain, &b"the other way"[..]);
    }

    #[test]
    fn what_was_changed_does_not_open_and_leaves_everything_as_it_was() {
        let (mut client, mut server) = pair();
        let record = sealed(&mut client, b"\0abc");
        for before in [&b""[..], b"before"] {
            for bit in 0..record.len() * 8 {
                let mut changed = record.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                let mut plain = BytesMut::from(before);
                assert_eq!(server.open(&changed, &mut plain), Err(Refused), "bit {bit}");
                assert_eq!(plain, before);
            }
            for length in 0..record.len() {
                let mut plain = BytesMut::from(before);
                assert_eq!(server.open(&record[..length], &mut plain), Err(Refused), "{length} bytes");
                assert_eq!(plain, before);
            }
        }
        let mut plain = BytesMut::new();
        assert_eq!(server.open(&record, &mut plain), Ok(Kind::Data));
        assert_eq!(server.open(&record, &mut plain), Err(Refused), "twice");
        let _lost = sealed(&mut client, b"\0lost");
        let next = sealed(&mut client, b"\0next");
        assert_eq!(server.open(&next, &mut plain), Err(Refused), "out of order");
        assert_eq!(plain, &b"abc"[..]);
    }

    #[test]
    fn a_record_of_no_kind_is_none() {
        let (mut client, mut server) = pair();
        let mut plain = BytesMut::from(&b"before"[..]);
        for record in [&b"\x03abc"[..], b""] {
            let record = sealed(&mut client, record);
            assert_eq!(server.open(&record, &mut plain), Err(Refused));
            assert_eq!(plain, &b"before"[..]);
        }
    }

    #[test]
    fn the_longest_record_passes_and_a_longer_one_is_refused() {
        let (mut client, mut server) = pair();
        let mut out = BytesMut::from(&b"before"[..]);
        let plain = vec![0; crate::secure::MAX_RECORD - TAG + 1];
        assert_eq!(client.seal(&plain, &mut out), Err(Refused));
        assert_eq!(out, &b"before"[..]);
        let record = sealed(&mut client, &plain[1..]);
        assert_eq!(record.len(), crate::secure::MAX_RECORD);
        assert_eq!(server.open(&record, &mut BytesMut::new()), Ok(Kind::Data));
    }

    #[test]
    fn both_sides_have_to_know_the_secret_and_mean_the_same_offer() {
        let (initiator, offer) = initiate(&psk(7), "blue", [1; 32].into()).unwrap();
        assert!(respond(&psk(8), &offer, [2; 32].into()).is_err());
        let other_kid = crate::secure::Offer { kid: "red".into(), ..offer.clone() };
        assert!(respond(&psk(7), &other_kid, [2; 32].into()).is_err());
        let mut more_suites = offer.clone();
        more_suites.suites.push("another".into());
        assert!(respond(&psk(7), &more_suites, [2; 32].into()).is_err());
        for m in ["", "AAAA", &offer.m[1..], &format!("{}=", offer.m)] {
            let odd = crate::secure::Offer { m: m.to_owned(), ..offer.clone() };
            assert!(respond(&psk(7), &odd, [2; 32].into()).is_err(), "{m}");
        }
        let (_, accepted) = respond(&psk(7), &offer, [2; 32].into()).unwrap();
        assert!(initiator.finish(&crate::secure::Accepted { suite: "another".into(), ..accepted }).is_err());
    }

    #[test]
    fn after_an_answer_that_is_none_the_right_one_is_taken() {
        let (mut initiator, offer) = initiate(&psk(7), "", [1; 32].into()).unwrap();
        let (_, other_offer) = initiate(&psk(7), "", [3; 32].into()).unwrap();
        let (_, stale) = respond(&psk(7), &other_offer, [4; 32].into()).unwrap();
        let (mut server, accepted) = respond(&psk(7), &offer, [2; 32].into()).unwrap();
        let mirrored = crate::secure::Accepted { suite: crate::secure::SUITE.into(), m: offer.m };
        for none in [&stale, &mirrored] {
            assert_eq!(initiator.take(none), Err(Refused));
        }
        initiator.take(&accepted).unwrap();
        let record = sealed(&mut initiator.into_channel().unwrap(), b"\0abc");
        let mut plain = BytesMut::new();
        assert_eq!(server.open(&record, &mut plain), Ok(Kind::Data));
        assert_eq!(plain, &b"abc"[..]);
    }

    #[test]
    fn a_first_message_that_comes_back_is_no_answer() {
        let (initiator, offer) = initiate(&psk(7), "", [1; 32].into()).unwrap();
        let mirrored = crate::secure::Accepted { suite: crate::secure::SUITE.into(), m: offer.m };
        assert!(initiator.finish(&mirrored).is_err());
    }
}
