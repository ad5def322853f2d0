//! Somebody in between who changes, loses, repeats and cuts what is sent in secure mode: nobody trusts, nothing that the
//! application says arrives but what was said, and both sides end, each with the reason.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt, stream};
use socketproto::prelude::*;
use socketproto::{ConnectionEvent, Error, Limits, Message};

use crate::between::{Deed, FromClient, FromServer, Hook, Middle, Recording, Side};
use crate::desk::{DIGITS, DeskClient, Notes, client, framed, json, message, secret, serve, until, within};

const BAD_RECORD: &str = "a record does not open: it was changed on its way, or is none";
const WRONG_SECRET: &str = "the client's secret is wrong, or its key id unknown";
const MALFORMED: &str = "a handshake that is malformed, or does not come first";
pub(crate) const CUT: &str =
    "the line ended without a word of the peer: it was cut by somebody in between, or the peer has died";

/// A server that tells a client something as soon as it may, and gives it a second to be trusted.
pub(crate) async fn eager() -> (Server, Notes) {
    let mut limits = Limits::default();
    limits.trust_timeout = Duration::from_secs(1);
    let notes = Notes::default();
    let told = notes.clone();
    let server = notes.server(Server::bind("tcp://127.0.0.1:0").secret(secret(DIGITS)).limits(limits));
    let server = server.on_event(move |peer, event| {
        told.event(event);
        if *event == ConnectionEvent::Ready {
            let desk = DeskClient::new(peer);
            tokio::spawn(async move { desk.tell("a word of the server".into()).await });
        }
    });
    (within(server.start()).await.expect("it listens"), notes)
}

/// What became of both sides.
pub(crate) struct Outcome {
    pub(crate) client: Option<Error>,
    pub(crate) client_notes: Notes,
    pub(crate) server_notes: Notes,
}

/// One client of an eager server, with somebody in between.
async fn attempt(hook: Hook) -> Outcome {
    let (server, server_notes) = eager().await;
    let mut hook = Some(hook);
    let honest = || -> Hook { Box::new(|_, _, unit| Deed::Pass(unit)) };
    let middle = Middle::hooked(&server, move || hook.take().unwrap_or_else(honest)).await;
    meet(&middle.url, server_notes).await
}

pub(crate) async fn meet(url: &str, server_notes: Notes) -> Outcome {
    let client_notes = Notes::default();
    let connected = within(client_notes.client(client(url).secret(secret(DIGITS)))).await;
    let error = match connected {
        Ok(client) => within(DeskClient::new(&client).tell("a word of the client".into())).await.err(),
        Err(error) => Some(error),
    };
    until("both sides have ended", || !server_notes.ends().is_empty() || server_notes.events().is_empty())
        .await;
    Outcome { client: error, client_notes, server_notes }
}

/// What both sides send in a handshake: a frame, and the record that ends it.
pub(crate) async fn handshake() -> [[Vec<u8>; 2]; 2] {
    let (server, _) = serve("tcp://127.0.0.1:0").await;
    let seen = Recording::default();
    let recording = seen.clone();
    let middle = Middle::hooked(&server, move || recording.hook()).await;
    let honest = within(client(&middle.url).secret(secret(DIGITS))).await.expect("it knows the secret");
    within(honest.close()).await;
    [FromClient, FromServer].map(|side| {
        let mut sent = seen.of(side);
        sent.truncate(2);
        sent.try_into().expect("both")
    })
}

/// Gives a frame that was changed the checksum that belongs to it, as anybody can.
fn with_checksum(unit: &mut [u8]) {
    let end = unit.len() - 4;
    let sum = crc32fast::hash(&unit[4..end]);
    unit[end..].copy_from_slice(&sum.to_be_bytes());
}

/// A byte of what a side sends first or second, of which one bit is changed.
#[derive(Clone, Copy, Debug)]
struct Flip {
    side: Side,
    number: usize,
    byte: usize,
    /// Whether the checksum is made right again.
    repair: bool,
}

/// What was sent, and what arrived.
type Changed = Arc<Mutex<Option<(Vec<u8>, Vec<u8>)>>>;

impl Flip {
    fn hook(self, changed: &Changed) -> Hook {
        let changed = Arc::clone(changed);
        Box::new(move |side, number, mut unit| {
            if (side, number) == (self.side, self.number) {
                let sent = unit.clone();
                unit[self.byte] ^= 1 << (self.byte % 8);
                if self.repair {
                    with_checksum(&mut unit);
                }
                *changed.lock().expect("nobody panics") = Some((sent, unit.clone()));
            }
            Deed::Pass(unit)
        })
    }

