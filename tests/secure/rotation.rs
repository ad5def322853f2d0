//! Several secrets of one server, and secrets in their several forms.

use std::time::{Duration, Instant};

use socketproto::prelude::*;
use socketproto::{Backoff, ClientBuilder, Error};

use crate::desk::{DIGITS, DeskClient, Notes, client, secret, within};

const OTHER: &str = "00112233445566778899aabbccddeeff";
const WORDS: &str = "correct horse battery staple";

fn with_kid(text: &str, kid: &str) -> Secret {
    secret(text).with_kid(kid).expect("a short key id")
}

async fn serve(first: Secret, further: Vec<Secret>) -> Server {
    let mut builder = Notes::default().server(Server::bind("tcp://127.0.0.1:0").secret(first));
    for secret in further {
        builder = builder.further_secret(secret);
    }
    within(builder.start()).await.expect("it listens")
}

/// The level that a call runs at, or the error.
async fn level(builder: ClientBuilder) -> Result<String, Error> {
    let client = within(builder).await?;
    within(DeskClient::new(&client).tell("word".into())).await
}

#[track_caller]
fn assert_refused(outcome: Result<String, Error>) {
    let error = outcome.expect_err("it is not the server's secret");
    assert!(matches!(error, Error::WrongSecret { .. }), "{error}");
}

#[tokio::test]
async fn each_client_uses_the_secret_that_it_names() {
    let server =
        serve(with_kid(DIGITS, "2027"), vec![with_kid(OTHER, "2026"), with_kid(WORDS, "words")]).await;
    let to = |secret: Secret| level(client(server.address()).secret(secret));
    for secret in [with_kid(DIGITS, "2027"), with_kid(OTHER, "2026"), with_kid(WORDS, "words")] {
        assert_eq!(to(secret).await.expect("it is known"), "secure");
    }
    for secret in [
        with_kid(DIGITS, "2026"),
        with_kid(OTHER, "2027"),
        with_kid(DIGITS, "2028"),
        secret(DIGITS),
        secret(OTHER),
        with_kid(WORDS, "2027"),
        with_kid("correct horse battery stable", "words"),
    ] {
        assert_refused(to(secret).await);
    }
}

#[tokio::test]
async fn a_secret_that_is_taken_away_is_none() {
    let (old, new) = (with_kid(DIGITS, "old"), with_kid(OTHER, "new"));
    let both = serve(new.clone(), vec![old.clone()]).await;
    let one = serve(new.clone(), Vec::new()).await;
    assert_eq!(level(client(both.address()).secret(old.clone())).await.expect("both"), "secure");
    assert_eq!(level(client(one.address()).secret(new)).await.expect("one"), "secure");
    assert_refused(level(client(one.address()).secret(old)).await);
}

#[tokio::test]
async fn digits_and_bytes_mean_the_same_and_a_passphrase_means_its_text_and_key_id() {
    let bytes = hex::decode(DIGITS).expect("digits");
    let server = serve(Secret::from_bytes(&bytes).expect("16 of them"), Vec::new()).await;
    for secret in
        [secret(DIGITS), secret(&DIGITS.to_uppercase()), Secret::from_bytes(&bytes).expect("16 of them")]
    {
        assert_eq!(level(client(server.address()).secret(secret)).await.expect("the same"), "secure");
    }
    assert_refused(level(client(server.address()).secret(secret(&format!("{DIGITS}00")))).await);
    // One digit more is no number of bytes: a passphrase.
    assert_refused(level(client(server.address()).secret(secret(&format!("{DIGITS}0")))).await);

    let server = serve(with_kid("pässwörd 😀 ünicode", "küche"), Vec::new()).await;
    let to = |secret| level(client(server.address()).secret(secret));
    assert_eq!(to(with_kid("pässwörd 😀 ünicode", "küche")).await.expect("the same"), "secure");
    // The same letters in another spelling are other bytes.
    assert_refused(to(with_kid("pa\u{308}sswörd 😀 ünicode", "küche")).await);
    assert_refused(to(secret("pässwörd 😀 ünicode")).await);
}

/// Somebody has to change something first, so trying soon is of no use.
#[test]
fn a_client_with_a_wrong_secret_waits_the_longest_at_once_and_says_what_to_change() {
    let seen = actix::System::new().block_on(async {
        tokio::time::pause();
        let notes = Notes::default();
        let server = notes
            .server(Server::bind("mem://").secret(with_kid(DIGITS, "one")))
            .start()
            .await
            .expect("it listens");
        let error =
            client(server.address()).secret(with_kid(DIGITS, "two")).await.expect_err("another key id");
        let text = error.to_string();
        assert!(text.contains("the same one under the same key id"), "{text}");
        assert!(text.contains("whoever answered has proved nothing"), "{text}");

        let own = Notes::default();
        let lost = Client::connect(server.address()).secret(secret(OTHER)).backoff(Backoff::default());
        let lost = own.client(lost).lazy().await.expect("it waits");
        let start = tokio::time::Instant::now();
        let real = Instant::now();
        let mut seen = Vec::new();
        while seen.len() < 3 && real.elapsed() < Duration::from_secs(20) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if own.ends().len() > seen.len() {
                seen.push(start.elapsed().as_secs());
            }
        }
        lost.close().await;
        seen
    });
    assert_eq!(seen, [0, 30, 60]);
}
