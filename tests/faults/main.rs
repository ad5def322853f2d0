//! Dialogues over lines that fail: a server and a typed client, and `socketproto::testing::Line` between them.
//!
//! Each test runs in an actix system of its own with paused time, unless it says otherwise: a time-out passes when
//! nothing else is left to do, and what would hang for ever ends at [`PATIENCE`].

mod cut;
mod damage;
mod pace;
mod silence;
mod threads;

use std::time::Duration;

use socketproto::prelude::*;
use socketproto::testing::Line;
use socketproto::{ClientBuilder, Error, Result, ServerBuilder};
use tokio::time::Instant;

/// Longer than every time-out there is.
const PATIENCE: Duration = Duration::from_secs(600);

/// The ways a client can speak: length framing and secure mode; as an old peer, with either format.
const WAYS: [&str; 3] = ["", "?peer=old", "?peer=old&format=struct"];

/// Something to talk to.
#[derive(Service, Client)]
#[did(2, execute = fn add(a: u32, b: u32) -> u32)]
struct Counter {
    #[did(1, read, write)]
    value: u32,
}

impl Counter {
    fn add(&mut self, a: u32, b: u32) -> u32 {
        a + b
    }
}

const VALUE: u32 = 1_024;

/// A server, its line, and how a client gets there.
struct Setup {
    server: Server,
    line: Line,
    address: String,
    secret: Option<Secret>,
}

impl Setup {
    /// With a secret, and a client that speaks in one of the [`WAYS`].
    async fn new(way: &str) -> Result<Self> {
        let secret = Secret::from_text("0123456789abcdef0123456789abcdef")?;
        Self::start(way, Some(secret), |server| server).await
    }

    async fn open(way: &str) -> Result<Self> {
        Self::start(way, None, |server| server).await
    }

    async fn start(
        way: &str,
        secret: Option<Secret>,
        more: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Result<Self> {
        let mut server = Server::bind("mem://").channel_name("counter").service(Counter { value: VALUE });
        if let Some(secret) = &secret {
            server = server.secret(secret.clone()).accept_legacy(true);
        }
        let server = more(server).start().await?;
        let line = Line::of(server.address())?;
        let address = format!("{}{way}", server.address());
        Ok(Self { server, line, address, secret })
    }

    fn builder(&self) -> ClientBuilder {
        let client = Client::connect(&self.address);
        match &self.secret {
            // An old client does not know what the end of a seed says.
            Some(secret) => client.secret(secret.clone()).ignore_sentinel(true),
            None => client,
        }
    }

    async fn connect(&self) -> Result<(Client, CounterClient)> {
        let client = patiently(self.builder().into_future()).await?;
        let counter = CounterClient::new(&client);
        Ok((client, counter))
    }

    /// The next client is served, and finds what it should.
    async fn serves_the_next_client(&self) -> Result<()> {
        self.line.clear();
        let (client, counter) = self.connect().await?;
        assert_eq!(patiently(counter.value()).await?, VALUE);
        assert_eq!(patiently(counter.add(3, 4)).await?, 7);
        client.close().await;
        Ok(())
    }
}

/// Waits, but not for ever.
async fn patiently<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it ends by itself")
}

/// Whether a call has ended as one may that has no answer.
fn is_unanswered<T>(answer: &Result<T>) -> bool {
    matches!(answer, Err(Error::TimedOut { .. } | Error::ConnectionLost { .. }))
}

fn seconds_since(start: Instant) -> u64 {
    start.elapsed().as_secs()
}
