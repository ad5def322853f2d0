//! Lines within the process, and what a test does to them.
//!
//! ```text
//!  testing::Line ──plans, wakes──▶ Hub ◀──asks, once it is watched── Half ═ two pipes ═ Half
//!                                  one a listener                    one wire a connection
//! ```
//! Until a test has taken a handle, a poll looks at one flag and no more. Locks are taken pipe first, hub second;
//! nobody holds two pipes at once, and wakers are called when no lock is held.

mod pipe;
mod plan;
mod wire;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use slab::Slab;

use crate::transport::disturb::wire::Wire;

pub(crate) use crate::transport::disturb::plan::{Blow, Plan};
pub(crate) use crate::transport::disturb::wire::Half;

/// One of the two ways bytes take on a line. There are no others.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Direction {
    /// From the side that connected to the side that accepted.
    ToServer,
    /// From the side that accepted to the side that connected.
    ToClient,
}

/// What the lines of one listener share.
#[derive(Default)]
pub(crate) struct Hub {
    /// Whether a test has a handle.
    watched: AtomicBool,
    plan: Mutex<Plan>,
    wires: Mutex<Slab<Weak<Wire>>>,
}

impl Hub {
    /// A new line: the end that connects, and the end that accepts.
    pub(crate) fn open(self: &Arc<Self>) -> (Half, Half) {
        let mut wires = lock(&self.wires);
        let entry = wires.vacant_entry();
        let wire = Arc::new(Wire::new(Arc::clone(self), entry.key()));
        entry.insert(Arc::downgrade(&wire));
        (Half::new(Arc::clone(&wire), Direction::ToClient), Half::new(wire, Direction::ToServer))
    }

    /// From now on lines follow the plan, and are counted.
    pub(crate) fn watch(&self) {
        self.watched.store(true, Ordering::Relaxed);
        // Having been locked since, no line can have missed it.
        self.wake();
    }

    /// Changes what is to happen, for all lines at once.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.plan());
        self.wake();
    }

    /// Forgets what is to happen, and lets arrive what is on its way.
    pub(crate) fn clear(&self) {
        self.plan().clear();
        for wire in self.wires() {
            wire.hurry();
        }
    }

    /// Ends every connection.
    pub(crate) fn cut(&self) {
        for wire in self.wires() {
            wire.cut();
        }
    }

    /// The connections that neither side has ended.
    pub(crate) fn connections(&self) -> usize {
        self.wires().iter().filter(|wire| wire.is_open()).count()
    }

    /// The bytes that have arrived since the hub is watched.
    pub(crate) fn arrived(&self, direction: Direction) -> u64 {
        self.plan().arrived(direction)
    }

    fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        lock(&self.plan)
    }

    fn wake(&self) {
        for wire in self.wires() {
            wire.wake();
        }
    }

    /// The wires that are there. They are counted clones, so that the last holder of one finds the list free.
    fn wires(&self) -> Vec<Arc<Wire>> {
        lock(&self.wires).iter().filter_map(|(_, wire)| wire.upgrade()).collect()
    }

    fn forget(&self, wire: usize) {
        lock(&self.wires).try_remove(wire);
    }
}

