//! Handles on one thread, connections on another, in real time.

use socketproto::prelude::*;
use socketproto::testing::Line;
use socketproto::{Error, Result};

use crate::{Counter, CounterClient, VALUE};

const ROUNDS: usize = 300;

#[tokio::test]
async fn a_line_that_thaws_wakes_both_sides() -> Result<()> {
    let server = Server::bind("mem://").service(Counter { value: VALUE }).start().await?;
    let client = Client::connect(server.address()).await?;
    // Taken last: both sides wait for bytes already.
    let line = Line::of(server.address())?;
    let counter = CounterClient::new(&client);
    for _ in 0..ROUNDS {
        line.freeze();
        let call = tokio::spawn(counter.value());
        tokio::task::yield_now().await;
        line.thaw();
        assert_eq!(call.await.expect("no panic")?, VALUE);
    }
    Ok(())
}

#[tokio::test]
async fn a_line_that_is_cut_wakes_both_sides() -> Result<()> {
    let server = Server::bind("mem://").service(Counter { value: VALUE }).start().await?;
    let line = Line::of(server.address())?;
    for _ in 0..ROUNDS {
        let client = Client::connect(server.address()).await?;
        line.freeze();
        let call = tokio::spawn(CounterClient::new(&client).value());
        tokio::task::yield_now().await;
        line.cut_now();
        let error = call.await.expect("no panic").unwrap_err();
        assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
        client.close().await;
        line.thaw();
    }
    assert_eq!(line.connections(), 0);
    Ok(())
}
