//! One flipped bit, at every place.

use socketproto::testing::Direction;
use socketproto::{Error, Result, Status};

use crate::{Setup, VALUE, WAYS, is_unanswered, patiently};

/// Bytes of the length before a frame.
const PREFIX: u64 = 4;

/// Bytes that arrive in a direction while a value is written and read.
async fn length_of_a_write(setup: &Setup, direction: Direction) -> Result<u64> {
    let (_client, counter) = setup.connect().await?;
    patiently(counter.value()).await?;
    let before = setup.line.bytes(direction);
    patiently(counter.set_value(VALUE)).await?;
    Ok(setup.line.bytes(direction) - before)
}

fn is_checksum_error<T>(answer: &Result<T>) -> bool {
    answer
        .as_ref()
        .is_err_and(|error| error.fault().is_some_and(|fault| fault.status() == Status::CHECKSUM_ERROR))
}

#[actix::test]
async fn a_damaged_request_is_never_run_and_its_caller_gets_an_error() -> Result<()> {
    tokio::time::pause();
    for way in WAYS {
        let setup = Setup::open(way).await?;
        let mut told = 0;
        for offset in 0..length_of_a_write(&setup, Direction::ToServer).await? {
            let (client, counter) = setup.connect().await?;
            assert_eq!(patiently(counter.value()).await?, VALUE);
            setup.line.corrupt(Direction::ToServer, offset);
            let answer = patiently(counter.set_value(9_999)).await;
            assert!(is_unanswered(&answer) || is_checksum_error(&answer), "{way} {offset}: {answer:?}");
            told += u64::from(is_checksum_error(&answer));
            if !way.is_empty() || offset >= PREFIX {
                assert!(client.is_connected(), "{way} {offset}: {answer:?}");
                assert_eq!(patiently(counter.value()).await?, VALUE, "{way} {offset}");
                assert_eq!(patiently(counter.add(3, 4)).await?, 7, "{way} {offset}");
            }
            setup.serves_the_next_client().await?;
        }
        assert!(told > 4, "{way}: {told} callers were told of the damage");
    }
    Ok(())
}

#[actix::test]
async fn a_damaged_answer_is_never_taken() -> Result<()> {
    tokio::time::pause();
    for way in WAYS {
        let setup = Setup::open(way).await?;
        for offset in 0..length_of_a_write(&setup, Direction::ToClient).await? {
            let (client, counter) = setup.connect().await?;
            assert_eq!(patiently(counter.value()).await?, VALUE);
            setup.line.corrupt(Direction::ToClient, offset);
            let answer = patiently(counter.set_value(VALUE)).await;
            assert!(is_unanswered(&answer), "{way} {offset}: {answer:?}");
            if !way.is_empty() || offset >= PREFIX {
                assert!(client.is_connected(), "{way} {offset}: {answer:?}");
                assert_eq!(patiently(counter.value()).await?, VALUE, "{way} {offset}");
                assert_eq!(patiently(counter.add(3, 4)).await?, 7, "{way} {offset}");
            }
            setup.serves_the_next_client().await?;
        }
    }
    Ok(())
}

#[actix::test]
async fn a_connection_that_begins_damaged_ends_or_works() -> Result<()> {
    tokio::time::pause();
    for way in WAYS.into_iter().chain(["?line=on"]) {
        for direction in [Direction::ToServer, Direction::ToClient] {
            let setup = Setup::new(way).await?;
            setup.serves_the_next_client().await?;
            for offset in 0..setup.line.bytes(direction) {
                setup.line.corrupt(direction, offset);
                match setup.connect().await {
                    Ok((_client, counter)) => {
                        let answer = patiently(counter.value()).await;
                        let is_sound = matches!(answer, Ok(VALUE));
                        let is_refused = is_unanswered(&answer) || is_checksum_error(&answer);
                        assert!(is_sound || is_refused, "{way} {direction:?} {offset}: {answer:?}");
                    }
                    Err(error) => assert!(
                        matches!(
                            error,
                            Error::NotReady { .. }
                                | Error::AuthenticationFailed { .. }
                                | Error::PeerTooOld { .. }
                                | Error::WrongSecret { .. }
                        ),
                        "{way} {direction:?} {offset}: {error}"
                    ),
                }
                setup.serves_the_next_client().await?;
            }
        }
    }
    Ok(())
}
