//! Bytes that come in small pieces, or late.

use std::time::Duration;

use socketproto::testing::Direction;
use socketproto::{Error, Result};
use tokio::time::Instant;

use crate::{Setup, VALUE, WAYS, patiently, seconds_since};

#[actix::test]
async fn every_way_to_speak_works_in_pieces_of_any_size() -> Result<()> {
    tokio::time::pause();
    for way in WAYS {
        for size in [0, 1, 2, 3, 5, 64] {
            let setup = Setup::new(way).await?;
            setup.line.split(size);
            let (client, counter) = setup.connect().await?;
            assert_eq!(patiently(counter.value()).await?, VALUE, "{way} {size}");
            patiently(counter.set_value(7)).await?;
            let sums = [counter.add(1, 2), counter.add(3, 4), counter.add(5, 6)];
            for (sum, expected) in sums.into_iter().zip([3, 7, 11]) {
                assert_eq!(patiently(sum).await?, expected, "{way} {size}");
            }
            assert!(client.is_trusted());
        }
    }
    Ok(())
}

#[actix::test]
async fn a_delay_is_paid_once_each_way_and_by_all_calls_together() -> Result<()> {
    tokio::time::pause();
    for way in WAYS {
        let setup = Setup::open(way).await?;
        let (_client, counter) = setup.connect().await?;
        setup.line.delay(Duration::from_secs(3));
        let start = Instant::now();
        let (first, second, value) =
            patiently(async { tokio::join!(counter.add(1, 2), counter.add(3, 4), counter.value()) }).await;
        assert_eq!((first?, second?, value?), (3, 7, VALUE), "{way}");
        assert_eq!(seconds_since(start), 6, "{way}");
    }
    Ok(())
}

#[actix::test]
async fn a_client_connects_over_a_line_that_is_fast_enough_for_hello() -> Result<()> {
    tokio::time::pause();
    let setup = Setup::open("").await?;
    setup.line.delay(Duration::from_secs(2));
    let start = Instant::now();
    let connected = setup.connect().await?;
    assert_eq!(seconds_since(start), 4);
    drop(connected);
    setup.line.delay(Duration::from_secs(3));
    let error = setup.connect().await.map(drop).unwrap_err();
    assert!(matches!(error, Error::PeerTooOld { .. }), "{error}");
    setup.serves_the_next_client().await
}

#[actix::test]
async fn an_answer_that_is_later_than_its_call_waits_is_dropped() -> Result<()> {
    tokio::time::pause();
    for way in WAYS {
        let setup = Setup::open(way).await?;
        let (_client, counter) = setup.connect().await?;
        setup.line.delay(Duration::from_secs(6));
        let start = Instant::now();
        let late = patiently(counter.add(1, 2)).await;
        assert!(matches!(late, Err(Error::TimedOut { .. })), "{way} {late:?}");
        assert_eq!(seconds_since(start), 10);
        setup.line.delay(Duration::ZERO);
        assert_eq!(patiently(counter.add(3, 4)).await?, 7, "{way}");
    }
    Ok(())
}

#[actix::test]
async fn connections_and_bytes_are_counted() -> Result<()> {
    tokio::time::pause();
    let setup = Setup::open("").await?;
    let (first, counter) = setup.connect().await?;
    let (_second, _) = setup.connect().await?;
    assert_eq!(setup.line.connections(), 2);
    let before = [Direction::ToServer, Direction::ToClient].map(|direction| setup.line.bytes(direction));
    patiently(counter.value()).await?;
    let request = r#"{"data_id":1,"service_id":10,"status":0,"data":null,"message_id":1}"#;
    let answer = r#"{"data_id":1,"service_id":11,"status":0,"data":1024,"message_id":1}"#;
    assert_eq!(setup.line.bytes(Direction::ToServer) - before[0], request.len() as u64 + 8);
    assert_eq!(setup.line.bytes(Direction::ToClient) - before[1], answer.len() as u64 + 8);
    first.close().await;
    assert_eq!(setup.line.connections(), 1);
    setup.server.shutdown().await?;
    assert_eq!(setup.line.connections(), 0);
    Ok(())
}
