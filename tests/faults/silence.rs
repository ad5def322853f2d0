//! Lines that carry nothing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use socketproto::testing::{Direction, Line};
use socketproto::{Client, ConnectionEvent, Error, Limits, Peer, Result};
use tokio::time::Instant;

use crate::{CounterClient, Setup, VALUE, WAYS, is_unanswered, patiently, seconds_since};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// Why lines have ended.
type Events = Arc<Mutex<Vec<String>>>;

fn follow(events: &Events) -> impl Fn(&Peer, &ConnectionEvent) + Send + Sync + 'static {
    let events = Arc::clone(events);
    move |_, event| {
        if let ConnectionEvent::Disconnected { reason } = event {
            events.lock().unwrap().push(reason.to_string());
        }
    }
}

#[actix::test]
async fn after_a_frozen_line_each_call_gets_its_own_answer() -> Result<()> {
    tokio::time::pause();
    for way in WAYS {
        let setup = Setup::new(way).await?;
        let (_client, counter) = setup.connect().await?;
        setup.line.freeze();
        let start = Instant::now();
        let error = patiently(counter.add(1, 2)).await.unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{way}: {error}");
        assert_eq!(seconds_since(start), 10);
        setup.line.thaw();
        assert_eq!(patiently(counter.add(3, 4)).await?, 7, "{way}");
        assert_eq!(patiently(counter.add(5, 6)).await?, 11, "{way}");
    }
    Ok(())
}

#[actix::test]
async fn two_sides_on_a_frozen_line_leave_it_after_45_s() -> Result<()> {
    tokio::time::pause();
    let lost = |events: &Events| events.lock().unwrap().iter().filter(|told| told.contains("silent")).count();
    let events = Events::default();
    let setup = Setup::start("", None, |server| server.on_event(follow(&events))).await?;
    let client = patiently(setup.builder().on_event(follow(&events)).into_future()).await?;
    let counter = CounterClient::new(&client);
    assert_eq!(patiently(counter.value()).await?, VALUE);
    // Nobody says anything but that he is there.
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(lost(&events), 0);
    setup.line.freeze();
    let start = Instant::now();
    let error = patiently(counter.value().timeout(2 * MINUTE)).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
    assert!(error.to_string().contains("heartbeat_timeout"), "{error}");
    // Since it was last heard.
    assert!((30..=45).contains(&seconds_since(start)));
    tokio::time::sleep(15 * SECOND).await;
    assert_eq!(lost(&events), 2);
    setup.serves_the_next_client().await
}

#[actix::test]
async fn a_line_that_thaws_in_time_is_kept() -> Result<()> {
    tokio::time::pause();
    let setup = Setup::open("").await?;
    let (_client, counter) = setup.connect().await?;
    for _ in 0..5 {
        setup.line.freeze();
        tokio::time::sleep(29 * SECOND).await;
        setup.line.thaw();
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(patiently(counter.add(1, 2)).await?, 3);
    assert_eq!(setup.line.connections(), 1);
    Ok(())
}

#[actix::test]
async fn an_old_peer_is_asked_nothing() -> Result<()> {
    tokio::time::pause();
    let setup = Setup::open("?peer=old").await?;
    let (_client, counter) = setup.connect().await?;
    setup.line.freeze();
    tokio::time::sleep(10 * MINUTE).await;
    setup.line.thaw();
    assert_eq!(patiently(counter.add(1, 2)).await?, 3);
    assert_eq!(setup.line.connections(), 1);
    Ok(())
}

#[actix::test]
async fn a_call_that_waits_is_answered_when_the_line_thaws_in_time() -> Result<()> {
    tokio::time::pause();
    for way in WAYS {
        let setup = Setup::new(way).await?;
        let (_client, counter) = setup.connect().await?;
        setup.line.freeze();
        let start = Instant::now();
        let thaw = async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            setup.line.thaw();
        };
        let (sum, ()) = patiently(async { tokio::join!(counter.add(1, 2), thaw) }).await;
        assert_eq!(sum?, 3, "{way}");
        assert_eq!(seconds_since(start), 9);
    }
    Ok(())
}

#[actix::test]
async fn nobody_connects_over_a_frozen_line_and_the_next_client_does() -> Result<()> {
    tokio::time::pause();
    for way in WAYS {
        let setup = Setup::new(way).await?;
        setup.line.freeze();
        let start = Instant::now();
        let error = setup.connect().await.map(drop).unwrap_err();
        if way.is_empty() {
            assert!(matches!(error, Error::PeerTooOld { .. }), "{error}");
            assert_eq!(seconds_since(start), 5);
        } else {
            assert!(matches!(error, Error::AuthenticationFailed { .. }), "{way}: {error}");
            assert_eq!(seconds_since(start), 2);
        }
        setup.serves_the_next_client().await?;
    }
    Ok(())
}

#[actix::test]
async fn a_server_closes_the_connection_of_a_slow_reader() -> Result<()> {
    tokio::time::pause();
    for way in WAYS {
        let mut limits = Limits::default();
        limits.write_timeout = Duration::from_secs(5);
        let setup = Setup::start(way, None, |server| server.limits(limits)).await?;
        let (client, counter) = setup.connect().await?;
        setup.line.block(Direction::ToClient);
        let call = counter.value().timeout(MINUTE);
        let watch = async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            assert_eq!(setup.line.connections(), 1, "{way}");
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(setup.line.connections(), 0, "{way}");
            setup.line.thaw();
        };
        let (answer, ()) = patiently(async { tokio::join!(call, watch) }).await;
        assert!(matches!(answer, Err(Error::ConnectionLost { .. })), "{way}: {answer:?}");
        patiently(client.close()).await;
        setup.serves_the_next_client().await?;
    }
    Ok(())
}

#[actix::test]
async fn a_client_closes_the_connection_to_a_slow_reader() -> Result<()> {
    tokio::time::pause();
    let mut limits = Limits::default();
    limits.write_timeout = Duration::from_secs(5);
    let setup = Setup::open("").await?;
    let client: Client = patiently(setup.builder().limits(limits).into_future()).await?;
    let counter = CounterClient::new(&client);
    setup.line.block(Direction::ToServer);
    let start = Instant::now();
    let error = patiently(counter.value().timeout(MINUTE)).await.unwrap_err();
    assert!(error.to_string().contains("slow reader"), "{error}");
    assert_eq!(seconds_since(start), 5);
    setup.serves_the_next_client().await
}

#[actix::test]
async fn a_server_shuts_down_at_once_over_a_frozen_line() -> Result<()> {
    tokio::time::pause();
    assert_eq!(seconds_to_shut_down(Line::freeze).await?, 0);
    Ok(())
}

#[actix::test]
async fn a_server_shuts_down_over_a_line_that_takes_nothing() -> Result<()> {
    tokio::time::pause();
    assert_eq!(seconds_to_shut_down(|line| line.block(Direction::ToClient)).await?, 5);
    Ok(())
}

/// Shuts a server down while a client waits for an answer that does not come over such a line.
async fn seconds_to_shut_down(disturb: impl FnOnce(&Line)) -> Result<u64> {
    let setup = Setup::open("").await?;
    let (client, counter) = setup.connect().await?;
    disturb(&setup.line);
    let shutdown = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let start = Instant::now();
        setup.server.shutdown().await.map(|()| seconds_since(start))
    };
    let call = counter.value().timeout(MINUTE);
    let (answer, seconds) = patiently(async { tokio::join!(call, shutdown) }).await;
    assert!(is_unanswered(&answer), "{answer:?}");
    setup.line.thaw();
    patiently(client.close()).await;
    seconds
}
