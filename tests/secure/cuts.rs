//! Lines that take their time, or end, at any byte of a handshake.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use socketproto::Error;
use socketproto::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::between::{FromClient, FromServer, Middle, Side};
use crate::desk::{DIGITS, DeskClient, client, place, secret, serve, within};
use crate::tamper::{CUT, Outcome, eager, handshake, meet};

/// What is done after so many bytes of a side.
#[derive(Clone, Copy)]
enum Then {
    /// The rest comes later.
    Pause,
    /// Both lines end.
    End,
}

async fn at_byte(server: &Server, side: Side, bytes: usize, then: Then) -> Middle {
    let to = place(server.address()).to_owned();
    Middle::new("tcp", move |near| {
        let to = to.clone();
        async move {
            let Ok(far) = TcpStream::connect(&to).await else { return };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let ((from_client, to_client), (from_server, to_server)) = (near.into_split(), far.into_split());
            let at = |from| if from == side { bytes } else { usize::MAX };
            let up = copy(from_client, to_server, at(FromClient), then);
            let down = copy(from_server, to_client, at(FromServer), then);
            tokio::pin!(up, down);
            // Dropping both ends everything.
            tokio::select! {
                ended = &mut up => if !ended { down.await; },
                ended = &mut down => if !ended { up.await; },
            }
        }
    })
    .await
}

/// True where both lines have to end.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, at: usize, then: Then) -> bool {
    let (mut passed, mut buffer) = (0, vec![0; 4096]);
    loop {
        let room = if passed < at { buffer.len().min(at - passed) } else { buffer.len() };
        if room > 0 && passed == at && matches!(then, Then::End) {
            return true;
        }
        let Ok(count @ 1..) = from.read(&mut buffer[..room]).await else { return false };
        if to.write_all(&buffer[..count]).await.is_err() {
            return false;
        }
        passed += count;
        if passed == at && matches!(then, Then::Pause) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn a_handshake_may_come_in_two_parts_whatever_they_are() {
    let (server, notes) = serve("tcp://127.0.0.1:0").await;
    let server = &server;
    let points =
        [FromClient, FromServer].into_iter().flat_map(|side| (1..=200).map(move |byte| (side, byte)));
    let meetings = stream::iter(points).map(|(side, byte)| async move {
        let middle = at_byte(server, side, byte, Then::Pause).await;
        let honest = within(client(&middle.url).secret(secret(DIGITS))).await;
        let honest = honest.unwrap_or_else(|error| panic!("{side:?} {byte}: {error}"));
        within(DeskClient::new(&honest).tell("word".into())).await.expect("an answer")
    });
    let levels: Vec<String> = meetings.buffer_unordered(16).collect().await;
    assert!(levels.len() == 400 && levels.iter().all(|level| level == "secure"));
    assert_eq!(notes.all_heard().len(), 400);
}

#[tokio::test]
async fn a_line_that_ends_at_any_byte_of_a_handshake_ends_both_sides() {
    let handshake = handshake().await;
    let points = [FromClient, FromServer].into_iter().zip(&handshake).flat_map(|(side, sent)| {
        let length = sent.concat().len();
        (0..length).map(move |byte| (side, byte))
    });
    let wrong = stream::iter(points).map(|(side, byte)| async move {
        let (server, notes) = eager().await;
        let middle = at_byte(&server, side, byte, Then::End).await;
        let Outcome { client, client_notes, server_notes } = meet(&middle.url, notes).await;
        let heard = [client_notes.all_heard(), server_notes.all_heard()].concat();
        let server_ready = server_notes.events().contains(&"ready".to_owned());
        let right = matches!(client, Some(Error::NotReady { .. }))
            && heard.is_empty()
            && (side == FromServer || !server_ready)
            && server_notes
                .ends()
                .iter()
                .all(|end| end == if server_ready { CUT } else { "closed by the peer" });
        (!right).then(|| format!("{side:?} {byte}: {client:?}, {:?}", server_notes.events()))
    });
    let wrong: Vec<Option<String>> = wrong.buffer_unordered(24).collect().await;
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}
