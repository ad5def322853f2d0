//! A program that steps into the service it serves.

use socketproto::prelude::*;
use socketproto::{Error, Hosted};

use crate::support::{Teller, Told, teller, within};

/// A room whose temperature its program measures.
#[derive(Service, Client)]
#[did(2, execute = async fn wait(cx) -> f64)]
struct Room {
    #[did(1, read)]
    temperature: f64,
    teller: Teller,
    gate: std::sync::Arc<tokio::sync::Semaphore>,
}

impl Room {
    /// Waits outside the state, then looks at it.
    async fn wait(cx: Call<Self>) -> f64 {
        let gate = cx
            .actor(|this| {
                this.teller.tell("begun");
                this.gate.clone()
            })
            .await;
        gate.acquire().await.expect("nobody closes the gate").forget();
        cx.actor(|this| this.temperature).await
    }
}

/// The same on a thread of its own.
#[derive(Service)]
#[service(own_thread)]
struct Cellar {
    #[did(1, read)]
    temperature: f64,
}

fn room() -> (Hosted<Room>, Told) {
    let (teller, told) = teller();
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    (Hosted::new(Room { temperature: 19.5, teller, gate }), told)
}

#[tokio::test]
async fn a_step_is_seen_by_the_next_request() -> socketproto::Result<()> {
    for address in ["tcp://127.0.0.1:0", "mem://"] {
        let (room, _told) = room();
        room.with(|room| room.temperature += 0.5).await?;
        let server = Server::bind(address).service(room.clone()).start().await?;
        let client = within(Client::connect(server.address())).await?;
        let remote = RoomClient::new(&client);
        assert_eq!(within(remote.temperature()).await?, 20.0);
        let before = within(room.with(|room| std::mem::replace(&mut room.temperature, 21.0))).await?;
        assert_eq!(before, 20.0);
        assert_eq!(within(remote.temperature()).await?, 21.0);
    }
    Ok(())
}

#[tokio::test]
async fn a_step_comes_between_while_an_async_method_waits() -> socketproto::Result<()> {
    let (room, mut told) = room();
    let server = Server::bind("mem://").service(room.clone()).start().await?;
    let client = within(Client::connect(server.address())).await?;
    let wait = tokio::spawn(RoomClient::new(&client).wait());
    assert_eq!(within(told.next()).await, "begun");
    within(room.with(|room| {
        room.temperature = 25.0;
        room.gate.add_permits(1);
    }))
    .await?;
    assert_eq!(within(wait).await.expect("no panic")?, 25.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_of_many_tasks_and_requests_all_count() -> socketproto::Result<()> {
    let (room, _told) = room();
    let server = Server::bind("mem://").service(room.clone()).start().await?;
    let client = within(Client::connect(server.address())).await?;
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let room = room.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..250 {
                room.with(|room| room.temperature += 1.0).await.expect("the server runs");
            }
        }));
    }
    for task in tasks {
        within(task).await.expect("no panic");
    }
    assert_eq!(within(RoomClient::new(&client).temperature()).await?, 2019.5);
    Ok(())
}

#[tokio::test]
async fn a_step_that_panics_fails_and_the_service_lives_on() -> socketproto::Result<()> {
    let (room, _told) = room();
    let panic = |room: &mut Room| {
        room.temperature = 5.0;
        std::panic::resume_unwind(Box::new("a step"));
    };
    assert!(matches!(within(room.with(panic)).await, Err(Error::ShutDown)));
    let server = Server::bind("mem://").service(room.clone()).start().await?;
    assert!(matches!(within(room.with(panic)).await, Err(Error::ShutDown)));
    let client = within(Client::connect(server.address())).await?;
    assert_eq!(within(RoomClient::new(&client).temperature()).await?, 5.0);
    Ok(())
}

#[tokio::test]
async fn after_the_end_of_its_server_a_service_cannot_be_stepped_into() -> socketproto::Result<()> {
    let (room, _told) = room();
    let server = Server::bind("mem://").service(room.clone()).start().await?;
    within(server.shutdown()).await?;
    assert!(matches!(within(room.with(|_| ())).await, Err(Error::ShutDown)));
    Ok(())
}

#[tokio::test]
async fn a_service_on_a_thread_of_its_own_and_one_of_a_client_are_stepped_into_too() -> socketproto::Result<()>
{
    let cellar = Hosted::new(Cellar { temperature: 8.0 });
    let server = Server::bind("mem://").start().await?;
    let client = within(Client::connect(server.address()).service(cellar.clone())).await?;
    within(cellar.with(|cellar| cellar.temperature = 9.0)).await?;
    let peer = server.peers().remove(0);
    assert_eq!(within(peer.read::<f64>(1)).await?, 9.0);
    drop(client);
    Ok(())
}

#[tokio::test]
async fn one_service_cannot_be_served_twice() -> socketproto::Result<()> {
    let (room, _told) = room();
    let _first = Server::bind("mem://").service(room.clone()).start().await?;
    let error = Server::bind("mem://").service(room).start().await.unwrap_err();
    assert!(error.to_string().starts_with("service: this `Hosted` of Room is served already; "), "{error}");
    Ok(())
}
