//! A line that is cut, at every place.

use socketproto::testing::Direction;
use socketproto::{Error, Result};
use tokio::time::Instant;

use crate::{Setup, VALUE, WAYS, patiently};

/// Bytes of a few records around nothing: dialogues in secure mode differ by so many.
const FEW: u64 = 128;

/// A whole dialogue: connecting with all that belongs to it, and a call.
async fn dialogue(setup: &Setup) -> Result<u32> {
    let (_client, counter) = setup.connect().await?;
    patiently(counter.value()).await
}

#[actix::test]
async fn wherever_a_line_is_cut_everything_ends_at_once() -> Result<()> {
    tokio::time::pause();
    for way in WAYS {
        for direction in [Direction::ToServer, Direction::ToClient] {
            let setup = Setup::new(way).await?;
            assert_eq!(dialogue(&setup).await?, VALUE);
            let mut sound = 0;
            for offset in 0..setup.line.bytes(direction) {
                let before = setup.line.bytes(direction);
                setup.line.cut(direction, offset);
                let start = Instant::now();
                let outcome = dialogue(&setup).await;
                if outcome.is_ok() && (way.is_empty() || setup.line.bytes(direction) - before <= offset) {
                    // Checksums are stuffed where they contain a colon, and records hold more or less, so one dialogue may be
                    // shorter than another; and a side that leaves says so in a record of its own.
                    sound += 1;
                    setup.line.clear();
                    continue;
                }
                let error = outcome.unwrap_err();
                assert!(
                    matches!(error, Error::NotReady { .. } | Error::ConnectionLost { .. }),
                    "{way} {direction:?} {offset}: {error}"
                );
                assert!(start.elapsed().is_zero(), "{way} {direction:?} {offset}: {error}");
                assert_eq!(setup.line.connections(), 0);
                setup.serves_the_next_client().await?;
            }
            assert!(sound <= FEW, "{way} {direction:?}: {sound} were not cut");
        }
    }
    Ok(())
}

#[actix::test]
async fn a_cut_behind_the_dialogue_does_no_harm() -> Result<()> {
    tokio::time::pause();
    for way in WAYS {
        for direction in [Direction::ToServer, Direction::ToClient] {
            let setup = Setup::new(way).await?;
            assert_eq!(dialogue(&setup).await?, VALUE);
            let records = if way.is_empty() { FEW } else { 0 };
            setup.line.cut(direction, setup.line.bytes(direction) + records);
            assert_eq!(dialogue(&setup).await?, VALUE, "{way} {direction:?}");
        }
    }
    Ok(())
}

#[actix::test]
async fn cutting_now_ends_the_calls_of_all_connections() -> Result<()> {
    tokio::time::pause();
    let setup = Setup::open("").await?;
    let (first, one) = setup.connect().await?;
    let (second, other) = setup.connect().await?;
    setup.line.freeze();
    let start = Instant::now();
    let calls = async { tokio::join!(one.value(), other.add(1, 2), one.add(3, 4)) };
    let cut = async {
        tokio::task::yield_now().await;
        setup.line.cut_now();
    };
    let ((value, sum, another), ()) = patiently(async { tokio::join!(calls, cut) }).await;
    for error in [value.unwrap_err(), sum.unwrap_err(), another.unwrap_err()] {
        assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
    }
    patiently(first.close()).await;
    patiently(second.close()).await;
    assert!(start.elapsed().is_zero());
    setup.serves_the_next_client().await
}

#[actix::test]
async fn a_cut_that_is_cleared_does_not_happen() -> Result<()> {
    tokio::time::pause();
    let setup = Setup::open("").await?;
    setup.line.cut(Direction::ToServer, 5);
    setup.line.cut(Direction::ToClient, 5);
    setup.serves_the_next_client().await
}