    /// What it comes to: whether it means what it meant, and if not, how both sides tell.
    async fn judge(self) -> Result<(), String> {
        let changed = Changed::default();
        let outcome = attempt(self.hook(&changed)).await;
        let (sent, came) = changed.lock().expect("nobody panics").take().expect("it was sent");
        let Outcome { client, client_notes, server_notes } = outcome;
        let heard = [client_notes.all_heard(), server_notes.all_heard()].concat();
        let (sent, came) = match self.number {
            0 => (message(&sent), message(&came).filter(|_| came[..4] == sent[..4])),
            _ => (None, None),
        };
        if let (Some(sent), Some(came)) = (&sent, &came)
            && means_the_same(sent, came)
        {
            return client.map_or(Ok(()), |error| Err(format!("it means the same: {error}")));
        }
        if !heard.is_empty() || client_notes.events().contains(&"ready".to_owned()) {
            return Err(format!("heard {heard:?}"));
        }
        if self.side == FromClient && server_notes.events().contains(&"ready".to_owned()) {
            return Err("the server trusts".to_owned());
        }
        let Some(client) = client else { return Err("the client trusts".to_owned()) };
        let (end, client) = (server_notes.ends().concat(), client.to_string());
        let is_proof = came.is_some_and(|came| is_another_proof(&came));
        let right = match (self.side, self.number) {
            (FromClient, 0) if is_proof => {
                end == WRONG_SECRET && client.contains("does not take this secret")
            }
            (FromServer, 0) if is_proof => client.contains("does not take this secret"),
            (FromClient, 1) if self.byte >= 2 => end == BAD_RECORD,
            (FromServer, 1) if self.byte >= 2 => client.contains(BAD_RECORD),
            // A length that was changed: what comes is waited for, or is not what was sent.
            (FromClient, 1) => [BAD_RECORD, "not authenticated within trust_timeout"].contains(&end.as_str()),
            _ => !end.is_empty(),
        };
        if right { Ok(()) } else { Err(format!("the server ends with {end:?}, the client with {client:?}")) }
    }
}

/// Keys that nobody knows are passed over, a status that is missing is 0, and that of a request is not looked at.
fn means_the_same(sent: &Message, came: &Message) -> bool {
    let is_request = sent.service_id() == ServiceId::AUTH_REQUEST;
    (sent.service_id(), sent.data_id(), sent.json()) == (came.service_id(), came.data_id(), came.json())
        && (is_request || came.status().is_okay())
}

/// Whether all that is wrong with a message of the handshake is what it proves.
fn is_another_proof(message: &Message) -> bool {
    let data: serde_json::Value = message.data().unwrap_or_default();
    let suite = &data[if message.service_id() == ServiceId::AUTH_REQUEST { "suites" } else { "suite" }];
    let suite = suite.get(0).unwrap_or(suite);
    let is_base64 = |m: &str| STANDARD.decode(m).is_ok_and(|bytes| bytes.len() == 48);
    message.status().is_okay()
        && message.service_id().value() < 2
        && message.data_id().value() == 2
        && suite == "NNpsk0-25519-CCP-SHA256"
        && data["m"].as_str().is_some_and(is_base64)
        && (message.service_id() == ServiceId::AUTH_RESPONSE || data["kid"] == "")
}

#[tokio::test]
async fn a_bit_of_any_byte_that_is_changed_in_a_handshake_ends_it() {
    let handshake = handshake().await;
    let mut flips = Vec::new();
    for (side, sent) in [FromClient, FromServer].into_iter().zip(&handshake) {
        for (number, unit) in sent.iter().enumerate() {
            assert!(unit.len() == 19 || number == 0);
            for byte in 0..unit.len() {
                let repair = number == 0 && (4..unit.len() - 4).contains(&byte);
                flips.push(Flip { side, number, byte, repair });
                if repair && byte % 16 == 0 {
                    flips.push(Flip { side, number, byte, repair: false });
                }
            }
        }
    }
    let judged = stream::iter(flips).map(|flip| async move {
        let judged = flip.judge().await;
        judged.err().map(|reason| format!("{flip:?}: {reason}"))
    });
    let wrong: Vec<Option<String>> = judged.buffer_unordered(40).collect().await;
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn each_way_to_break_an_offer_has_its_reason() {
    type Change = fn(&mut serde_json::Value);
    let change = |with: Change| -> Hook {
        Box::new(move |side, number, unit| {
            if (side, number) != (FromClient, 0) {
                return Deed::Pass(unit);
            }
            let message = message(&unit).expect("an offer");
            let mut offer: serde_json::Value = message.data().expect("an offer");
            with(&mut offer);
            let message = Message::from_parts(*message.header(), json(&offer));
            Deed::Pass(framed(&message))
        })
    };
    let cases: [(Change, &str); 8] = [
        (|offer| offer["kid"] = "another".into(), WRONG_SECRET),
        (|offer| offer["suites"] = serde_json::json!(["NNpsk0-25519-CCP-SHA256", "more"]), WRONG_SECRET),
        (|offer| offer["suites"] = serde_json::json!(["more", "NNpsk0-25519-CCP-SHA256"]), WRONG_SECRET),
        (|offer| offer["suites"] = serde_json::json!(["another"]), MALFORMED),
        (|offer| offer["kid"] = "k".repeat(65).into(), MALFORMED),
        (|offer| offer["m"] = serde_json::Value::Null, MALFORMED),
        (|offer| offer["m"] = "A".repeat(64).into(), WRONG_SECRET),
        (|offer| *offer = serde_json::Value::Null, MALFORMED),
    ];
    for (number, (with, reason)) in cases.into_iter().enumerate() {
        let outcome = attempt(change(with)).await;
        assert_eq!(outcome.server_notes.ends(), [reason], "case {number}");
        let error = outcome.client.expect("an error");
        assert!(matches!(error, Error::WrongSecret { .. }), "case {number}: {error}");
    }
}

/// What is done to a record.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Drop,
    Double,
    Swap,
    Insert,
    Change,
    Cut,
}