/// Each change under these locks is complete when a panic could come, so what a poisoned one holds is sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::task::Poll;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn watched() -> (Arc<Hub>, Half, Half) {
        let hub = Arc::new(Hub::default());
        hub.watch();
        let (client, server) = hub.open();
        (hub, client, server)
    }

    /// One read of whatever is there.
    async fn read(half: &mut Half) -> std::io::Result<Vec<u8>> {
        let mut buffer = [0; 100];
        half.read(&mut buffer).await.map(|n| buffer[..n].to_vec())
    }

    /// Polls once.
    async fn is_pending<F: Future>(future: F) -> bool {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn a_line_carries_bytes_both_ways_and_then_its_end() {
        for watch in [false, true] {
            let hub = Arc::new(Hub::default());
            let (mut client, mut server) = hub.open();
            if watch {
                hub.watch();
            }
            client.write_all(b"question").await.unwrap();
            server.write_all(b"answer").await.unwrap();
            assert_eq!(read(&mut server).await.unwrap(), b"question");
            assert_eq!(hub.connections(), 1);
            drop(server);
            assert_eq!(hub.connections(), 0);
            assert_eq!(read(&mut client).await.unwrap(), b"answer");
            assert_eq!(read(&mut client).await.unwrap(), b"");
            assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            let arrived = (hub.arrived(Direction::ToServer), hub.arrived(Direction::ToClient));
            assert_eq!(arrived, if watch { (8, 6) } else { (0, 0) });
        }
    }

    #[tokio::test]
    async fn after_its_own_end_a_side_writes_no_more_and_still_reads() {
        let (_hub, mut client, mut server) = watched();
        client.shutdown().await.unwrap();
        assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        server.write_all(b"answer").await.unwrap();
        assert_eq!(read(&mut client).await.unwrap(), b"answer");
        assert_eq!(read(&mut server).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn a_full_line_takes_more_once_something_was_read() {
        let (_hub, mut client, mut server) = watched();
        let data: Vec<u8> = (0..=250).cycle().take(3 * pipe::CAPACITY).collect();
        let expected = data.clone();
        let writer = tokio::spawn(async move { client.write_all(&data).await });
        let mut read = Vec::new();
        server.read_to_end(&mut read).await.unwrap();
        writer.await.unwrap().unwrap();
        assert!(read == expected);
    }

    #[tokio::test]
    async fn a_split_line_takes_and_gives_so_many_bytes() {
        let (hub, mut client, mut server) = watched();
        client.write_all(b"abcd").await.unwrap();
        hub.change(|plan| plan.split = 3);
        assert_eq!(client.write(b"efgh").await.unwrap(), 3);
        assert_eq!(read(&mut server).await.unwrap(), b"abc");
        assert_eq!(read(&mut server).await.unwrap(), b"def");
        hub.clear();
        assert_eq!(client.write(b"hijk").await.unwrap(), 4);
        assert_eq!(read(&mut server).await.unwrap(), b"ghijk");
    }

    #[tokio::test]
    async fn clearing_lets_arrive_what_was_on_its_way() {
        let (hub, mut client, mut server) = watched();
        hub.change(|plan| plan.delay = Duration::from_secs(3600));
        client.write_all(b"late").await.unwrap();
        let reader = tokio::spawn(async move { read(&mut server).await.unwrap() });
        tokio::task::yield_now().await;
        hub.clear();
        assert_eq!(reader.await.unwrap(), b"late");
    }

    #[tokio::test]
    async fn a_frozen_line_takes_what_it_can_hold_and_gives_nothing() {
        let (hub, mut client, mut server) = watched();
        hub.change(|plan| plan.frozen = true);
        let data = vec![b'x'; pipe::CAPACITY + 1];
        assert_eq!(client.write(&data).await.unwrap(), pipe::CAPACITY);
        assert!(is_pending(read(&mut server)).await);
        assert!(is_pending(client.write(b"x")).await);
    }

    #[tokio::test]
    async fn who_writes_to_a_frozen_line_does_not_learn_that_the_other_is_gone() {
        let (hub, client, mut server) = watched();
        hub.change(|plan| plan.frozen = true);
        drop(client);
        assert_eq!(server.write(b"x").await.unwrap(), 1);
        hub.change(Plan::thaw);
        assert_eq!(server.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(read(&mut server).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn a_blocked_direction_takes_and_gives_nothing_and_the_other_goes_on() {
        let (hub, mut client, mut server) = watched();
        server.write_all(b"before").await.unwrap();
        hub.change(|plan| plan.block(Direction::ToClient));
        assert!(is_pending(server.write(b"x")).await);
        assert!(is_pending(read(&mut client)).await);
        client.write_all(b"still").await.unwrap();
        assert_eq!(read(&mut server).await.unwrap(), b"still");
        hub.change(Plan::thaw);
        assert_eq!(read(&mut client).await.unwrap(), b"before");
    }

    #[tokio::test]
    async fn a_cut_line_gives_the_bytes_before_the_cut_and_then_both_sides_an_error() {
        let (hub, mut client, mut server) = watched();
        hub.change(|plan| plan.strike(Blow::Cut, Direction::ToServer, 3));
        client.write_all(b"abc").await.unwrap();
        assert_eq!(read(&mut server).await.unwrap(), b"abc");
        assert_eq!(hub.connections(), 1);
        client.write_all(b"def").await.unwrap();
        assert_eq!(read(&mut server).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(read(&mut client).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(server.write(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!((hub.connections(), hub.arrived(Direction::ToServer)), (0, 3));
    }

    #[tokio::test]
    async fn each_change_wakes_those_who_wait_for_it() {
        type Change = fn(&Hub);
        let ends: [(Change, Change, &[u8]); 5] = [
            (|hub| hub.change(|plan| plan.frozen = true), |hub| hub.change(Plan::thaw), b"x"),
            (|hub| hub.change(|plan| plan.frozen = true), Hub::clear, b"x"),
            (|hub| hub.change(|plan| plan.block(Direction::ToServer)), |hub| hub.change(Plan::thaw), b"x"),
            (|hub| hub.change(|plan| plan.block(Direction::ToServer)), Hub::clear, b"x"),
            (|hub| hub.change(|plan| plan.frozen = true), Hub::cut, b""),
        ];
        for (begin, end, expected) in ends {
            let (hub, mut client, mut server) = watched();
            begin(&hub);
            let writer = tokio::spawn(async move { client.write_all(b"x").await.map(|()| client) });
            let reader = tokio::spawn(async move { read(&mut server).await.unwrap_or_default() });
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            assert!(!reader.is_finished());
            end(&hub);
            assert_eq!(reader.await.unwrap(), expected);
            let _ = writer.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_handle_taken_later_reaches_those_who_wait_already() {
        let hub = Arc::new(Hub::default());
        let (client, mut server) = hub.open();
        let reader = tokio::spawn(async move { read(&mut server).await.unwrap_err().kind() });
        tokio::task::yield_now().await;
        hub.watch();
        hub.cut();
        assert_eq!(reader.await.unwrap(), ErrorKind::ConnectionReset);
        drop(client);
    }

    /// Two threads freeze and thaw, and clear, while bytes go both ways: a lost wake-up would leave it hanging.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_up_is_lost_between_threads() {
        const BYTES: usize = 2 * 1024 * 1024;
        let (hub, client, server) = watched();
        hub.change(|plan| plan.split = 1024);
        let ends = [client, server].map(|half| {
            tokio::spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(half);
                let writes = tokio::spawn(async move { writer.write_all(&vec![7; BYTES]).await });
                let mut read = vec![0; BYTES];
                reader.read_exact(&mut read).await.unwrap();
                writes.await.unwrap().unwrap();
                assert!(read.iter().all(|byte| *byte == 7));
            })
        });
        let stop = Arc::new(AtomicBool::new(false));
        let changers: [fn(&Hub); 2] = [
            |hub| {
                hub.change(|plan| plan.frozen = true);
                std::thread::yield_now();
                hub.change(Plan::thaw);
            },
            |hub| {
                hub.change(|plan| plan.block(Direction::ToClient));
                hub.clear();
            },
        ];
        let changers = changers.map(|change| {
            let (hub, stop) = (Arc::clone(&hub), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    change(&hub);
                }
            })
        });
        for end in ends {
            end.await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        for changer in changers {
            changer.join().unwrap();
        }
    }

    #[test]
    fn a_wire_is_forgotten_with_its_second_half() {
        let (hub, client, server) = watched();
        drop(client);
        assert_eq!(lock(&hub.wires).len(), 1);
        drop(server);
        assert_eq!(lock(&hub.wires).len(), 0);
    }
}
