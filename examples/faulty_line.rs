//! How a program is tested against lines that fail: frozen, slow and cut ones, without a network and without waiting.
//!
//! `cargo run --example faulty_line`

use std::time::Duration;

use socketproto::Error;
use socketproto::prelude::*;
use socketproto::testing::{Direction, Line};
use socketproto_examples::thermostat::{Thermostat, ThermostatClient};
use tokio::time::Instant;

fn main() -> socketproto::Result<()> {
    // Inside an actix system connections run on this thread, so that its time is theirs.
    actix_rt::System::new().block_on(tour())
}

async fn tour() -> socketproto::Result<()> {
    let server = Server::bind("mem://").service(Thermostat::new()).start().await?;
    let line = Line::of(server.address())?;
    let client = Client::connect(server.address()).await?;
    let room = ThermostatClient::new(&client);

    // From here on, time passes where nothing is left to do but wait, and then at once.
    tokio::time::pause();

    line.freeze();
    let start = Instant::now();
    let answer = room.temperature().await;
    show("frozen", start, &answer);
    assert!(matches!(answer, Err(Error::TimedOut { .. })));
    line.thaw();

    line.delay(Duration::from_secs(3));
    let start = Instant::now();
    let answer = room.temperature().await;
    show("3 s late both ways", start, &answer);
    assert!(answer.is_ok());
    line.clear();

    line.cut(Direction::ToClient, 10);
    let start = Instant::now();
    let answer = room.temperature().await;
    show("cut within the answer", start, &answer);
    assert!(matches!(answer, Err(Error::ConnectionLost { .. })));
    Ok(())
}

fn show(line: &str, start: Instant, answer: &socketproto::Result<f64>) {
    let answer = answer.as_ref().map_or_else(ToString::to_string, |value| format!("{value} °C"));
    println!("{line}, after {} s: {answer}", start.elapsed().as_secs());
}

#[test]
fn each_line_ends_a_call_as_it_should() -> socketproto::Result<()> {
    main()
}