/// Does harm to the first record that a side sends once it is armed.
fn harm(side: Side, harm: Harm, armed: &Arc<AtomicUsize>) -> Hook {
    let (armed, mut held) = (Arc::clone(armed), None);
    Box::new(move |from, _, mut unit| {
        if from != side || armed.load(Ordering::SeqCst) == 0 {
            return Deed::Pass(unit);
        }
        let nth = armed.fetch_add(1, Ordering::SeqCst);
        match (harm, nth) {
            (Harm::Drop, 1) => Deed::Pass(Vec::new()),
            (Harm::Double, 1) => Deed::Pass(unit.repeat(2)),
            (Harm::Swap, 1) => {
                held = Some(unit);
                Deed::Pass(Vec::new())
            }
            (Harm::Swap, 2) => {
                unit.extend(held.take().unwrap_or_default());
                Deed::Pass(unit)
            }
            (Harm::Insert, 1) => Deed::Pass([&[0, 20][..], &[7; 20], &unit].concat()),
            (Harm::Change, 1) => {
                *unit.last_mut().expect("a record") ^= 1;
                Deed::Pass(unit)
            }
            (Harm::Cut, 1) => {
                unit.pop();
                Deed::Cut(unit)
            }
            _ => Deed::Pass(unit),
        }
    })
}

#[tokio::test]
async fn a_record_that_is_lost_repeated_swapped_made_up_changed_or_cut_ends_the_line() {
    for harmed in [Harm::Drop, Harm::Double, Harm::Swap, Harm::Insert, Harm::Change, Harm::Cut] {
        for side in [FromClient, FromServer] {
            let (server, server_notes) = serve("tcp://127.0.0.1:0").await;
            let armed = Arc::new(AtomicUsize::new(0));
            let mut hooks = vec![harm(side, harmed, &armed)];
            let honest = || -> Hook { Box::new(|_, _, unit| Deed::Pass(unit)) };
            let middle = Middle::hooked(&server, move || hooks.pop().unwrap_or_else(honest)).await;
            let client_notes = Notes::default();
            let honest = within(client_notes.client(client(&middle.url).secret(secret(DIGITS)))).await;
            let honest = honest.expect("it knows the secret");
            let desk = DeskClient::new(&honest);
            within(desk.echo("zero".into())).await.expect("nothing is wrong yet");
            armed.store(1, Ordering::SeqCst);
            let one = within(desk.echo("one".into()).timeout(Duration::from_millis(300))).await;
            let two = within(desk.echo("two".into()).timeout(Duration::from_millis(300))).await;
            let victim = if side == FromClient { &server_notes } else { &client_notes };
            let what = format!("{harmed:?} {side:?}: {one:?}, {two:?}");
            until("the victim has ended its line", || !victim.ends().is_empty()).await;
            let reason = if matches!(harmed, Harm::Cut) { CUT } else { BAD_RECORD };
            assert_eq!(victim.ends()[0], reason, "{what}");
            // What the server ran is what was sent, in its order, and nothing twice; the caller is never told a lie.
            let heard = server_notes.all_heard();
            let once = |text: &str| heard.iter().filter(|heard| *heard == text).count();
            assert!(once("one") <= 1 && once("two") <= 1, "{what}: {heard:?}");
            if side == FromClient && !matches!(harmed, Harm::Double) {
                assert_eq!(once("one"), 0, "{what}");
            }
            for answer in [("one", one), ("two", two)] {
                match answer {
                    (text, Ok(echo)) => assert_eq!(echo, text, "{what}"),
                    (_, Err(Error::ConnectionLost { .. } | Error::TimedOut { .. })) => {}
                    (_, Err(error)) => panic!("{what}: {error}"),
                }
            }
        }
    }
}
