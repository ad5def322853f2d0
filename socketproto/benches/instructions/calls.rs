//! The whole way of a call: a typed client, two connections, a derived service, on one thread.

use std::error::Error;

use actix_rt::System;
use serde::{Deserialize, Serialize};
use socketproto::prelude::*;

/// The secret of the cases in secure mode.
const SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// What a client asks.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Request {
    sensor: String,
    unit: String,
    seq: u64,
}

/// What it is answered.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Reply {
    seq: u64,
    value: f64,
    ok: bool,
}

#[derive(Service, Client)]
#[did(7, execute = fn sample(request: Request) -> Reply)]
struct Boiler;

impl Boiler {
    fn sample(&mut self, request: Request) -> Reply {
        answer(&request)
    }
}

fn request(seq: u64) -> Request {
    Request { sensor: "boiler-room-7".to_owned(), unit: "celsius".to_owned(), seq }
}

fn answer(request: &Request) -> Reply {
    Reply { seq: request.seq, value: 21.5, ok: true }
}

/// One way to call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls {
    line: Line,
    framing: Framing,
    secure: bool,
    outstanding: u64,
}

#[derive(Clone, Copy, Debug)]
enum Line {
    Memory,
    Tcp,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Length,
    Stp,
}

impl Calls {
    /// Each of them.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for line in [Line::Memory, Line::Tcp] {
            for framing in [Framing::Length, Framing::Stp] {
                // Inside records the framing is the same.
                for secure in [false, true].into_iter().filter(|secure| !secure || framing == Framing::Length)
                {
                    for outstanding in [1, 64] {
                        all.push(Self { line, framing, secure, outstanding });
                    }
                }
            }
        }
        all
    }

    /// How the table calls it.
    pub(crate) fn name(self) -> String {
        let line = match self.line {
            Line::Memory => "mem",
            Line::Tcp => "tcp",
        };
        let framing = match self.framing {
            Framing::Length => "length",
            Framing::Stp => "stp",
        };
        let level = if self.secure { "secure" } else { "plain" };
        format!("call/{line}/{framing}/{level}/{}", self.outstanding)
    }

    /// Makes so many calls, a multiple of 64.
    ///
    /// # Errors
    /// Those of the first call that fails.
    pub(crate) fn run(self, count: u64) -> Result<(), Box<dyn Error>> {
        on_one_thread(async move {
            let address = match self.line {
                Line::Memory => "mem://",
                Line::Tcp => "tcp://127.0.0.1:0",
            };
            let secret = self.secure.then(|| Secret::from_text(SECRET)).transpose()?;
            let mut server = Server::bind(address).service(Boiler);
            if let Some(secret) = secret.clone() {
                server = server.secret(secret);
            }
            let server = server.start().await?;
            let framing = match self.framing {
                Framing::Length => "length",
                Framing::Stp => "stp",
            };
            let mut client = Client::connect(format!("{}?framing={framing}", server.address()));
            if let Some(secret) = secret {
                client = client.secret(secret);
            }
            let client = client.await?;
            let callers: Vec<_> = (0..self.outstanding)
                .map(|_| actix_rt::spawn(call(client.clone(), count / self.outstanding)))
                .collect();
            for caller in callers {
                caller.await??;
            }
            Ok(())
        })
    }
}

async fn call(client: Client, count: u64) -> socketproto::Result<()> {
    let boiler = BoilerClient::new(&client);
    for seq in 0..count {
        let reply = boiler.sample(request(seq)).await?;
        assert_eq!((reply.seq, reply.ok), (seq, true));
    }
    Ok(())
}

/// Calls to a server with so many ids, one after the other to each of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ids(u32);

/// So all ids have as many digits, and their frames as many bytes.
const FIRST_ID: u32 = 10_000;
/// Coprime to the numbers of ids: steps of it come to each id, and to neighbours seldom.
const STRIDE: u32 = 7919;

impl Ids {
    pub(crate) const ALL: [Self; 3] = [Self(1), Self(100), Self(10_000)];

    pub(crate) fn name(self) -> String {
        format!("call/ids/{}", self.0)
    }

    /// Makes so many calls.
    ///
    /// # Errors
    /// Those of the first call that fails.
    pub(crate) fn run(self, count: u64) -> Result<(), Box<dyn Error>> {
        on_one_thread(async move {
            let mut server = Server::bind("mem://");
            for id in FIRST_ID..FIRST_ID + self.0 {
                server =
                    server.register_callback(Some(ServiceId::EXECUTE_REQUEST), Some(id.into()), |message| {
                        let reply = answer(&message.data()?);
                        Json::encode(&reply).map_err(|error| Fault::callback_error(error.to_string()))
                    });
            }
            let server = server.start().await?;
            let client = Client::connect(server.address()).await?;
            let mut place = 0;
            for seq in 0..count {
                let reply: Reply = client.execute(FIRST_ID + place, &request(seq)).await?;
                assert_eq!((reply.seq, reply.ok), (seq, true));
                place = (place + STRIDE) % self.0;
            }
            Ok(())
        })
    }
}

/// Runs both sides of a connection: inside an actix system they live on the thread where they are started.
fn on_one_thread<T>(dialogue: impl Future<Output = T>) -> T {
    System::new().block_on(dialogue)
}
